"""Predictors give what the libraries give, for every kind of batch; no workers here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")

from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.air.predictor import BatchFormat  # noqa: E402
from aktis.data.preprocessors import StandardScaler  # noqa: E402
from aktis.train import lightgbm as own_lightgbm  # noqa: E402
from aktis.train import xgboost as own_xgboost  # noqa: E402
from aktis.train._predict.scoring import Scoring  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.lightgbm import LightGBMCheckpoint, LightGBMPredictor  # noqa: E402
from aktis.train.xgboost import XGBoostCheckpoint, XGBoostPredictor  # noqa: E402

NAMES = ["f", "i", "b", "g"]


def rows(count: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "f": rng.normal(size=count),
            "i": rng.integers(0, 9, count),
            "b": rng.random(count) < 0.5,
            "g": rng.normal(size=count).astype(np.float32),
        }
    )
    table.loc[::9, "f"] = np.nan
    return table


def target(table: pd.DataFrame, classes: int = 2) -> np.ndarray[Any, Any]:
    score = table["i"] + 3 * table["b"] + table["g"]
    return np.asarray(pd.qcut(score, classes, labels=False))


def xgboost_model(table: pd.DataFrame, **params: Any) -> Any:
    params = {"objective": "binary:logistic", "nthread": 1, **params}
    return xgboost.train(params, xgboost.DMatrix(table, target(table, params.get("num_class", 2))), 5)


def lightgbm_model(table: pd.DataFrame, **params: Any) -> Any:
    params = {"objective": "binary", "num_threads": 1, "verbosity": -1, **params}
    return lightgbm.train(params, lightgbm.Dataset(table, target(table, params.get("num_class", 2))), 5)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return rows()


@pytest.fixture(scope="module", params=["xgboost", "lightgbm"])
def trained(request: pytest.FixtureRequest, table: pd.DataFrame) -> tuple[Any, np.ndarray[Any, Any]]:
    if request.param == "xgboost":
        model = xgboost_model(table)
        return XGBoostPredictor(model), model.predict(xgboost.DMatrix(table))
    model = lightgbm_model(table)
    return LightGBMPredictor(model), model.predict(table)


def batches(table: pd.DataFrame) -> dict[str, Any]:
    columns = {name: table[name].to_numpy() for name in table}
    nullable = pa.Table.from_pandas(table, preserve_index=False)
    return {
        "frame": table,
        "frame with another index and more columns": table.assign(z="text").set_index(np.arange(50, 250))[
            ["z", *NAMES[::-1]]
        ],
        "nullable frame": table.convert_dtypes(),
        "dict": columns,
        "array": table.astype(float).to_numpy(),
        "table": nullable,
        "chunked table": pa.concat_tables([nullable.slice(0, 77), nullable.slice(77)]),
    }


def test_every_kind_of_batch(trained: tuple[Any, Any], table: pd.DataFrame) -> None:
    predictor, expected = trained
    for name, batch in batches(table).items():
        found = predictor.predict(batch)
        if isinstance(batch, np.ndarray):
            values = found
        else:
            assert type(found) is type(batch), name
            values = found["predictions"]
        assert np.array_equal(np.asarray(values), expected), name
    assert list(predictor.predict(table[5:8]).index) == [0, 1, 2]
    assert predictor.preferred_batch_format() is BatchFormat.NUMPY
    assert len(predictor.predict({name: table[name].to_numpy()[:0] for name in NAMES})["predictions"]) == 0


def test_columns_that_are_missing_are_named(trained: tuple[Any, Any], table: pd.DataFrame) -> None:
    predictor, expected = trained
    with pytest.raises(ValueError, match=r"lacks the columns 'b', which the model needs; it has 'f', 'i', 'g'"):
        predictor.predict(table.drop(columns="b"))
    with pytest.raises(ValueError, match="trained on 4 features, and this batch has 3"):
        predictor.predict(np.zeros((2, 3)))
    renamed = table.rename(columns={"f": "F"})
    assert np.array_equal(predictor.predict(renamed, feature_columns=["F", "i", "b", "g"])["predictions"], expected)
    wide = np.column_stack([np.zeros(200), table.astype(float)])
    assert np.array_equal(predictor.predict(wide, feature_columns=[1, 2, 3, 4]), expected)
    with pytest.raises(TypeError, match="a batch must be"):
        predictor.predict([1, 2])


def test_features_in_one_tensor(trained: tuple[Any, Any], table: pd.DataFrame) -> None:
    predictor, expected = trained
    matrix = table.astype(float).to_numpy()
    assert np.array_equal(predictor.predict({"features": matrix})["predictions"], expected)
    tensors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), 4)
    assert np.array_equal(predictor.predict(pa.table({"features": tensors}))["predictions"].to_numpy(), expected)


def test_several_numbers_a_row(table: pd.DataFrame) -> None:
    model = xgboost_model(table, objective="multi:softprob", num_class=3)
    expected = model.predict(xgboost.DMatrix(table))
    found = XGBoostPredictor(model).predict(table)
    assert list(found) == ["predictions_0", "predictions_1", "predictions_2"]
    assert np.array_equal(found.to_numpy(), expected)
    assert list(XGBoostPredictor(model).predict(table.astype(float).to_numpy())) == list(found)
    leaves = XGBoostPredictor(model).predict(table, pred_leaf=True)
    assert leaves.shape == (200, 15)
    contributions = XGBoostPredictor(model).predict(table[:2], pred_contribs=True)
    assert np.array_equal(
        contributions["predictions_1"][1], model.predict(xgboost.DMatrix(table[:2]), pred_contribs=True)[1, 1]
    )
    other = lightgbm_model(table, objective="multiclass", num_class=3)
    found = LightGBMPredictor(other).predict(pa.Table.from_pandas(table))
    assert found.column_names == ["predictions_0", "predictions_1", "predictions_2"]
    assert np.array_equal(found["predictions_2"].to_numpy(), other.predict(table)[:, 2])


def test_options_reach_the_library(table: pd.DataFrame) -> None:
    model = xgboost_model(table)
    predictor = XGBoostPredictor(model)
    matrix = xgboost.DMatrix(table)
    for options in ({"output_margin": True}, {"iteration_range": (0, 2)}, {"output_margin": True, "training": False}):
        assert np.array_equal(predictor.predict(table, **options)["predictions"], model.predict(matrix, **options))
    filled = table.fillna({"f": -7.0})
    expected = model.predict(xgboost.DMatrix(filled, missing=-7.0))
    assert np.array_equal(predictor.predict(filled, dmatrix_kwargs={"missing": -7.0})["predictions"], expected)
    margin = np.linspace(0, 1, 200)
    expected = model.predict(xgboost.DMatrix(table, base_margin=margin))
    assert np.array_equal(predictor.predict(table, dmatrix_kwargs={"base_margin": margin})["predictions"], expected)
    linear = xgboost_model(table.fillna(0), booster="gblinear")
    expected = linear.predict(xgboost.DMatrix(table.fillna(0)))
    assert np.allclose(XGBoostPredictor(linear).predict(table.fillna(0))["predictions"], expected)
    other = lightgbm_model(table)
    assert np.array_equal(
        LightGBMPredictor(other).predict(table, raw_score=True)["predictions"], other.predict(table, raw_score=True)
    )


def test_categories(table: pd.DataFrame) -> None:
    mixed = table.assign(c=pd.Categorical(np.array(["x", "y", "z"])[table["i"] % 3]))
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(mixed, target(table), enable_categorical=True), 4)
    expected = model.predict(xgboost.DMatrix(mixed, enable_categorical=True))
    for batch in (mixed, pa.Table.from_pandas(mixed, preserve_index=False)):
        assert np.array_equal(np.asarray(XGBoostPredictor(model).predict(batch)["predictions"]), expected)
    other = lightgbm_model(mixed)
    for batch in (mixed, pa.Table.from_pandas(mixed, preserve_index=False)):
        assert np.array_equal(np.asarray(LightGBMPredictor(other).predict(batch)["predictions"]), other.predict(mixed))


def test_names_with_spaces(table: pd.DataFrame) -> None:
    spaced = table.rename(columns={"f": "first one"})
    model = lightgbm_model(spaced)
    assert "first_one" in model.feature_name()
    assert np.array_equal(LightGBMPredictor(model).predict(spaced)["predictions"], model.predict(spaced))


# -- checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_checkpoints_hold_the_library_s_own_format(library: str, table: pd.DataFrame, tmp_path: Path) -> None:
    own: Any
    if library == "xgboost":
        own, model, cls, predictor = own_xgboost, xgboost_model(table), XGBoostCheckpoint, XGBoostPredictor
    else:
        own, model, cls, predictor = own_lightgbm, lightgbm_model(table), LightGBMCheckpoint, LightGBMPredictor
    scaler = StandardScaler(["f"])
    scaler.stats_ = {"mean(f)": 1.0, "std(f)": 2.0}
    plain = cls.from_model(model, path=tmp_path / "plain")
    files = {path.name for path in (tmp_path / "plain").iterdir()}
    assert files == {cls.MODEL_FILENAME}
    checkpoint = cls.from_model(model, preprocessor=scaler, path=tmp_path / "scaled")
    for form in (
        checkpoint,
        Checkpoint.from_directory(tmp_path / "scaled"),
        Checkpoint.from_dict(checkpoint.to_dict()),
        Checkpoint.from_bytes(checkpoint.to_bytes()),
    ):
        loaded, preprocessor = own.load_checkpoint(form)
        assert type(loaded) is type(model)
        assert preprocessor.stats_ == scaler.stats_
        predictions = predictor.from_checkpoint(form).predict(table)["predictions"]
        scaled = table.assign(f=(table["f"] - 1) / 2)
        assert np.array_equal(predictions, predictor(model).predict(scaled)["predictions"])
    assert plain.get_preprocessor() is None
    elsewhere = cls.from_model(model)
    assert os.listdir(elsewhere.path) == [cls.MODEL_FILENAME]


def test_checkpoints_of_something_else(table: pd.DataFrame, tmp_path: Path) -> None:
    xgb, lgb = XGBoostCheckpoint.from_model(xgboost_model(table)), LightGBMCheckpoint.from_model(lightgbm_model(table))
    with pytest.raises(CheckpointTypeError, match=r"does not hold an XGBoost model.*but model.txt"):
        XGBoostPredictor.from_checkpoint(lgb)
    with pytest.raises(CheckpointTypeError, match=r"does not hold a LightGBM model.*but model.ubj"):
        LightGBMPredictor.from_checkpoint(xgb)
    with pytest.raises(CheckpointTypeError):
        XGBoostPredictor.from_checkpoint(Checkpoint.from_dict({"epoch": 1}))
    for name, cls in (("model.ubj", XGBoostCheckpoint), ("model.txt", LightGBMCheckpoint)):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(CheckpointTypeError, match="is no model"):
            cls.from_directory(tmp_path).get_model()
    with pytest.raises(TypeError, match=r"needs an xgboost.Booster, not dict"):
        XGBoostCheckpoint.from_model({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs a lightgbm.Booster, not Booster"):
        LightGBMCheckpoint.from_model(xgb.get_model())


def test_models_of_ray_s_checkpoints(table: pd.DataFrame, tmp_path: Path) -> None:
    """Ray 2.3 calls the file "model"."""
    model = lightgbm_model(table)
    model.save_model(tmp_path / "model")
    assert np.array_equal(LightGBMCheckpoint.from_directory(tmp_path).get_model().predict(table), model.predict(table))
    other = xgboost_model(table)
    (tmp_path / "model").write_bytes(other.save_raw("json"))
    found = XGBoostCheckpoint.from_directory(tmp_path).get_model()
    assert np.array_equal(found.predict(xgboost.DMatrix(table)), other.predict(xgboost.DMatrix(table)))


def test_batches_are_joined_and_only_read_where_nobody_can_see_it() -> None:
    class Own(XGBoostPredictor):
        """May do with a batch what it likes."""

    for cls, option in ((XGBoostPredictor, "output_margin"), (LightGBMPredictor, "raw_score")):
        assert Scoring(predictor_cls=cls, predict_kwargs={option: True, "feature_columns": ["f"]}).joins_batches
        assert not Scoring(predictor_cls=cls, predict_kwargs={"pred_contrib": True}).joins_batches  # much for each row
        assert Scoring(predictor_cls=cls, predict_kwargs={"pred_contrib": True}).only_reads
        scaled = Scoring(predictor_cls=cls, preprocessor=StandardScaler(["f"]))
        assert not scaled.joins_batches
        assert not scaled.only_reads
    own = Scoring(predictor_cls=Own)
    assert not own.joins_batches
    assert not own.only_reads


def test_batches_that_cannot_be_written_to(trained: tuple[Any, Any], table: pd.DataFrame) -> None:
    predictor, expected = trained
    arrays = {name: table[name].to_numpy().copy() for name in NAMES}
    matrix = np.stack([arrays[name].astype(np.float64) for name in NAMES], axis=1)
    for array in (*arrays.values(), matrix):
        array.flags.writeable = False
    np.testing.assert_allclose(predictor.predict(arrays)["predictions"], expected, rtol=1e-6)
    np.testing.assert_allclose(np.ravel(predictor.predict(matrix)), expected, rtol=1e-6)
