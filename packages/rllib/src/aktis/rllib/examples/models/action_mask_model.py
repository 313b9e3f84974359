"""Models that never choose an action that the observation forbids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._tf_models import ActionMaskModel
    from aktis.rllib.examples.models._torch_models import TorchActionMaskModel

_NAMES = {
    "ActionMaskModel": "aktis.rllib.examples.models._tf_models",
    "TorchActionMaskModel": "aktis.rllib.examples.models._torch_models",
}

__all__ = ["ActionMaskModel", "TorchActionMaskModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
