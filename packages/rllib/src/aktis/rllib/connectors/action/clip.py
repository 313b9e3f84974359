"""Actions clipped to the bounds of the space."""

from __future__ import annotations

from typing import Any, ClassVar

from aktis.rllib.connectors.action._space import SpaceConnector
from aktis.rllib.connectors.registry import register_connector

__all__ = ["ClipActionsConnector"]


class ClipActionsConnector(SpaceConnector):
    """Clips actions, as samplers do with ``clip_actions``."""

    settings: ClassVar[dict[str, Any]] = {"normalize": False, "clip": True}


register_connector(ClipActionsConnector.__name__, ClipActionsConnector)
