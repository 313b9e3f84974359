"""What the predictors of both libraries do alike: from a batch of any kind to the model, and back to that kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from aktis.air.predictor import BatchFormat, Predictor
from aktis.train._gbdt import features, outputs

__all__ = ["GBDTPredictor"]


class GBDTPredictor(Predictor):
    """Predicts with trees. Batches of numbers go to the library as one matrix, whatever they came as.

    The columns that the model was trained on are taken by name, in the model's order; others are ignored.

    Args:
        model: The booster.
        preprocessor: Applied to each batch before the model.
    """

    # With no other arguments of ``predict`` than these, each prediction depends on one row alone, and takes little memory: then
    # BatchPredictor joins batches, since a call takes as long as hundreds of rows. A subclass has to say it anew.
    _rows_apart: ClassVar[frozenset[str]]

    def __init__(self, model: Any, preprocessor: Any = None) -> None:
        super().__init__(preprocessor)
        self.model = model

    @classmethod
    def preferred_batch_format(cls) -> BatchFormat:
        """Arrays: a DataFrame would be made only to be taken apart."""
        return BatchFormat.NUMPY

    @abstractmethod
    def _trained_names(self) -> Sequence[str] | None:
        """The columns that the model was trained on, in order; None when it does not know."""

    @abstractmethod
    def _predict_features(self, data: Any, kind: str, columns: list[Any] | None, options: dict[str, Any]) -> Any:
        """An array of predictions for some columns of a batch."""

    def _run(self, data: Any, feature_columns: Sequence[Any] | None, options: dict[str, Any]) -> Any:
        kind = features.kind_of(data)
        if self._preprocessor is not None:
            data = self._preprocessor.transform_batch(data)
        after = features.kind_of(data)
        trained = None if after == "numpy" else self._trained_names()
        columns = features.select(features.names_of(data, after), feature_columns, trained)
        return outputs.as_batch(self._predict_features(data, after, columns, options), kind)

    def _predict_pandas(self, data: Any, **kwargs: Any) -> Any:
        return self.predict(data, **kwargs)

    def _predict_numpy(self, data: Any, **kwargs: Any) -> Any:
        return self.predict(data, **kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r}, preprocessor={self._preprocessor!r})"
