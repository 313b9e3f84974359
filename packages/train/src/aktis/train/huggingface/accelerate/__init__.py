"""Training loops that use Hugging Face Accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.train.huggingface.accelerate.accelerate_trainer import AccelerateTrainer

__all__ = ["AccelerateTrainer"]


def __getattr__(name: str) -> Any:
    if name != "AccelerateTrainer":
        raise AttributeError(f"module 'aktis.train.huggingface.accelerate' has no attribute {name!r}")
    from aktis.train.huggingface.accelerate.accelerate_trainer import AccelerateTrainer

    return AccelerateTrainer


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
