"""Environments of the old Gym API (four values from ``step``, one from ``reset``, ``seed()``) as Gymnasium environments."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np

__all__ = ["OldGymEnv", "as_gymnasium_space", "is_old_gym_env"]


def is_old_gym_env(env: Any) -> bool:
    """Whether an environment must be wrapped: no Gymnasium environment, or one whose ``reset`` takes no seed."""
    if not (hasattr(env, "step") and hasattr(env, "reset")):
        return False
    if not isinstance(env, gymnasium.Env):
        return True
    if isinstance(env, gymnasium.Wrapper):
        return False
    try:
        parameters = inspect.signature(env.reset).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is parameter.VAR_KEYWORD or parameter.name == "seed" for parameter in parameters):
        return False
    return hasattr(type(env), "seed") or not parameters


class OldGymEnv(gymnasium.Env):  # type: ignore[misc]
    """Speaks the old API inwards and the new one outwards.

    What such environments call ``done`` is ``terminated``, unless ``info["TimeLimit.truncated"]`` says that time was
    up. Environments of
    the ``gym`` package that speak the new API already are only given spaces of Gymnasium.

    Args:
        env: The environment: of the ``gym`` package, or a class that is like one.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.observation_space = as_gymnasium_space(env.observation_space)
        self.action_space = as_gymnasium_space(env.action_space)
        self.metadata = getattr(env, "metadata", None) or {}
        self.render_mode = getattr(env, "render_mode", None)
        self.spec = None
        try:
            parameters = inspect.signature(env.reset).parameters
            self._reset_takes = {
                name
                for name in ("seed", "options")
                if name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            }
        except (TypeError, ValueError):
            self._reset_takes = set()
        if hasattr(env, "seed") and "seed" in self._reset_takes and not _takes_by_name(env.reset, "seed"):
            self._reset_takes = set()  # a wrapper's **kwargs: what is inside takes no seed

    @property
    def unwrapped(self) -> Any:
        """The innermost environment."""
        return getattr(self.env, "unwrapped", self.env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; ``seed`` is handed to ``env.seed()`` where ``reset`` does not take it."""
        given: dict[str, Any] = {}
        if seed is not None:
            if "seed" in self._reset_takes:
                given["seed"] = seed
            elif hasattr(self.env, "seed"):
                self.env.seed(seed)
        if options is not None and "options" in self._reset_takes:
            given["options"] = options
        result = self.env.reset(**given)
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            return result
        return result, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, in five values."""
        result = self.env.step(action)
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
            return observation, reward, bool(terminated), bool(truncated), info
        obs, reward, done, info = result
        truncated = bool(info.get("TimeLimit.truncated", False)) and bool(done)
        return obs, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        """What the environment shows."""
        if self.render_mode is None and _takes_by_name(self.env.render, "mode"):
            return self.env.render(mode="rgb_array")
        return self.env.render()

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self.env, "close"):
            self.env.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "env":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.env, name)

    def __str__(self) -> str:
        return f"<OldGymEnv{self.env}>"


def _takes_by_name(method: Any, name: str) -> bool:
    try:
        return name in inspect.signature(method).parameters
    except (TypeError, ValueError):
        return False


def as_gymnasium_space(space: Any) -> gymnasium.Space[Any]:
    """A space of the ``gym`` package as one of Gymnasium; one of Gymnasium as it is.

    Raises:
        ValueError: a kind of space that Gymnasium does not have.
    """
    spaces = gymnasium.spaces
    if isinstance(space, gymnasium.Space):
        return space
    kind = type(space).__name__
    if kind == "Box":
        return spaces.Box(np.asarray(space.low), np.asarray(space.high), space.shape, space.dtype)
    if kind == "Discrete":
        return spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.asarray(space.nvec))
    if kind == "MultiBinary":
        return spaces.MultiBinary(space.n)
    if kind == "Tuple":
        return spaces.Tuple([as_gymnasium_space(sub) for sub in space.spaces])
    if kind == "Dict":
        return spaces.Dict({key: as_gymnasium_space(sub) for key, sub in space.spaces.items()})
    raise ValueError(
        f"{space!r} ({type(space).__module__}.{kind}) cannot be made a space of Gymnasium: use gymnasium.spaces"
    )
