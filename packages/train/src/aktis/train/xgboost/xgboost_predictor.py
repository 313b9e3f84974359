"""Predictions with XGBoost models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train._gbdt import features
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.predictor import GBDTPredictor
from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint

if TYPE_CHECKING:
    import xgboost

    from aktis.air.predictor import DataBatchType

__all__ = ["XGBoostPredictor"]

# What Booster.inplace_predict can do itself; with anything else, a DMatrix is made.
_IN_PLACE = frozenset({"iteration_range", "output_margin", "strict_shape", "validate_features"})
_IN_PLACE_MATRIX = frozenset({"missing", "nthread"})


class XGBoostPredictor(GBDTPredictor):
    """Predicts with an XGBoost model.

    Args:
        model: The booster.
        preprocessor: Applied to each batch before the model.
    """

    model: xgboost.Booster

    _rows_apart = frozenset({"feature_columns", "output_margin", "iteration_range", "validate_features"})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> XGBoostPredictor:
        """A predictor with the model, and the preprocessor, of a checkpoint that an XGBoostTrainer made.

        Raises:
            CheckpointTypeError: it has no model of XGBoost.
        """
        own = XGBoostCheckpoint.from_checkpoint(checkpoint)
        return cls(model=own.get_model(), preprocessor=own.get_preprocessor(), **kwargs)

    def predict(
        self,
        data: DataBatchType,
        feature_columns: Sequence[str] | Sequence[int] | None = None,
        dmatrix_kwargs: Mapping[str, Any] | None = None,
        **predict_kwargs: Any,
    ) -> DataBatchType:
        """Predictions for a batch, in the format of the batch.

        They are called ``predictions``; ``predictions_0``, ``predictions_1`` and on where the model gives several numbers for
        a row, such as the probabilities of classes.

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            feature_columns: The names, or positions, of the columns to predict on. None: those that the model was trained on;
                of an array, all.
            dmatrix_kwargs: For ``xgboost.DMatrix``.
            predict_kwargs: For ``xgboost.Booster.predict``, such as ``output_margin=True``.

        Raises:
            FeatureError: the batch lacks a column (a ValueError).
        """
        return self._run(data, feature_columns, {"dmatrix": dict(dmatrix_kwargs or {}), "predict": predict_kwargs})

    def _trained_names(self) -> Sequence[str] | None:
        names: Sequence[str] | None = self.model.feature_names
        return names

    def _predict_features(self, data: Any, kind: str, columns: list[Any] | None, options: dict[str, Any]) -> Any:
        import numpy

        matrix = features.matrix(data, kind, columns, numpy.float32)  # XGBoost computes on float32 whatever it is given
        dmatrix, predict = options["dmatrix"], options["predict"]
        if matrix is None:
            return self._with_dmatrix(
                features.frame(data, kind, columns), {"enable_categorical": True, **dmatrix}, predict
            )
        if _IN_PLACE.issuperset(predict) and _IN_PLACE_MATRIX.issuperset(dmatrix) and self._is_of_trees():
            return self._in_place(matrix, dmatrix, predict)
        names = self.model.feature_names
        if names is not None and len(names) == matrix.shape[1]:
            dmatrix = {"feature_names": names, "feature_types": self.model.feature_types, **dmatrix}
        return self._with_dmatrix(matrix, dmatrix, predict)

    def _in_place(self, matrix: Any, dmatrix: dict[str, Any], predict: dict[str, Any]) -> Any:
        options = dict(predict)
        if options.pop("output_margin", False):
            options["predict_type"] = "margin"
        if dmatrix.get("missing") is not None:
            options["missing"] = dmatrix["missing"]
        self._check_width(matrix)
        return self.model.inplace_predict(matrix, **{**options, "validate_features": False})

    def _check_width(self, matrix: Any) -> None:
        wanted = self.model.num_features()
        if matrix.shape[1] != wanted:
            raise features.FeatureError(
                f"the model was trained on {wanted} features, and this batch has {matrix.shape[1]}: say feature_columns=[...]"
            )

    def _with_dmatrix(self, data: Any, dmatrix: dict[str, Any], predict: dict[str, Any]) -> Any:
        xgb = import_library("xgboost")
        return self.model.predict(xgb.DMatrix(data, **dmatrix), **predict)

    def _is_of_trees(self) -> bool:
        # A linear model cannot predict in place. What it is does not change: asked once.
        if self._trees is None:
            import json

            learner = json.loads(self.model.save_config())["learner"]
            self._trees = learner["gradient_booster"]["name"] in ("gbtree", "dart")
        return self._trees

    _trees: bool | None = None
