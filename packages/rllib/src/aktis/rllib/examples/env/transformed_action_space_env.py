"""Environments whose actions have other bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["ActionTransform", "TransformedActionPendulum", "transform_action_space"]


class ActionTransform(gym.ActionWrapper):  # type: ignore[misc]
    """Takes actions between `low` and `high`, and stretches them to the bounds of the environment.

    Args:
        env: The environment: its actions are a Box.
        low: Lowest action.
        high: Highest action.
    """

    def __init__(self, env: gym.Env[Any, Any], low: float, high: float) -> None:
        super().__init__(env)
        self._low, self._high = low, high
        self.action_space = gym.spaces.Box(low, high, env.action_space.shape, env.action_space.dtype.type)

    def action(self, action: Any) -> Any:
        """The action that the environment gets."""
        inner = self.env.action_space
        share = (np.asarray(action) - self._low) / (self._high - self._low)
        return (inner.low + share * (inner.high - inner.low)).astype(inner.dtype)


def transform_action_space(env_name_or_creator: str | Callable[..., Any]) -> Callable[[Any], ActionTransform]:
    """What makes an environment with actions between ``config["low"]`` and ``config["high"]`` (-1 and 1 by default).

    Args:
        env_name_or_creator: Name of the environment, or what makes it.
    """

    def create(config: Any) -> ActionTransform:
        named = isinstance(env_name_or_creator, str)
        env = gym.make(env_name_or_creator) if named else env_name_or_creator(config)  # type: ignore[operator]
        return ActionTransform(env, config.get("low", -1.0), config.get("high", 1.0))

    return create


TransformedActionPendulum = transform_action_space("Pendulum-v1")
