"""Functions in the place of predictors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.air.predictor import Predictor

if TYPE_CHECKING:
    import pandas

    from aktis.air.checkpoint import Checkpoint


class PandasUDFPredictor(Predictor):
    """A function of DataFrames. It comes with the arguments, not with the checkpoint."""

    def __init__(self, pandas_udf: Callable[..., pandas.DataFrame], preprocessor: Any = None) -> None:
        super().__init__(preprocessor)
        self._pandas_udf = pandas_udf

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> Predictor:
        return cls(kwargs["pandas_udf"], checkpoint.get_preprocessor())

    def _predict_pandas(self, data: pandas.DataFrame, **kwargs: Any) -> pandas.DataFrame:
        return self._pandas_udf(data, **kwargs)
