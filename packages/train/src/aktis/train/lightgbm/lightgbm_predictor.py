"""Predictions with LightGBM models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train._gbdt import features
from aktis.train._gbdt.predictor import GBDTPredictor
from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint

if TYPE_CHECKING:
    import lightgbm

    from aktis.air.predictor import DataBatchType

__all__ = ["LightGBMPredictor"]


class LightGBMPredictor(GBDTPredictor):
    """Predicts with a LightGBM model.

    Args:
        model: The booster.
        preprocessor: Applied to each batch before the model.
    """

    model: lightgbm.Booster

    _rows_apart = frozenset({"feature_columns", "raw_score", "start_iteration", "num_iteration"})

    def __init__(self, model: lightgbm.Booster, preprocessor: Any = None) -> None:
        super().__init__(model, preprocessor)
        self._names: list[str] | None = None

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> LightGBMPredictor:
        """A predictor with the model, and the preprocessor, of a checkpoint that a LightGBMTrainer made.

        Raises:
            CheckpointTypeError: it has no model of LightGBM.
        """
        own = LightGBMCheckpoint.from_checkpoint(checkpoint)
        return cls(model=own.get_model(), preprocessor=own.get_preprocessor(), **kwargs)

    def predict(
        self,
        data: DataBatchType,
        feature_columns: Sequence[str] | Sequence[int] | None = None,
        **predict_kwargs: Any,
    ) -> DataBatchType:
        """Predictions for a batch, in the format of the batch.

        They are called ``predictions``; ``predictions_0``, ``predictions_1`` and on where the model gives several numbers for
        a row, such as the probabilities of classes.

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            feature_columns: The names, or positions, of the columns to predict on. None: those that the model was trained on;
                of an array, all.
            predict_kwargs: For ``lightgbm.Booster.predict``, such as ``raw_score=True``.

        Raises:
            FeatureError: the batch lacks a column (a ValueError).
        """
        return self._run(data, feature_columns, predict_kwargs)

    def _trained_names(self) -> Sequence[str] | None:
        if self._names is None:
            self._names = self.model.feature_name()
        # What was trained on an array has names that LightGBM made up.
        return None if self._names == [f"Column_{index}" for index in range(len(self._names))] else self._names

    def _predict_features(self, data: Any, kind: str, columns: list[Any] | None, options: dict[str, Any]) -> Any:
        has_categories = bool(self.model.pandas_categorical)
        matrix = None if has_categories and kind != "numpy" else features.matrix(data, kind, columns, None)
        if matrix is None:
            return self.model.predict(features.frame(data, kind, columns), **options)
        wanted = self.model.num_feature()
        if matrix.shape[1] != wanted and not options.get("predict_disable_shape_check"):
            raise features.FeatureError(
                f"the model was trained on {wanted} features, and this batch has {matrix.shape[1]}: say feature_columns=[...]"
            )
        return self.model.predict(matrix, **options)
