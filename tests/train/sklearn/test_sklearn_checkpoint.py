"""Estimators in checkpoints, and predictions with them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler as SklearnScaler

from aktis.air import Checkpoint
from aktis.data.preprocessors import Concatenator, StandardScaler
from aktis.train.error import CheckpointTypeError
from aktis.train.sklearn import SklearnCheckpoint, SklearnPredictor, load_checkpoint

FRAME = load_breast_cancer(as_frame=True).frame
FEATURES = FRAME.drop(columns="target")


@pytest.fixture(scope="module")
def forest() -> Any:
    return RandomForestClassifier(n_estimators=5, random_state=0).fit(FEATURES, FRAME["target"])


def linear(columns: int = 2) -> Any:
    x = np.arange(12.0).reshape(6, 2)
    return LinearRegression().fit(x, np.stack([x[:, 0], 2 * x[:, 1]], axis=1)[:, :columns].squeeze())


@pytest.mark.parametrize("form", ["memory", "path", "dict", "pickle", "bytes"])
def test_an_estimator_comes_back_from_every_form(forest: Any, tmp_path: Path, form: str) -> None:
    scaler = StandardScaler(["mean radius"])
    path = None if form == "memory" else tmp_path / "deep" / "checkpoint"
    made = SklearnCheckpoint.from_estimator(forest, path=path, preprocessor=scaler)
    if path is not None:
        assert sorted(name for name in os.listdir(path) if not name.startswith(".")) == ["model"]
    checkpoint: Any = {
        "memory": lambda: made,
        "path": lambda: Checkpoint.from_directory(str(path)),
        "dict": lambda: Checkpoint.from_dict(made.to_dict()),
        "pickle": lambda: pickle.loads(pickle.dumps(made)),
        "bytes": lambda: Checkpoint.from_bytes(made.to_bytes()),
    }[form]()
    if form == "path":
        assert type(checkpoint) is SklearnCheckpoint
    estimator, preprocessor = load_checkpoint(checkpoint)
    assert (estimator.predict(FEATURES) == forest.predict(FEATURES)).all()
    assert preprocessor.columns == scaler.columns


def test_a_checkpoint_in_memory_is_of_that_moment() -> None:
    estimator = linear(1)
    checkpoint = SklearnCheckpoint.from_estimator(estimator)
    before = estimator.coef_.copy()
    estimator.fit(np.ones((3, 2)), [5.0, 5.0, 5.0])
    assert (checkpoint.get_estimator().coef_ == before).all()


def test_what_ray_wrote_is_read(forest: Any, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(pickle.dumps(forest))  # all that Ray 2.3 puts there
    assert SklearnPredictor.from_checkpoint(Checkpoint.from_directory(tmp_path)).estimator.n_estimators == 5


def test_what_is_no_estimator() -> None:
    with pytest.raises(CheckpointTypeError, match="not the class RandomForestClassifier itself: call it"):
        SklearnCheckpoint.from_estimator(RandomForestClassifier)
    with pytest.raises(CheckpointTypeError, match=r"needs an estimator .* but builtins\.dict"):
        SklearnPredictor({"a": 1})


def test_an_estimator_that_cannot_be_pickled() -> None:
    estimator = LogisticRegression()
    estimator.lock_ = threading.Lock()
    with pytest.raises(pickle.PicklingError, match="LogisticRegression cannot be stored .* cannot pickle"):
        SklearnCheckpoint.from_estimator(estimator)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"epoch": 1}, "neither a file 'model' nor such a key, but epoch"),
        ({"model": {"weight": np.zeros(3)}}, r"but builtins\.dict"),
        ({"model": [np.zeros(3)]}, r"but builtins\.list"),
        (b"tree\nversion=v4\n", "is not a pickle"),
        (b"\x80\x04nonsense", "cannot be unpickled"),
    ],
)
def test_checkpoints_of_other_frameworks(checkpoint: Any, message: str, tmp_path: Path) -> None:
    if isinstance(checkpoint, bytes):
        (tmp_path / "model").write_bytes(checkpoint)
        made = Checkpoint.from_directory(tmp_path)
    else:
        made = Checkpoint.from_dict(checkpoint)
    with pytest.raises(CheckpointTypeError, match=message):
        SklearnPredictor.from_checkpoint(made)


def test_an_estimator_of_a_library_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"\x80\x04\x8c\x0cno_such_name\x8c\x01A\x93.")
    with pytest.raises(ModuleNotFoundError, match="needs the module no_such_name, which is not installed"):
        SklearnCheckpoint.from_directory(tmp_path).get_estimator()


# -- predictions ---------------------------------------------------------------------------------------------------------


def test_predictions_have_the_format_of_the_batch(forest: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    predictor = SklearnPredictor(forest)
    expected = forest.predict(FEATURES).tolist()
    frame = predictor.predict(FEATURES)
    assert list(frame.columns) == ["predictions"]
    assert frame["predictions"].tolist() == expected
    columns = predictor.predict({name: FEATURES[name].to_numpy() for name in FEATURES})
    assert columns["predictions"].tolist() == expected
    assert predictor.predict(pa.Table.from_pandas(FEATURES))["predictions"].to_pylist() == expected
    assert linear(1).predict(np.ones((2, 2))).tolist() == SklearnPredictor(linear(1)).predict(np.ones((2, 2))).tolist()


def test_several_outputs_are_several_columns() -> None:
    predicted = SklearnPredictor(linear()).predict(pd.DataFrame({"a": [1.0], "b": [2.0]}).set_axis([0, 1], axis=1))
    assert list(predicted.columns) == ["predictions_0", "predictions_1"]
    assert np.allclose(predicted, [[1.0, 4.0]])


def test_feature_columns_are_chosen_and_ordered() -> None:
    fitted = LinearRegression().fit(pd.DataFrame({"a": [1.0, 2, 3], "b": [0.0, 1, 0]}), [1.0, 2, 3])
    predictor = SklearnPredictor(fitted)
    data = pd.DataFrame({"x": ["?", "!"], "b": [0.0, 1.0], "a": [5.0, 7.0]})
    assert np.allclose(predictor.predict(data, feature_columns=["a", "b"])["predictions"], [5.0, 7.0])
    array = np.array([[9.0, 1.0, 2.0]])
    assert np.allclose(SklearnPredictor(linear(1)).predict(array, feature_columns=[1, 2]), [1.0])
    with pytest.raises(ValueError, match="feature_columns names 'c', which the data do not have; they have: x, b, a"):
        predictor.predict(data, feature_columns=["a", "c"])
    with pytest.raises(ValueError, match="feature_columns names 3"):
        predictor.predict(array, feature_columns=[3])


def test_a_column_of_arrays_is_many_features() -> None:
    names = list(FEATURES)[:3]
    concatenator = Concatenator(include=names, output_column_name="x")
    data = concatenator.transform_batch(FEATURES[names])
    from aktis.train.sklearn._features import as_features

    features = as_features(data)
    assert list(features.columns) == ["x_0", "x_1", "x_2"]
    fitted = LogisticRegression(max_iter=500).fit(features, FRAME["target"])
    predictor = SklearnPredictor(fitted, preprocessor=concatenator)
    assert predictor.predict(FEATURES[names])["predictions"].tolist() == fitted.predict(features).tolist()
    with pytest.raises(ValueError, match=r"column 'x' must have equal shapes, but have \(1,\) and \(2,\)"):
        as_features(pd.DataFrame({"x": [np.ones(1), np.ones(2)]}))


def test_cpus_of_nested_estimators_for_one_prediction() -> None:
    inner = RandomForestClassifier(n_estimators=3, n_jobs=7, random_state=0)
    pipeline = make_pipeline(SklearnScaler(), inner).fit(FEATURES, FRAME["target"])
    seen: list[Any] = []

    class Spy(SklearnScaler):  # type: ignore[misc]
        def transform(self, x: Any, copy: Any = None) -> Any:
            seen.append((pipeline.get_params()["randomforestclassifier__n_jobs"], os.environ.get("OMP_NUM_THREADS")))
            return super().transform(x, copy)

    pipeline.steps[0][1].__class__ = Spy
    before = os.environ.get("OMP_NUM_THREADS")
    predictor = SklearnPredictor(pipeline)
    predictor.predict(FEATURES, num_estimator_cpus=2)
    predictor.predict(FEATURES)
    assert seen == [(2, "2"), (7, before)]
    assert inner.n_jobs == 7
    with pytest.raises(ValueError, match="num_estimator_cpus must be 1 or more, or None, not 0"):
        predictor.predict(FEATURES, num_estimator_cpus=0)


def test_keywords_go_to_predict() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor

    predictor = SklearnPredictor(GaussianProcessRegressor().fit([[0.0], [1.0]], [0.0, 1.0]))
    with pytest.raises(RuntimeError, match="At most one of return_std or return_cov"):
        predictor.predict(np.array([[0.5]]), return_std=True, return_cov=True)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; import aktis.train.sklearn, aktis.train.tensorflow, aktis.train.tensorflow.config; "
        "heavy = {'numpy', 'pandas', 'sklearn', 'joblib', 'pyarrow', "
        "'tensorflow', 'keras', 'torch', 'aktis.data'} & set(sys.modules); "
        "assert not heavy, heavy; from aktis.train.sklearn import SklearnTrainer, SklearnPredictor; "
        "from aktis.train.tensorflow import TensorflowTrainer, TensorflowCheckpoint, TensorflowPredictor; "
        "heavy = {'pandas', 'sklearn', 'joblib', 'pyarrow', "
        "'tensorflow', 'keras', 'torch', 'aktis.data'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
