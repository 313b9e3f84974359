"""A second action that depends on the first one: the distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._torch_structures import TorchBinaryAutoregressiveDistribution

_NAMES = {
    "TorchBinaryAutoregressiveDistribution": "aktis.rllib.examples.models._torch_structures",
}

__all__ = ["TorchBinaryAutoregressiveDistribution"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
