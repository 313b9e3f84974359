"""The environment of a worker, from its creator to what steps: wrapped, checked, in as many copies as asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aktis.rllib.env.env_context import EnvContext
from aktis.rllib.env.wrappers.old_gym import OldGymEnv, is_old_gym_env

__all__ = ["EnvMaker", "creator_of", "is_simple_env", "whole_config"]


class EnvMaker:
    """Makes the environments of one worker.

    Args:
        creator: The user's.
        config: The algorithm's configuration.
        context: Of the worker.
        validate: Called with the first environment and its context; may refuse it by raising.
        created: Called with every environment and its context (``on_sub_environment_created``).
    """

    def __init__(
        self,
        creator: Callable[[EnvContext], Any],
        config: Any,
        context: EnvContext,
        *,
        validate: Callable[[Any, EnvContext], None] | None = None,
        created: Callable[[Any, EnvContext, int], None] | None = None,
    ) -> None:
        self._creator = creator
        self._config = config
        self.context = context
        self._validate = validate
        self._created = created

    def for_other_process(self, *, remote: bool = False) -> EnvMaker:
        """One that can be sent to another process: nobody there hears of environments. ``remote``: each will be an actor."""
        return EnvMaker(self._creator, self._config, self.context.copy_with_overrides(remote=remote))

    def first(self) -> Any:
        """The environment of index 0, checked. None where the creator makes none."""
        return self._make(0, checked=True)

    def make(self, index: int) -> Any:
        """The environment of an index."""
        return self._make(index, checked=False)

    def _make(self, index: int, *, checked: bool) -> Any:
        context = self.context.copy_with_overrides(vector_index=index)
        env = self._creator(context)
        if env is None:
            return None
        env = self._wrapped(env, context)
        if checked:
            self._check(env, context)
        if self._created is not None:
            self._created(env, context, index)
        return env

    def _wrapped(self, env: Any, context: EnvContext) -> Any:
        if is_other_kind(env):
            return env
        config = self._config
        if config.auto_wrap_old_gym_envs and is_old_gym_env(env):
            env = OldGymEnv(env)
        if self._is_atari(env):
            from aktis.rllib.env.wrappers.atari_wrappers import wrap_deepmind

            model = config.model
            env = wrap_deepmind(env, dim=model.get("dim", 84), framestack=bool(model.get("framestack", True)))
        return env

    def _is_atari(self, env: Any) -> bool:
        config = self._config
        if config.preprocessor_pref != "deepmind" or (config.model or {}).get("custom_preprocessor"):
            return False
        if config.is_atari is not None:
            return bool(config.is_atari)
        from aktis.rllib.env.wrappers.atari_wrappers import is_atari

        return is_atari(env)

    def _check(self, env: Any, context: EnvContext) -> None:
        if not self._config.disable_env_checking:
            from aktis.rllib.utils.pre_checks.env import check_env

            check_env(env)
        if self._validate is not None:
            self._validate(env, context)


def is_other_kind(env: Any) -> bool:
    """Whether an environment is none with one agent and one episode at a time: multi-agent, vector, external, base."""
    return any(
        cls.__name__ in _OTHER_KINDS and cls.__module__.startswith("aktis.rllib.env") for cls in type(env).__mro__
    ) or _is_actor(env)


_OTHER_KINDS = frozenset({"MultiAgentEnv", "VectorEnv", "ExternalEnv", "BaseEnv"})


def _is_actor(env: Any) -> bool:
    from aktis.actor import ActorHandle

    return isinstance(env, ActorHandle)


def is_simple_env(env: Any) -> bool:
    """Whether an environment can be sampled by the vectorised loop: a Gymnasium environment, or one that is like it."""
    return not is_other_kind(env) and hasattr(env, "step") and hasattr(env, "reset")


def whole_config(config: Any) -> Any:
    """The configuration of a worker as an AlgorithmConfig: what a dict does not say (or None) is as by default."""
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    if config is None:
        return AlgorithmConfig()
    if isinstance(config, Mapping):
        return AlgorithmConfig().update_from_dict(config)
    return config


def creator_of(config: Any) -> Callable[[EnvContext], Any]:
    """What makes the environments that a configuration names."""
    from aktis.rllib.env.utils import get_env_creator

    return get_env_creator(config.env)
