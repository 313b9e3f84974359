"""Training loops that use Hugging Face Accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.huggingface.accelerate.accelerate_trainer import AccelerateTrainer

__all__ = ["AccelerateTrainer"]

__getattr__, __dir__ = lazy_names(__name__, {"AccelerateTrainer": ".accelerate_trainer"})
