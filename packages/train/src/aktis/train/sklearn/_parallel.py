"""How many CPUs an estimator uses: its own settings, joblib's, and those of the numerical libraries below."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

#: What numerical libraries read when they are loaded; they are for processes that start later.
THREAD_VARIABLES = (
    "BLIS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

#: Parameters of estimators that say how many CPUs they use: scikit-learn and most others; CatBoost.
CPU_PARAMETERS = ("n_jobs", "thread_count")


def cpu_parameters(estimator: Any) -> dict[str, Any]:
    """The parameters of an estimator, and of those in it, that say how many CPUs it uses."""
    parameters = estimator.get_params(deep=True)
    return {name: value for name, value in parameters.items() if name.rpartition("__")[2] in CPU_PARAMETERS}


@contextlib.contextmanager
def estimator_cpus(estimator: Any, cpus: int | None) -> Iterator[None]:
    """An estimator that uses so many CPUs in a block, and then what it used before. None: it stays as it is.

    Estimators of scikit-learn that are not told (``n_jobs=None``) stay so: they follow joblib, which is told.
    """
    before = {} if cpus is None else _to_be_set(estimator)
    if not before:
        yield
        return
    estimator.set_params(**dict.fromkeys(before, cpus))
    try:
        yield
    finally:
        estimator.set_params(**before)


def _to_be_set(estimator: Any) -> dict[str, Any]:
    parameters = estimator.get_params(deep=True)
    found = {}
    for name, value in cpu_parameters(estimator).items():
        path = name.rpartition("__")[0]
        owner = parameters[path] if path else estimator
        if value is not None or not type(owner).__module__.startswith("sklearn."):
            found[name] = value
    return found


@contextlib.contextmanager
def thread_limit(cpus: int) -> Iterator[None]:
    """Numerical libraries use so many threads in a block; processes that it starts do, too."""
    import threadpoolctl

    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(cpus)))
    try:
        with threadpoolctl.threadpool_limits(cpus):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def joblib_tasks(cpus: int) -> Iterator[None]:
    """What runs in parallel in a block does so as tasks, with the resources of this trial."""
    import joblib

    from aktis.util.joblib import register_aktis
    from aktis.util.placement_group import get_current_placement_group
    from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    register_aktis()
    options: dict[str, Any] = {"num_cpus": 1}
    group = get_current_placement_group()
    if group is not None:
        # Elsewhere they would wait for CPUs that are none of the trial's; its own are free while it waits for them.
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group)
    with joblib.parallel_config(backend="aktis", n_jobs=cpus, remote_args=options):
        yield


@contextlib.contextmanager
def joblib_threads(cpus: int) -> Iterator[None]:
    """What runs in parallel in a block does so in threads of this process."""
    import joblib

    with joblib.parallel_config(backend="threading", n_jobs=cpus):
        yield
