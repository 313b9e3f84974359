"""Predictors: a model, made from a checkpoint, that turns batches into predictions."""

from __future__ import annotations

from aktis.air.exceptions import PredictorNotSerializableException
from aktis.air.predictor import BatchFormat, DataBatchType, Predictor

__all__ = ["BatchFormat", "DataBatchType", "Predictor", "PredictorNotSerializableException"]
