"""Predictions with a scikit-learn estimator."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.predictor import DataBatchType, Predictor
from aktis.train.sklearn._features import as_features
from aktis.train.sklearn._parallel import estimator_cpus, joblib_threads, thread_limit
from aktis.train.sklearn.sklearn_checkpoint import check_estimator, load_checkpoint

if TYPE_CHECKING:
    import pandas

    from aktis.air.checkpoint import Checkpoint

__all__ = ["SklearnPredictor"]


class SklearnPredictor(Predictor):
    """Predicts with an estimator that was fitted.

    Args:
        estimator: The estimator.
        preprocessor: Applied to each batch before it.

    Raises:
        CheckpointTypeError: ``estimator`` is none.
    """

    def __init__(self, estimator: Any, preprocessor: Any = None) -> None:
        super().__init__(preprocessor)
        self.estimator = check_estimator(estimator, "SklearnPredictor needs an estimator of scikit-learn")

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, **kwargs: Any) -> SklearnPredictor:
        """A predictor with the estimator of a checkpoint, and with its preprocessor.

        Raises:
            CheckpointTypeError: the checkpoint has no estimator.
        """
        estimator, preprocessor = load_checkpoint(checkpoint)
        return cls(estimator, preprocessor, **kwargs)

    def predict(
        self,
        data: DataBatchType,
        feature_columns: Sequence[str] | Sequence[int] | None = None,
        num_estimator_cpus: int | None = None,
        **predict_kwargs: Any,
    ) -> DataBatchType:
        """Predictions for a batch, in the format of the batch: ``predictions``, or ``predictions_0``, ``predictions_1``, ... of
        an estimator that predicts several values.

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            feature_columns: The columns to use, in this order; numbers for an array. None: all.
            num_estimator_cpus: CPUs that the estimator uses. None: as it is set itself (``n_jobs``).
            predict_kwargs: For the estimator's ``predict``.

        Raises:
            TypeError: ``data`` is something else.
            ValueError: there is no such column.
        """
        if num_estimator_cpus is not None and num_estimator_cpus < 1:
            raise ValueError(f"num_estimator_cpus must be 1 or more, or None, not {num_estimator_cpus!r}")
        return super().predict(
            data, feature_columns=feature_columns, num_estimator_cpus=num_estimator_cpus, **predict_kwargs
        )

    def _predict_pandas(
        self,
        data: pandas.DataFrame,
        feature_columns: Any = None,
        num_estimator_cpus: int | None = None,
        **predict_kwargs: Any,
    ) -> pandas.DataFrame:
        import pandas

        features = as_features(data, feature_columns)
        with contextlib.ExitStack() as limits:
            if num_estimator_cpus is not None:
                limits.enter_context(thread_limit(num_estimator_cpus))
                limits.enter_context(joblib_threads(num_estimator_cpus))
                limits.enter_context(estimator_cpus(self.estimator, num_estimator_cpus))
            predicted = self.estimator.predict(features, **predict_kwargs)
        frame = pandas.DataFrame(predicted)
        several = len(frame.columns) > 1
        frame.columns = [f"predictions_{index}" for index in range(len(frame.columns))] if several else ["predictions"]
        return frame

    def __repr__(self) -> str:
        return f"SklearnPredictor(estimator={self.estimator!r}, preprocessor={self._preprocessor!r})"
