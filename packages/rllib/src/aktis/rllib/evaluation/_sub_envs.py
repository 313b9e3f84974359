"""The environments of the vectorised loop, as callbacks and ``foreach_env`` see them."""

from __future__ import annotations

from typing import Any

__all__ = ["SubEnvs"]


class SubEnvs:
    """What callbacks get as ``base_env``: the sub-environments, and their spaces.

    Args:
        stepper: Steps them.
        observation_space: Of one of them.
        action_space: Of one of them.
    """

    def __init__(self, stepper: Any, observation_space: Any, action_space: Any) -> None:
        self._stepper = stepper
        self.observation_space = observation_space
        self.action_space = action_space

    @property
    def num_envs(self) -> int:
        """How many there are."""
        return int(self._stepper.num_envs)

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        """They themselves, in order (or by number)."""
        envs = list(self._stepper.envs)
        return dict(enumerate(envs)) if as_dict else envs

    def get_unwrapped(self) -> list[Any]:
        """The innermost environments."""
        return [getattr(env, "unwrapped", env) for env in self._stepper.envs]

    def try_render(self, env_id: int | None = None) -> Any:
        """What one of them shows."""
        return self._stepper.envs[env_id or 0].render()

    def stop(self) -> None:
        """Close them."""
        self._stepper.close()
