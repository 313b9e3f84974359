"""Nothing is here: asking for a name says what to use instead of Horovod."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("HorovodTrainer", "HorovodConfig"):
        raise ImportError(
            f"{name} is not in aktis: Horovod has had no release since 2023. TorchTrainer (aktis.train.torch) and "
            "TensorflowTrainer (aktis.train.tensorflow) average gradients over the workers, too: take the calls of hvd out of "
            "the loop, and wrap the model with prepare_model"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
