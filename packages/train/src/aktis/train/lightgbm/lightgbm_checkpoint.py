"""Checkpoints of LightGBM models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.model_files import find_model, new_directory, with_preprocessor
from aktis.train.error import CheckpointTypeError

if TYPE_CHECKING:
    import lightgbm

__all__ = ["LightGBMCheckpoint"]


class LightGBMCheckpoint(Checkpoint):
    """A directory with a LightGBM model in the library's own text format: nothing in it is pickled but a preprocessor."""

    MODEL_FILENAME = "model.txt"

    @classmethod
    def from_model(
        cls, booster: lightgbm.Booster, *, preprocessor: Any = None, path: str | os.PathLike[str] | None = None
    ) -> LightGBMCheckpoint:
        """A checkpoint of a model; up to its best iteration, as LightGBM saves it, if early stopping found one.

        Args:
            booster: The model; of an ``LGBMModel``, its booster is taken.
            preprocessor: What is to be applied to batches before the model.
            path: The directory to write to. None: a temporary one, which is yours to remove.

        Raises:
            TypeError: ``booster`` is no model of LightGBM.
        """
        lgb = import_library("lightgbm")
        booster = getattr(booster, "booster_", booster)
        if not isinstance(booster, lgb.Booster):
            raise TypeError(f"LightGBMCheckpoint.from_model needs a lightgbm.Booster, not {type(booster).__name__}")
        with new_directory(path) as directory:
            booster.save_model(os.path.join(directory, cls.MODEL_FILENAME))
        return with_preprocessor(cls.from_directory(directory), preprocessor)

    def get_model(self) -> lightgbm.Booster:
        """The model.

        Raises:
            CheckpointTypeError: there is none of LightGBM in this checkpoint.
        """
        lgb = import_library("lightgbm")
        with self.as_directory() as directory:
            path = find_model(directory, (self.MODEL_FILENAME, "model"), "a LightGBM model")
            with open(path, "rb") as file:
                start = file.read(4)
            if start != b"tree":  # LightGBM itself would print, or worse
                raise CheckpointTypeError(
                    f"{os.path.basename(path)} of {self!r} is no model of LightGBM, which would begin with 'tree'"
                )
            return lgb.Booster(model_file=path)
