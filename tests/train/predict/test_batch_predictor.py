"""BatchPredictor: predictions for data sets, in workers."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aktis
import aktis.data as data
from aktis.air.checkpoint import Checkpoint
from aktis.data.preprocessors import BatchMapper
from aktis.train.batch_predictor import BatchPredictor
from aktis.train.error import CheckpointTypeError
from aktis.train.predictor import Predictor, PredictorNotSerializableException

pytestmark = pytest.mark.filterwarnings("error")


class Times(Predictor):
    """Multiplies the first column by the checkpoint's factor."""

    def __init__(self, factor: float, preprocessor: Any = None, use_gpu: bool = False) -> None:
        super().__init__(preprocessor)
        self.factor = factor
        self.use_gpu = use_gpu

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Times:
        return cls(checkpoint.to_dict()["factor"], checkpoint.get_preprocessor(), **kwargs)

    def _predict_pandas(self, df: pd.DataFrame, plus: float = 0, **kwargs: Any) -> pd.DataFrame:
        return pd.DataFrame({"predictions": df.iloc[:, 0] * self.factor + plus})


class TimesArrays(Times):
    _predict_pandas = Predictor._predict_pandas

    def _predict_numpy(self, batch: Any, **kwargs: Any) -> Any:
        values = next(iter(batch.values())) if isinstance(batch, dict) else batch
        return {"predictions": values * self.factor}


class Shows(Times):
    """Says what it was called with."""

    def _predict_pandas(self, df: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
        seen = f"{list(df.columns)} {kwargs} gpu={self.use_gpu} preprocessor={self.get_preprocessor()}"
        return pd.DataFrame({"seen": seen, "rows": len(df), "model": id(self)}, index=df.index)


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    before = data.DatasetContext.get_current()
    data.DatasetContext._set_current(data.DatasetContext(enable_progress_bars=False))
    with aktis.init(num_cpus=2, num_gpus=1, object_store_memory=200 << 20):
        yield
    data.DatasetContext._set_current(before)


@pytest.fixture
def checkpoint() -> Checkpoint:
    return Checkpoint.from_dict({"factor": 2.0})


@pytest.fixture
def ds() -> Any:
    return data.from_pandas(pd.DataFrame({"x": np.arange(10.0), "y": np.arange(10), "id": list("abcdefghij")}))


def with_hundred(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(x=df["x"] + 100)


HUNDRED = BatchMapper(with_hundred, batch_format="pandas")


@pytest.mark.parametrize("predictor", [Times, TimesArrays])
def test_predictions_are_those_of_the_predictor_in_order(checkpoint: Checkpoint, ds: Any, predictor: Any) -> None:
    made = BatchPredictor(checkpoint, predictor).predict(ds.repartition(4), keep_columns=["id"], batch_size=2)
    alone = predictor.from_checkpoint(checkpoint).predict(ds.to_pandas()[["x", "y"]])
    assert made.columns() == ["predictions", "id"]
    found = made.to_pandas()
    assert found["predictions"].tolist() == alone["predictions"].tolist() == [2.0 * i for i in range(10)]
    assert found["id"].tolist() == list("abcdefghij")


def test_each_actor_has_one_model_and_batches_have_their_size(checkpoint: Checkpoint, ds: Any) -> None:
    seen = BatchPredictor(checkpoint, Shows).predict(
        ds, batch_size=4, feature_columns=["y", "x"], max_scoring_workers=1, threshold=0.5
    )
    frame = seen.to_pandas()
    assert frame["rows"].tolist() == [4] * 8 + [2] * 2
    assert frame["model"].nunique() == 1
    assert frame["seen"].unique().tolist() == ["['y', 'x'] {'threshold': 0.5} gpu=False preprocessor=None"]


def test_the_result_is_lazy(checkpoint: Checkpoint, ds: Any, tmp_path: Path) -> None:
    class Marks(Times):
        def _predict_pandas(self, df: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
            (tmp_path / "ran").touch()
            return df

    made = BatchPredictor(checkpoint, Marks).predict(ds)
    assert "Marks" in repr(made)
    assert not (tmp_path / "ran").exists()
    made.materialize()
    assert (tmp_path / "ran").exists()


def test_arguments_of_the_predictor_reach_it(checkpoint: Checkpoint, ds: Any) -> None:
    predictor = BatchPredictor.from_checkpoint(checkpoint, Times)
    assert predictor.predict(ds, plus=1).take(2) == [{"predictions": 1.0}, {"predictions": 3.0}]
    assert repr(predictor) == f"BatchPredictor(checkpoint={checkpoint!r}, predictor_cls=Times)"


@pytest.mark.parametrize("gpus", [None, 1])
@pytest.mark.parametrize("separate", [True, False])
def test_the_preprocessor_comes_first_wherever_it_runs(ds: Any, gpus: Any, separate: bool) -> None:
    checkpoint = Checkpoint.from_dict({"factor": 2.0})
    checkpoint.set_preprocessor(HUNDRED)
    predictor = BatchPredictor(checkpoint, Times)
    made = predictor.predict(
        ds, keep_columns=["x"], feature_columns=["x"], num_gpus_per_worker=gpus, separate_gpu_stage=separate
    )
    assert ("with_hundred" in repr(made)) == (separate or not gpus)
    assert made.take(2) == [{"predictions": 200.0, "x": 100.0}, {"predictions": 202.0, "x": 101.0}]


def test_another_preprocessor_can_be_set_and_none(checkpoint: Checkpoint, ds: Any) -> None:
    predictor = BatchPredictor(checkpoint, Times)
    assert predictor.get_preprocessor() is None
    predictor.set_preprocessor(HUNDRED)
    assert predictor.predict(ds).take(1) == [{"predictions": 200.0}]
    assert checkpoint.get_preprocessor() is None
    copy = pickle.loads(pickle.dumps(predictor))
    assert copy.predict(ds).take(1) == [{"predictions": 200.0}]
    predictor.set_preprocessor(None)
    assert predictor.predict(ds).take(1) == [{"predictions": 0.0}]


def test_gpus_of_the_workers_are_used(checkpoint: Checkpoint, ds: Any, caplog: pytest.LogCaptureFixture) -> None:
    def seen(predictor: BatchPredictor, **options: Any) -> str:
        return str(predictor.predict(ds, **options).take(1)[0]["seen"])

    assert "gpu=True" in seen(BatchPredictor(checkpoint, Shows), num_gpus_per_worker=1)
    assert "gpu=False" in seen(BatchPredictor(checkpoint, Shows), num_gpus_per_worker=0)
    assert not caplog.records
    assert "gpu=False" in seen(BatchPredictor(checkpoint, Shows, use_gpu=False), num_gpus_per_worker=1)
    assert "use_gpu=False" in caplog.text


def test_rows_that_are_arrays(checkpoint: Checkpoint) -> None:
    tensors = data.range_tensor(4, shape=(2,))
    predictor = BatchPredictor(checkpoint, TimesArrays)
    assert predictor.predict(tensors).take(2)[1]["predictions"].tolist() == [2, 2]
    for option in ("keep_columns", "feature_columns"):
        with pytest.raises(ValueError, match=rf"{option}=\['x'\] needs data with columns"):
            predictor.predict(tensors, **{option: ["x"]}).take(1)


def test_arrays_in_columns_become_tensors(checkpoint: Checkpoint, ds: Any) -> None:
    class Pairs(Times):
        def _predict_pandas(self, df: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
            return pd.DataFrame({"pair": [np.array([x, x]) for x in df["x"]]})

    made = BatchPredictor(checkpoint, Pairs).predict(ds)
    assert made.schema().types == [data.range_tensor(1, shape=(2,)).map_batches(lambda x: x * 1.0).schema().types[0]]


def test_frames_tables_and_arrays_are_data_too(checkpoint: Checkpoint) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    predictor = BatchPredictor(checkpoint, Times)
    for value in (frame, pa.table({"x": [1.0, 2.0]})):
        assert predictor.predict(value).take_all() == [{"predictions": 2.0}, {"predictions": 4.0}]
    assert BatchPredictor(checkpoint, TimesArrays).predict(np.arange(2.0)).take_all()[1] == {"predictions": 2.0}


def test_functions_predict_too(ds: Any) -> None:
    def tripled(df: pd.DataFrame) -> pd.DataFrame:
        return df[["x"]] * 3

    made = BatchPredictor.from_pandas_udf(tripled).predict(ds, keep_columns=["id"])
    assert "MapBatches(tripled)" in repr(made)
    assert made.take(2) == [{"x": 0.0, "id": "a"}, {"x": 3.0, "id": "b"}]
    with pytest.raises(TypeError, match="needs a function of a DataFrame, not 3"):
        BatchPredictor.from_pandas_udf(3)  # type: ignore[arg-type]


def test_pipelines_are_predicted_window_by_window(checkpoint: Checkpoint, ds: Any) -> None:
    predictor = BatchPredictor(checkpoint, Times)
    blocks = ds.repartition(4).materialize()
    pipeline = predictor.predict_pipelined(blocks, blocks_per_window=2, keep_columns=["y"])
    assert type(pipeline) is data.DatasetPipeline
    assert list(pipeline.iter_rows()) == [{"predictions": 2.0 * i, "y": i} for i in range(10)]
    assert predictor.predict_pipelined(blocks, bytes_per_window=1).count() == 10
    assert predictor.predict(ds.repeat(2)).count() == 20
    for sizes in ({}, {"blocks_per_window": 1, "bytes_per_window": 1}):
        with pytest.raises(ValueError, match="one of blocks_per_window and bytes_per_window"):
            predictor.predict_pipelined(ds, **sizes)
    with pytest.raises(TypeError, match="predict_pipelined needs an aktis.data.Dataset, not DatasetPipeline"):
        predictor.predict_pipelined(ds.repeat(2), blocks_per_window=1)


# -- the checkpoint travels once, or not at all -------------------------------------------------------


def test_a_directory_is_read_where_it_is(tmp_path: Path, ds: Any) -> None:
    class Reads(Times):
        @classmethod
        def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Times:
            with checkpoint.as_directory() as path:
                (Path(path) / "read").touch()
            return Times(3.0, checkpoint.get_preprocessor())

    (tmp_path / "model").write_text("3")
    checkpoint = Checkpoint.from_directory(tmp_path)
    checkpoint.set_preprocessor(HUNDRED)
    assert BatchPredictor(checkpoint, Reads).predict(ds).take(1) == [{"predictions": 300.0}]
    assert (tmp_path / "read").exists()


def test_what_is_in_memory_is_stored_once(checkpoint: Checkpoint, ds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = []
    put = aktis.put
    monkeypatch.setattr(aktis, "put", lambda value: stored.append(value) or put(value))
    predictor = BatchPredictor(checkpoint, Times)
    for _ in range(2):
        predictor.predict(ds, min_scoring_workers=2).materialize()
    assert [value for value in stored if isinstance(value, Checkpoint)] == [checkpoint]


# -- what goes wrong ----------------------------------------------------------------------------------


def test_what_is_no_checkpoint_or_predictor_is_refused(checkpoint: Checkpoint) -> None:
    class Neither(Predictor):
        @classmethod
        def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Neither:
            return cls()

    class Abstract(Predictor):
        def _predict_pandas(self, df: Any, **kwargs: Any) -> Any:
            return df

    with pytest.raises(TypeError, match="BatchPredictor needs a Checkpoint, got 'there'"):
        BatchPredictor("there", Times)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="predictor_cls must be a class derived from .*Predictor, got dict"):
        BatchPredictor(checkpoint, dict)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Abstract must define from_checkpoint"):
        BatchPredictor(checkpoint, Abstract)
    with pytest.raises(NotImplementedError, match="Neither must define _predict_pandas or _predict_numpy"):
        BatchPredictor(checkpoint, Neither)
    with pytest.raises(PredictorNotSerializableException):
        pickle.dumps(Times(1.0))


def test_a_checkpoint_of_another_framework_is_refused_at_once() -> None:
    pytest.importorskip("xgboost")
    from aktis.train.lightgbm import LightGBMPredictor
    from aktis.train.xgboost import XGBoostCheckpoint

    checkpoint = XGBoostCheckpoint.from_dict({"model": None})
    with pytest.raises(CheckpointTypeError, match="LightGBMPredictor needs a checkpoint of lightgbm.*of xgboost"):
        BatchPredictor(checkpoint, LightGBMPredictor)


def test_a_checkpoint_without_the_model_is_refused_where_it_is_read(checkpoint: Checkpoint, ds: Any) -> None:
    pytest.importorskip("xgboost")
    from aktis.train.xgboost import XGBoostPredictor

    with pytest.raises(CheckpointTypeError, match="XGBoost"):
        BatchPredictor(checkpoint, XGBoostPredictor).predict(ds).take(1)


def test_models_of_trees_predict_the_same_however_many_rows_they_get() -> None:
    xgboost = pytest.importorskip("xgboost")
    from aktis.train.xgboost import XGBoostCheckpoint, XGBoostPredictor

    class EachBatch(XGBoostPredictor):
        def predict(self, data: Any, **kwargs: Any) -> Any:
            return {"rows": np.full(len(data["a"]), len(data["a"]))}

    random = np.random.default_rng(0)
    table = pd.DataFrame({name: random.normal(size=2000) for name in "ab"})
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(table, table["a"] * table["b"]), 5)
    expected = model.predict(xgboost.DMatrix(table))
    checkpoint = XGBoostCheckpoint.from_model(model)
    ds = data.from_pandas([table[:700], table[700:]])
    found = BatchPredictor(checkpoint, XGBoostPredictor).predict(ds, batch_size=64, keep_columns=["b"]).to_pandas()
    np.testing.assert_array_equal(found["predictions"], expected)
    np.testing.assert_array_equal(found["b"], table["b"])
    sizes = BatchPredictor(checkpoint, EachBatch).predict(ds, batch_size=64).to_pandas()["rows"]
    assert sizes.max() == 64  # a class of the user's gets the batches that it asked for


def test_errors_begin_with_the_users_frame(checkpoint: Checkpoint, ds: Any) -> None:
    class BadBatch(Times):
        def _predict_pandas(self, df: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
            raise ZeroDivisionError("no such batch")

    class BadModel(Times):
        @classmethod
        def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Times:
            raise ZeroDivisionError("no such model")

    for predictor, what in (
        (BadBatch, "MapBatches(BadBatch): BadBatch raised"),
        (BadModel, "the constructor of BadModel"),
    ):
        with pytest.raises(ZeroDivisionError) as info:
            BatchPredictor(checkpoint, predictor).predict(ds).take(1)
        lines = str(info.value).splitlines()
        assert lines[0].startswith(what)
        first = lines.index("Traceback of the function (most recent call last):") + 1
        assert Path(__file__).name in lines[first]


@pytest.mark.parametrize("option", ["keep_columns", "feature_columns"])
def test_columns_that_are_not_there_are_named(checkpoint: Checkpoint, ds: Any, option: str) -> None:
    predictor = BatchPredictor(checkpoint, Times)
    wanted = rf"{option} names 'nope', but the columns are 'x', 'y', 'id'"
    with pytest.raises(KeyError, match=wanted):  # at once: they are known
        predictor.predict(ds, **{option: ["x", "nope"]})
    later = predictor.predict(ds.map_batches(with_hundred), **{option: ["x", "nope"]})
    with pytest.raises(KeyError, match=wanted):
        later.take(1)


def test_kept_columns_and_predictions_must_fit(checkpoint: Checkpoint, ds: Any) -> None:
    class Short(Times):
        def _predict_pandas(self, df: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
            return df[["y"]].head(1)

    predictor = BatchPredictor(checkpoint, Short)
    with pytest.raises(ValueError, match="'y', and the predictions have a column of that name"):
        predictor.predict(ds, keep_columns=["y"]).take(1)
    with pytest.raises(ValueError, match="a prediction for each row, but the predictor returned 1 for a batch of 10"):
        predictor.predict(ds, keep_columns=["x"]).take(1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keep_columns": "x"}, TypeError, "keep_columns is a list of names"),
        ({"feature_columns": [1]}, TypeError, "feature_columns is a list of names of columns, but 1"),
        ({"feature_columns": ["x", "x"]}, ValueError, "feature_columns names 'x' twice"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an int or None, got 2.5"),
        ({"min_scoring_workers": 0}, ValueError, "min_scoring_workers must be at least 1, got 0"),
        ({"min_scoring_workers": 3, "max_scoring_workers": 2}, ValueError, "max_scoring_workers=2 is less than"),
        ({"max_scoring_workers": "2"}, TypeError, "max_scoring_workers must be an int, got '2'"),
        ({"num_cpus_per_worker": -1}, ValueError, "num_cpus_per_worker must not be negative, got -1"),
        ({"num_gpus_per_worker": "1"}, TypeError, "num_gpus_per_worker must be a number, got '1'"),
        ({"num_cpus_per_worker": 1, "ray_remote_args": {"num_cpus": 2}}, ValueError, "contradict each other"),
    ],
)
def test_arguments_that_make_no_sense(
    checkpoint: Checkpoint, ds: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        BatchPredictor(checkpoint, Times).predict(ds, **options)


@pytest.mark.parametrize("value", [None, [1, 2], {"x": [1]}])
def test_what_is_no_data_is_refused(checkpoint: Checkpoint, value: Any) -> None:
    with pytest.raises(TypeError, match=f"needs an aktis.data.Dataset, not {type(value).__name__}"):
        BatchPredictor(checkpoint, Times).predict(value)
