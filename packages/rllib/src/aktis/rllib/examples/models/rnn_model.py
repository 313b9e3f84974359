"""Models with a memory of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import RNNModel
    from aktis.rllib.examples.models._torch_models import TorchRNNModel

_NAMES = {
    "RNNModel": "aktis.rllib.examples.models._tf_models",
    "TorchRNNModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["RNNModel", "TorchRNNModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
