from __future__ import annotations

import pytest

import aktis

joblib = pytest.importorskip("joblib")

from aktis.util.joblib import register_aktis  # noqa: E402


@pytest.fixture(autouse=True)
def registered() -> None:
    register_aktis()


def test_results_come_in_order(session: str) -> None:
    with joblib.parallel_backend("aktis"):
        results = joblib.Parallel(n_jobs=2)(joblib.delayed(lambda value: value * value)(value) for value in range(30))
    assert results == [value * value for value in range(30)]


def test_all_cpus_of_the_cluster(session: str) -> None:
    with joblib.parallel_backend("ray"):
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(-2) == 1
        assert joblib.effective_n_jobs(4) == 4


def test_the_exception_is_the_functions_own(session: str) -> None:
    def fail(value: int) -> None:
        raise KeyError(value)

    with joblib.parallel_backend("aktis"), pytest.raises(KeyError) as caught:
        joblib.Parallel(n_jobs=2)(joblib.delayed(fail)(value) for value in range(4))
    assert type(caught.value) is KeyError
    with joblib.parallel_backend("aktis"):  # it works on
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(value) for value in (-1, -2)) == [1, 2]


def test_generators(native: None) -> None:
    with joblib.parallel_backend("aktis"):
        results = joblib.Parallel(n_jobs=2, return_as="generator")(joblib.delayed(abs)(value) for value in range(5))
        assert list(results) == [0, 1, 2, 3, 4]


def test_inside_of_a_task_that_has_all_cpus(session: str) -> None:
    @aktis.remote(num_cpus=2)
    def outer() -> list[int]:
        import joblib

        from aktis.util.joblib import register_aktis

        register_aktis()
        with joblib.parallel_backend("aktis"):
            return joblib.Parallel(n_jobs=2)(joblib.delayed(lambda value: value + 1)(value) for value in range(8))

    assert aktis.get(outer.remote(), timeout=50) == list(range(1, 9))


def test_options_of_the_tasks(session: str) -> None:
    seen = []
    with joblib.parallel_backend("aktis", remote_args={"num_cpus": 0.5}):
        resources = joblib.delayed(lambda: aktis.get_runtime_context().get_assigned_resources())
        seen = joblib.Parallel(n_jobs=2)(resources() for _ in range(2))
    assert [one["CPU"] for one in seen] == [0.5, 0.5]


def test_scikit_learn(native: None) -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    features, labels = make_classification(n_samples=60, random_state=0)
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, n_jobs=2)
    with joblib.parallel_backend("aktis"):
        search.fit(features, labels)
    assert search.best_score_ > 0.5


def test_the_names_of_ray(session: str) -> None:
    from aktis.util.joblib import register_ray
    from aktis.util.joblib.backend import AktisBackend, RayBackend

    register_ray()
    with joblib.parallel_backend("ray", ray_remote_args={"num_cpus": 2}):
        backend, _ = joblib.parallel.get_active_backend()
        assert isinstance(backend, RayBackend) and isinstance(backend, AktisBackend)
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(value) for value in (-1, -2)) == [1, 2]
