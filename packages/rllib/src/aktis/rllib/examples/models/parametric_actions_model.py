"""Actions that are described by vectors, some of which are available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.examples.models._torch_structures import TorchParametricActionsModel

_NAMES = {
    "TorchParametricActionsModel": "aktis.rllib.examples.models._torch_structures",
}

__all__ = ["TorchParametricActionsModel"]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
