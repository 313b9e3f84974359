"""Estimators fitted, cross-validated and scored in a trial, on real data."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler as SklearnScaler
from tests.helpers.sessions import Recorder

from aktis import air, data, tune
from aktis.air import session_host
from aktis.air.config import ScalingConfig
from aktis.data.preprocessors import MinMaxScaler, StandardScaler
from aktis.train import TrainingFailedError
from aktis.train.error import CheckpointTypeError, DatasetMissingError
from aktis.train.sklearn import SklearnCheckpoint, SklearnPredictor, SklearnTrainer
from aktis.train.sklearn.sklearn_trainer import CV_GROUPS_COLUMN

pytestmark = pytest.mark.usefixtures("session")

FRAME = load_breast_cancer(as_frame=True).frame[["mean radius", "mean texture", "mean area", "target"]]
TRAIN, VALID = FRAME[:400], FRAME[400:]
FEATURES = list(FRAME)[:-1]
TWO_CPUS = ScalingConfig(trainer_resources={"CPU": 2})


def forest(**kwargs: Any) -> Any:
    return RandomForestClassifier(n_estimators=5, random_state=0, **kwargs)


def trainer(run_config: air.RunConfig | None = None, **kwargs: Any) -> SklearnTrainer:
    kwargs.setdefault("estimator", forest())
    kwargs.setdefault("label_column", "target")
    kwargs.setdefault("datasets", {"train": data.from_pandas(TRAIN), "valid": data.from_pandas(VALID)})
    return SklearnTrainer(run_config=run_config, **kwargs)


def trained(folder: Path, **kwargs: Any) -> tuple[dict[str, Any], Any]:
    """Metrics and estimator of a training in this process: what a trial does, without the time it takes to start one."""
    made = trainer(**kwargs)
    with session_host.installed(Recorder(folder)) as host:
        made.preprocess_datasets()
        made.training_loop()
    ((metrics, checkpoint),) = host.reports
    assert checkpoint is not None
    return metrics, SklearnCheckpoint.from_directory(checkpoint).get_estimator()


class Recording(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
    """Remembers how it was fitted."""

    def __init__(self, n_jobs: int | None = None, inner: Any = None) -> None:
        self.n_jobs = n_jobs
        self.inner = inner

    def fit(self, features: Any, labels: Any = None, **kwargs: Any) -> Recording:
        self.seen_ = {
            "n_jobs": self.n_jobs,
            "inner": None if self.inner is None else self.inner.n_jobs,
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "columns": list(features.columns),
            "labels": None if labels is None else list(labels),
            "kwargs": kwargs,
            "pid": os.getpid(),
        }
        return self

    def predict(self, features: Any) -> Any:
        return np.zeros(len(features))

    def score(self, features: Any, labels: Any = None) -> float:
        return float(len(features))


def test_a_run_is_what_scikit_learn_does_alone(run_config: air.RunConfig) -> None:
    result = trainer(run_config).fit()
    alone = forest().fit(TRAIN[FEATURES], TRAIN["target"])
    assert result.metrics is not None
    # The keys and their nesting are Ray 2.3.1's.
    assert result.metrics["valid"].keys() == {"score_time", "test_score"}
    assert result.metrics["valid"]["test_score"] == alone.score(VALID[FEATURES], VALID["target"])
    assert result.metrics["fit_time"] > 0
    assert "train" not in result.metrics and "cv" not in result.metrics
    assert type(result.checkpoint) is SklearnCheckpoint
    predicted = SklearnPredictor.from_checkpoint(result.checkpoint).predict(VALID[FEATURES])
    assert predicted["predictions"].tolist() == alone.predict(VALID[FEATURES]).tolist()
    assert result.checkpoint.get_estimator().n_jobs is None  # as it was given, not as the trial had it


def half(estimator: Any, features: Any, labels: Any) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("roc_auc", {"test_score"}),
        (half, {"test_score"}),
        (["roc_auc", half], {"test_roc_auc", "test_half"}),
        (iter(["accuracy"]), {"test_accuracy"}),
        ({"auc": "roc_auc", "mine": half}, {"test_auc", "test_mine"}),
    ],
)
def test_scores_have_ray_s_names(scoring: Any, names: set[str]) -> None:
    from aktis.train.sklearn._scoring import as_scorers, scores

    scoring = as_scorers(scoring) if not isinstance(scoring, (str, dict)) else scoring
    fitted = forest().fit(TRAIN[FEATURES], TRAIN["target"])
    found = scores(fitted, VALID[FEATURES], VALID["target"], scoring)
    assert found.keys() == names | {"score_time"}
    assert all(0 < value <= 1 and type(value) is float for name, value in found.items() if name in names)


def test_cross_validation_on_all_cpus(run_config: air.RunConfig) -> None:
    scaling = ScalingConfig(trainer_resources={"CPU": 2})
    result = trainer(
        run_config, cv=KFold(3), scoring=["accuracy", "roc_auc"], return_train_score_cv=True, scaling_config=scaling
    ).fit()
    from sklearn.model_selection import cross_validate

    alone = cross_validate(
        forest(),
        TRAIN[FEATURES],
        TRAIN["target"],
        cv=KFold(3),
        scoring=["accuracy", "roc_auc"],
        return_train_score=True,
    )
    assert result.metrics is not None
    found = result.metrics["cv"]
    kinds = ("fit_time", "score_time", "test_accuracy", "test_roc_auc", "train_accuracy", "train_roc_auc")
    assert found.keys() == {f"{kind}{suffix}" for kind in kinds for suffix in ("", "_mean", "_std")}
    for kind in kinds[2:]:
        assert np.allclose(found[kind], alone[kind])
        assert found[f"{kind}_mean"] == pytest.approx(alone[kind].mean())
        assert found[f"{kind}_std"] == pytest.approx(alone[kind].std())


def pids(estimator: Any, features: Any, labels: Any) -> float:
    return float(os.getpid())


def test_folds_run_in_other_processes_when_the_estimator_cannot(tmp_path: Path) -> None:
    common: dict[str, Any] = {"scoring": pids, "cv": 4, "scaling_config": TWO_CPUS}
    here = float(os.getpid())
    shared, _ = trained(tmp_path / "a", estimator=Constant(), **common)
    own, _ = trained(tmp_path / "b", estimator=forest(), **common)
    assert here not in shared["cv"]["test_score"]
    assert set(own["cv"]["test_score"]) == {own["valid"]["test_score"]} == {here}


def test_cpus_groups_and_fit_parameters(tmp_path: Path) -> None:
    frame = TRAIN.assign(**{CV_GROUPS_COLUMN: np.arange(len(TRAIN)) // 100})
    metrics, estimator = trained(
        tmp_path / "a",
        estimator=Recording(n_jobs=9, inner=RandomForestClassifier(n_jobs=5)),
        datasets={"train": data.from_pandas(frame)},
        scaling_config=TWO_CPUS,
        cv=GroupKFold(4),
        sample_weight=[1.0] * len(TRAIN),
    )
    seen = estimator.seen_
    assert (seen["n_jobs"], seen["inner"], seen["threads"]) == (2, 2, "2")
    assert (estimator.n_jobs, estimator.inner.n_jobs) == (9, 5)
    assert seen["columns"] == FEATURES
    assert seen["labels"] == list(TRAIN["target"])
    assert seen["kwargs"] == {"sample_weight": [1.0] * len(TRAIN)}
    assert list(metrics["cv"]["test_score"]) == [100.0] * 4  # each group is a fold
    _, left = trained(tmp_path / "b", estimator=Recording(n_jobs=9), set_estimator_cpus=False)
    assert left.seen_["n_jobs"] == 9


def test_without_labels(tmp_path: Path) -> None:
    datasets = {"train": data.from_pandas(TRAIN[FEATURES]), "valid": data.from_pandas(VALID[FEATURES])}
    metrics, _ = trained(tmp_path, estimator=KMeans(2, n_init=1, random_state=0), label_column=None, datasets=datasets)
    alone = KMeans(2, n_init=1, random_state=0).fit(TRAIN[FEATURES])
    assert metrics["valid"]["test_score"] == pytest.approx(alone.score(VALID[FEATURES]))


def test_several_labels_in_one_column(tmp_path: Path) -> None:
    pairs = [np.array([first, second]) for first, second in zip(TRAIN["target"], TRAIN["target"])]
    _, estimator = trained(tmp_path, datasets={"train": data.from_pandas(TRAIN.assign(target=pairs))})
    assert estimator.n_outputs_ == 2


def test_it_runs_through_tune(run_config: air.RunConfig) -> None:
    space = {
        "params": {"logisticregression__C": tune.grid_search([0.001, 10.0])},
        "preprocessor": tune.choice([StandardScaler(FEATURES), MinMaxScaler(FEATURES)]),
        "scaling_config": {"trainer_resources": {"CPU": tune.choice([1, 2])}},
    }
    base = trainer(
        estimator=make_pipeline(SklearnScaler(), LogisticRegression()),
        params={"logisticregression__max_iter": 300},
        scoring="accuracy",
    )
    grid = tune.Tuner(
        base,
        param_space=space,
        run_config=run_config,
        tune_config=tune.TuneConfig(metric="valid/test_score", mode="max"),
    ).fit()
    assert not grid.errors
    found = {}
    for result in grid:
        assert result.checkpoint is not None
        steps = result.checkpoint.get_estimator().get_params()
        assert steps["logisticregression__max_iter"] == 300
        assert isinstance(result.checkpoint.get_preprocessor(), (StandardScaler, MinMaxScaler))
        found[steps["logisticregression__C"]] = result.metrics["valid"]["test_score"]  # type: ignore[index]
    best = grid.get_best_result()
    assert best.checkpoint is not None and best.metrics is not None
    assert best.metrics["valid"]["test_score"] == max(found.values()) > min(found.values())


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    fitted = forest(warm_start=True).fit(TRAIN[FEATURES], TRAIN["target"])
    first = SklearnCheckpoint.from_estimator(fitted)
    _, second = trained(tmp_path / "a", params={"n_estimators": 8}, resume_from_checkpoint=first)
    assert len(second.estimators_) == 8
    pairs = zip(fitted.estimators_, second.estimators_)
    assert all((a.tree_.value == b.tree_.value).all() for a, b in pairs)
    with pytest.raises(ValueError, match="would start anew: set params="):
        trained(tmp_path / "b", params={"warm_start": False}, resume_from_checkpoint=first)
    with pytest.raises(CheckpointTypeError, match="holds a RandomForestClassifier, but estimator is a KMeans"):
        trained(tmp_path / "c", estimator=KMeans(2), label_column=None, resume_from_checkpoint=first)


# -- what is wrong is said at once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"label_column": "nope"},
            ValueError,
            "label_column='nope' is no column of the data set 'train', which has: mean radius",
        ),
        ({"datasets": {}}, DatasetMissingError, "datasets must have 'train', .* given are: none"),
        ({"estimator": RandomForestClassifier}, CheckpointTypeError, "not the class RandomForestClassifier itself"),
        ({"estimator": "forest"}, CheckpointTypeError, r"but builtins\.str"),
        (
            {"params": {"bogus": 1}},
            ValueError,
            "params names 'bogus', which RandomForestClassifier does not have; it has: boot",
        ),
        ({"params": [1]}, ValueError, "params must be a dict"),
        ({"scoring": "nice"}, ValueError, "scoring names 'nice', which scikit-learn does not have; it has: accuracy"),
        ({"scoring": []}, ValueError, "scoring is empty"),
        ({"scoring": 3}, TypeError, "scoring must be a name"),
        ({"scoring": ["accuracy", "accuracy"]}, ValueError, "a name twice"),
        ({"cv": 1}, ValueError, "cv must be 2 folds or more"),
        ({"scaling_config": ScalingConfig(num_workers=2)}, ValueError, "SklearnTrainer does not use num_workers"),
        (
            {"parallelize_cv": True, "cv": 3, "scaling_config": ScalingConfig(trainer_resources={"CPU": 1, "GPU": 1})},
            ValueError,
            "the trial has GPUs, which folds cannot share",
        ),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trainer(**arguments)


def failing(folder: Path, train: Any, **kwargs: Any) -> str:
    with pytest.raises(ValueError) as failed:
        trained(folder, datasets={"train": data.from_pandas(train)}, **kwargs)
    return str(failed.value)


def test_data_that_scikit_learn_refuses(tmp_path: Path) -> None:
    missing = TRAIN.assign(target=[float("nan"), *map(float, TRAIN["target"][1:])])
    assert "In the data set 'train', 1 of 400 labels are missing" in failing(tmp_path, missing)
    texts = TRAIN.assign(kind=["a", "b"] * 200)
    assert "the columns 'kind' are no numbers: encode them" in failing(tmp_path, texts)
    gaps = TRAIN.assign(**{"mean area": [None, *TRAIN["mean area"][1:]]})
    message = failing(tmp_path, gaps, estimator=LogisticRegression())
    assert "the columns 'mean area' have missing values: fill them in (SimpleImputer)" in message
    assert "'train' has no features, but only 'target'" in failing(tmp_path, TRAIN[["target"]])
    assert "the data set 'train' is empty" in failing(tmp_path, TRAIN[:0])


def test_an_estimator_that_cannot_be_stored(run_config: air.RunConfig) -> None:
    with pytest.raises(
        TrainingFailedError, match="Locked cannot be stored in a checkpoint, because it cannot be pickled"
    ):
        trainer(run_config, estimator=Locked()).fit()


class Constant(BaseEstimator, ClassifierMixin):  # type: ignore[misc]
    """Can do nothing in parallel."""

    def fit(self, features: Any, labels: Any) -> Constant:
        self.classes_ = np.unique(labels)
        return self

    def predict(self, features: Any) -> Any:
        return np.zeros(len(features))


class Locked(Recording):
    def fit(self, features: Any, labels: Any = None, **kwargs: Any) -> Locked:
        self.lock_ = threading.Lock()
        return self


def test_the_trial_is_as_wide_as_its_scaling_config_says() -> None:
    made = trainer(scaling_config=dataclasses.replace(TWO_CPUS, trainer_resources={"CPU": 3}))
    assert made._resource_request().head_bundle == {"CPU": 3}
