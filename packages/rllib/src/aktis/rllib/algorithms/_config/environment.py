"""Section environment()."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    import gymnasium
    from typing_extensions import Self

__all__ = ["EnvironmentSection"]


class EnvironmentSection(ConfigBase):
    """Where the experience comes from."""

    def __init__(self) -> None:
        super().__init__()
        self.env: Any = None
        self.env_config: dict[str, Any] = {}
        self.observation_space: gymnasium.Space[Any] | None = None
        self.action_space: gymnasium.Space[Any] | None = None
        self.env_task_fn: Callable[..., Any] | None = None
        self.render_env: bool = False
        self.clip_rewards: bool | float | None = None
        self.normalize_actions: bool = True
        self.clip_actions: bool = False
        self.disable_env_checking: bool = False
        self.is_atari: bool | None = None
        self.auto_wrap_old_gym_envs: bool = True

    @section
    def environment(
        self,
        env: Any = NotProvided,
        *,
        env_config: Mapping[str, Any] = NotProvided,
        observation_space: gymnasium.Space[Any] | None = NotProvided,
        action_space: gymnasium.Space[Any] | None = NotProvided,
        env_task_fn: Callable[..., Any] | None = NotProvided,
        render_env: bool = NotProvided,
        clip_rewards: bool | float | None = NotProvided,
        normalize_actions: bool = NotProvided,
        clip_actions: bool = NotProvided,
        disable_env_checking: bool = NotProvided,
        is_atari: bool | None = NotProvided,
        auto_wrap_old_gym_envs: bool = NotProvided,
    ) -> Self:
        """The environment, and what is done with its rewards and actions.

        Args:
            env: A name (``"CartPole-v1"``, or one of ``tune.register_env``), a class that takes one argument
                (``env_config``), or the dotted path of one.
            env_config: Given to the environment as an ``EnvContext``, which also says the number of its worker.
            observation_space: Of one agent; where it is not asked of the environment.
            action_space: The same.
            env_task_fn: ``f(train_result, env, env_context)`` returns the task of each environment after an iteration
                (a curriculum); the environment is a ``TaskSettableEnv``.
            render_env: Show the environment while it is sampled.
            clip_rewards: For learning: True takes the sign, a number clips to minus and plus that; None: only Atari
                games get their sign.
            normalize_actions: The policy acts in [-1, 1], and its actions are scaled to the bounds of the space.
            clip_actions: Actions beyond the bounds of the space are clipped.
            disable_env_checking: Do not check the environment before the first step.
            is_atari: Whether it is an Atari game, which gets the usual wrappers; None: by its name and class.
            auto_wrap_old_gym_envs: Environments of the old Gym interface (``step`` returns four values) are wrapped.
        """
        return self._update(
            env=env,
            env_config=env_config,
            observation_space=observation_space,
            action_space=action_space,
            env_task_fn=env_task_fn,
            render_env=render_env,
            clip_rewards=clip_rewards,
            normalize_actions=normalize_actions,
            clip_actions=clip_actions,
            disable_env_checking=disable_env_checking,
            is_atari=is_atari,
            auto_wrap_old_gym_envs=auto_wrap_old_gym_envs,
        )

    def _validate_environment(self) -> None:
        if not isinstance(self.env_config, Mapping):
            raise ValueError(f"env_config must be a dict, not {self.env_config!r}")
        for name in ("env_task_fn",):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise ValueError(f"{name} must be a function, not {value!r}")
        if not isinstance(self.clip_rewards, (bool, int, float, type(None))):
            raise ValueError(f"clip_rewards must be True, False, a number or None, not {self.clip_rewards!r}")
