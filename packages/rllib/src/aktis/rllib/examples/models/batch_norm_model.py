"""A network with batch normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._torch_structures import TorchBatchNormModel

_NAMES = {
    "TorchBatchNormModel": "aktis.rllib.examples.models._torch_structures",
}

__all__ = ["TorchBatchNormModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
