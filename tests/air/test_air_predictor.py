"""Predictors: formats in and out, preprocessors, and that they are not pickled."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aktis.air.checkpoint import Checkpoint
from aktis.air.predictor import BatchFormat, Predictor, PredictorNotSerializableException


class Base(Predictor):
    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Predictor:
        predictor = cls(checkpoint.get_preprocessor())
        predictor.factor = checkpoint.to_dict()["factor"]
        return predictor

    factor = 2


class OnNumpy(Base):
    def _predict_numpy(self, data: Any, plus: int = 0, **kwargs: Any) -> Any:
        values = data["x"] if isinstance(data, dict) else data
        return {"predictions": values * self.factor + plus}


class OnPandas(Base):
    def _predict_pandas(self, data: pd.DataFrame, plus: int = 0, **kwargs: Any) -> pd.DataFrame:
        values = np.stack([np.asarray(value) for value in data[data.columns[0]]])
        return pd.DataFrame({"predictions": list(values * self.factor + plus)})


class OnBoth(OnNumpy, OnPandas):
    pass


def table(data: Any) -> dict[str, Any]:
    return {name: np.asarray(values.to_pylist()).tolist() for name, values in zip(data.column_names, data.columns)}


@pytest.mark.parametrize("cls", [OnNumpy, OnPandas, OnBoth])
class TestFormats:
    def test_a_frame_gives_a_frame(self, cls: type[Base]) -> None:
        found: Any = cls().predict(pd.DataFrame({"x": [1, 2], "y": [0, 0]}), plus=1)
        assert isinstance(found, pd.DataFrame)
        assert list(found["predictions"]) == [3, 5]

    def test_a_dict_gives_a_dict(self, cls: type[Base]) -> None:
        found: Any = cls().predict({"x": np.array([1, 2])})
        assert isinstance(found, dict)
        assert found["predictions"].tolist() == [2, 4]

    def test_a_table_gives_a_table(self, cls: type[Base]) -> None:
        found: Any = cls().predict(pa.table({"x": [1, 2]}))
        assert table(found) == {"predictions": [2, 4]}

    def test_arrays_of_more_dimensions(self, cls: type[Base]) -> None:
        images = np.arange(24).reshape(2, 3, 4)
        found: Any = cls().predict({"x": images})
        assert (found["predictions"] == images * 2).all()
        frame: Any = cls().predict(pd.DataFrame({"x": list(images)}))
        assert (np.stack(frame["predictions"]) == images * 2).all()
        flat = pa.array(images.reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(flat, 4), 3)
        assert table(cls().predict(pa.table({"x": column})))["predictions"] == (images * 2).tolist()

    def test_other_things_are_refused(self, cls: type[Base]) -> None:
        with pytest.raises(TypeError, match="not list"):
            cls().predict([1, 2])  # type: ignore[arg-type]


def test_an_array_gives_what_ray_gives() -> None:
    from_numpy: Any = OnNumpy().predict(np.array([1, 2]))
    assert from_numpy["predictions"].tolist() == [2, 4]
    from_pandas: Any = OnPandas().predict(np.array([1, 2]))
    assert from_pandas.tolist() == [2, 4]


def test_which_format_is_preferred() -> None:
    assert OnNumpy.preferred_batch_format() is BatchFormat.NUMPY
    assert OnPandas.preferred_batch_format() is BatchFormat.PANDAS
    assert OnBoth.preferred_batch_format() is BatchFormat.PANDAS

    class Prefers(OnBoth):
        @classmethod
        def preferred_batch_format(cls) -> BatchFormat:
            return BatchFormat.NUMPY

        def _predict_pandas(self, data: pd.DataFrame, plus: int = 0, **kwargs: Any) -> pd.DataFrame:
            raise AssertionError("not this one")

    assert isinstance(Prefers().predict(pd.DataFrame({"x": [1]})), pd.DataFrame)


def test_a_class_without_a_method_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Base must define _predict_pandas or _predict_numpy"):
        Base().predict(np.ones(1))
    with pytest.raises(TypeError, match="from_checkpoint"):
        Predictor()  # type: ignore[abstract]


class Adding:
    def transform_batch(self, batch: Any) -> Any:
        return {"x": batch["x"] + 10} if isinstance(batch, dict) else batch + 10


def test_the_preprocessor_comes_first() -> None:
    checkpoint = Checkpoint.from_dict({"factor": 3})
    checkpoint.set_preprocessor(Adding())
    predictor: Any = OnNumpy.from_checkpoint(checkpoint)
    assert isinstance(predictor.get_preprocessor(), Adding)
    assert predictor.predict({"x": np.array([1])})["predictions"].tolist() == [33]
    predictor.set_preprocessor(None)
    assert predictor.predict({"x": np.array([1])})["predictions"].tolist() == [3]


def test_a_function_is_a_predictor() -> None:
    predictor = Predictor.from_pandas_udf(lambda frame: frame * 2)
    found: Any = predictor.predict(pd.DataFrame({"x": [1, 2]}))
    assert list(found["x"]) == [2, 4]
    with pytest.raises(TypeError, match="not 3"):
        Predictor.from_pandas_udf(3)  # type: ignore[arg-type]


def test_predictors_are_not_pickled() -> None:
    with pytest.raises(PredictorNotSerializableException, match=r"OnNumpy.from_checkpoint where you predict"):
        pickle.dumps(OnNumpy())
