"""What an environment shows while it is sampled (``config.environment(render_env=True)``)."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["Renderer"]

logger = logging.getLogger(__name__)


class Renderer:
    """Has environments show themselves after each step.

    Environments made with ``render_mode="human"`` have a window of their own. One that cannot show itself is told of
    once, and left alone.

    Args:
        envs: The environments.

    Attributes:
        frames: By index: the last picture, of environments that give pictures.
    """

    def __init__(self, envs: list[Any]) -> None:
        self._envs = envs
        self._blind: set[int] = set()
        self.frames: dict[int, Any] = {}

    def __call__(self, index: int) -> None:
        """The environment of this index has been stepped."""
        if index in self._blind:
            return
        try:
            frame = self._envs[index].render()
        except Exception as error:
            self._blind.add(index)
            logger.warning("sub-environment %d cannot be shown: %s: %s", index, type(error).__name__, error)
            return
        if frame is not None and not isinstance(frame, bool):
            self.frames[index] = frame
