"""Checkpoints of XGBoost models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.model_files import find_model, new_directory, with_preprocessor
from aktis.train.error import CheckpointTypeError

if TYPE_CHECKING:
    import xgboost

__all__ = ["XGBoostCheckpoint"]


class XGBoostCheckpoint(Checkpoint):
    """A directory with an XGBoost model in the library's own format (UBJSON): nothing in it is pickled but a preprocessor."""

    MODEL_FILENAME = "model.ubj"

    @classmethod
    def from_model(
        cls, booster: xgboost.Booster, *, preprocessor: Any = None, path: str | os.PathLike[str] | None = None
    ) -> XGBoostCheckpoint:
        """A checkpoint of a model.

        Args:
            booster: The model; of an ``XGBModel``, its booster is taken.
            preprocessor: What is to be applied to batches before the model.
            path: The directory to write to. None: a temporary one, which is yours to remove.

        Raises:
            TypeError: ``booster`` is no model of XGBoost.
        """
        xgb = import_library("xgboost")
        if hasattr(booster, "get_booster"):
            booster = booster.get_booster()
        if not isinstance(booster, xgb.Booster):
            raise TypeError(f"XGBoostCheckpoint.from_model needs an xgboost.Booster, not {type(booster).__name__}")
        with new_directory(path) as directory:
            booster.save_model(os.path.join(directory, cls.MODEL_FILENAME))
        return with_preprocessor(cls.from_directory(directory), preprocessor)

    def get_model(self) -> xgboost.Booster:
        """The model.

        Raises:
            CheckpointTypeError: there is none of XGBoost in this checkpoint.
        """
        xgb = import_library("xgboost")
        with self.as_directory() as directory:
            path = find_model(directory, (self.MODEL_FILENAME, "model.json", "model"), "an XGBoost model")
            booster = xgb.Booster()
            try:
                booster.load_model(_readable(path))
            except xgb.core.XGBoostError as error:
                raise CheckpointTypeError(
                    f"{os.path.basename(path)} of {self!r} is no model that XGBoost {xgb.__version__} reads: {_first_line(error)}"
                ) from error
        return booster


def _readable(path: str) -> str | bytearray:
    """What XGBoost can load: it takes the format from the ending of a path, and finds it out of bytes."""
    if path.endswith((".ubj", ".json")):
        return path
    with open(path, "rb") as file:
        return bytearray(file.read())


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
