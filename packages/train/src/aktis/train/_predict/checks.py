"""Whether a predictor and a checkpoint can work together, found out before anything runs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from aktis.air.predictor import Predictor
from aktis.train.error import CheckpointTypeError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

_FRAMEWORKS = ("torch", "tensorflow", "keras", "xgboost", "lightgbm", "sklearn", "huggingface", "lightning", "rl")


def check_predictor(checkpoint: Checkpoint, predictor_cls: Any) -> None:
    """Raises TypeError or NotImplementedError for what is no usable class of predictors, CheckpointTypeError for a pair that does
    not fit."""
    if not isinstance(predictor_cls, type) or not issubclass(predictor_cls, Predictor):
        shown = predictor_cls.__name__ if isinstance(predictor_cls, type) else repr(predictor_cls)
        raise TypeError(f"predictor_cls must be a class derived from aktis.train.predictor.Predictor, got {shown}")
    if inspect.isabstract(predictor_cls):
        missing = ", ".join(sorted(predictor_cls.__abstractmethods__))
        raise TypeError(f"{predictor_cls.__name__} must define {missing}, of which Predictor has none")
    predictor_cls._batch_format_to_use()
    _check_framework(checkpoint, predictor_cls)


def _check_framework(checkpoint: Checkpoint, predictor_cls: type[Predictor]) -> None:
    has, wants = _frameworks(type(checkpoint)), _frameworks(predictor_cls)
    own = _framework(inspect.unwrap(predictor_cls.from_checkpoint.__func__).__module__)  # type: ignore[attr-defined]
    if has and own is not None and not has & wants:
        raise CheckpointTypeError(
            f"{predictor_cls.__name__} needs a checkpoint of {own}, but {type(checkpoint).__name__} has a model of"
            f" {', '.join(sorted(has))}: use the predictor of aktis.train.{min(has)}"
        )


def _frameworks(cls: type) -> set[str]:
    return {found for base in cls.__mro__ if (found := _framework(base.__module__)) is not None}


def _framework(module: str) -> str | None:
    """Of ours: ``"torch"`` for what is in ``aktis.train.torch`` (or in ``aktis.train._torch...``)."""
    parts = module.split(".")
    name = parts[2].lstrip("_") if parts[:2] == ["aktis", "train"] and len(parts) > 2 else ""
    return name if name in _FRAMEWORKS else None
