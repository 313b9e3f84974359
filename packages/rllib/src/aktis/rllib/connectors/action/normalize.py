"""Actions from [-1, 1] to the bounds of the space."""

from __future__ import annotations

from typing import Any, ClassVar

from aktis.rllib.connectors.action._space import SpaceConnector
from aktis.rllib.connectors.registry import register_connector

__all__ = ["NormalizeActionsConnector"]


class NormalizeActionsConnector(SpaceConnector):
    """Unsquashes actions, as samplers do with ``normalize_actions``."""

    settings: ClassVar[dict[str, Any]] = {"normalize": True, "clip": False}


register_connector(NormalizeActionsConnector.__name__, NormalizeActionsConnector)
