"""Predictors: a model, made from a checkpoint, that turns batches into predictions."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

from aktis.air.exceptions import PredictorNotSerializableException

if TYPE_CHECKING:
    import numpy
    import pandas
    import pyarrow

    from aktis.air.checkpoint import Checkpoint

__all__ = ["BatchFormat", "DataBatchType", "Predictor", "PredictorNotSerializableException"]

DataBatchType = Union["numpy.ndarray", "pandas.DataFrame", dict[str, "numpy.ndarray"], "pyarrow.Table"]
"""What a batch can be: an array, a DataFrame, a dict of arrays, or an Arrow table."""


class BatchFormat(str, enum.Enum):
    """What a predictor computes on."""

    PANDAS = "pandas"
    NUMPY = "numpy"


class Predictor(abc.ABC):
    """Predicts on batches, with a preprocessor before the model.

    A subclass has a ``from_checkpoint``, and ``_predict_pandas``, ``_predict_numpy`` or both::

        class Doubling(Predictor):
            @classmethod
            def from_checkpoint(cls, checkpoint, **kwargs):
                predictor = cls(checkpoint.get_preprocessor())
                predictor.factor = checkpoint.to_dict()["factor"]
                return predictor

            def _predict_numpy(self, data, **kwargs):
                return {"predictions": data["x"] * self.factor}

    Predictors are made where they are used, from the checkpoint, and are never pickled.

    Args:
        preprocessor: Applied to each batch before the model.
    """

    def __init__(self, preprocessor: Any = None) -> None:
        self._preprocessor = preprocessor

    @classmethod
    @abc.abstractmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Predictor:
        """A predictor with the model of a checkpoint."""

    @classmethod
    def from_pandas_udf(cls, pandas_udf: Callable[[pandas.DataFrame], pandas.DataFrame]) -> Predictor:
        """A predictor that is a function of DataFrames, without a model."""
        if not callable(pandas_udf):
            raise TypeError(f"from_pandas_udf needs a function of a DataFrame, not {pandas_udf!r}")
        return _FunctionPredictor(pandas_udf)

    def get_preprocessor(self) -> Any:
        """The preprocessor; None when there is none."""
        return self._preprocessor

    def set_preprocessor(self, preprocessor: Any) -> None:
        """Use another preprocessor; None: none."""
        self._preprocessor = preprocessor

    @classmethod
    def preferred_batch_format(cls) -> BatchFormat:
        """What batches should be, so that they need not be converted: pandas, unless only ``_predict_numpy`` is defined."""
        only_numpy = cls._has("_predict_numpy") and not cls._has("_predict_pandas")
        return BatchFormat.NUMPY if only_numpy else BatchFormat.PANDAS

    @classmethod
    def _has(cls, method: str) -> bool:
        return getattr(cls, method) is not getattr(Predictor, method)

    @classmethod
    def _batch_format_to_use(cls) -> BatchFormat:
        has_pandas, has_numpy = cls._has("_predict_pandas"), cls._has("_predict_numpy")
        if has_pandas and has_numpy:
            return BatchFormat(cls.preferred_batch_format())
        if not has_pandas and not has_numpy:
            raise NotImplementedError(f"{cls.__name__} must define _predict_pandas or _predict_numpy")
        return BatchFormat.PANDAS if has_pandas else BatchFormat.NUMPY

    def predict(self, data: DataBatchType, **kwargs: Any) -> DataBatchType:
        """Predictions for a batch, in the format of the batch: of an array, an array or a dict of them.

        ``_predict_numpy`` gets the one column of a table that has no other as an array, without its name.

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            kwargs: For the model.

        Raises:
            TypeError: ``data`` is something else.
            NotImplementedError: the class defines neither ``_predict_pandas`` nor ``_predict_numpy``.
        """
        from aktis.air import _batches

        kind = _batches.kind_of(data)
        wanted = self._batch_format_to_use()
        if self._preprocessor is not None:
            data = self._preprocessor.transform_batch(data)
        if wanted is BatchFormat.PANDAS:
            predictions: Any = self._predict_pandas(_batches.to_pandas(data), **kwargs)
        else:
            predictions = self._predict_numpy(_batches.to_numpy(data), **kwargs)
            if kind == "numpy":
                return predictions
        return _batches.convert(predictions, kind)

    def _predict_pandas(self, data: pandas.DataFrame, **kwargs: Any) -> pandas.DataFrame:
        """Predictions for a DataFrame."""
        raise NotImplementedError(f"{type(self).__name__} does not define _predict_pandas")

    def _predict_numpy(
        self, data: numpy.ndarray | dict[str, numpy.ndarray], **kwargs: Any
    ) -> numpy.ndarray | dict[str, numpy.ndarray]:
        """Predictions for an array, or for a dict of them."""
        raise NotImplementedError(f"{type(self).__name__} does not define _predict_numpy")

    def __reduce__(self) -> Any:
        raise PredictorNotSerializableException(
            f"{type(self).__name__} objects cannot be pickled, since models are big and may be on a GPU: pass the Checkpoint, "
            f"and call {type(self).__name__}.from_checkpoint where you predict"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}(preprocessor={self._preprocessor!r})"


class _FunctionPredictor(Predictor):
    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Predictor:
        return Predictor.from_pandas_udf(kwargs["pandas_udf"])

    def _predict_pandas(self, data: Any, **kwargs: Any) -> Any:
        return self._function(data, **kwargs)
