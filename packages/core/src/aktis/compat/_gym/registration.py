"""``gym.make`` and ``gym.register``, over Gymnasium's registry."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from aktis.compat._gym.core import AsOld, Env, as_new

__all__ = ["EnvRegistry", "EnvSpec", "load", "make", "register", "registry", "spec"]

_DROPPED = ("autoreset", "tags", "apply_api_compatibility", "new_step_api", "disable_env_checker")


def load(name: str) -> Any:
    """What ``"package.module:Name"`` means."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class _Maker:
    """An entry point that gives Gymnasium environments, whatever the user's one makes."""

    def __init__(self, entry_point: str | Callable[..., Any]) -> None:
        self.entry_point = entry_point

    def __call__(self, **kwargs: Any) -> Any:
        entry = load(self.entry_point) if isinstance(self.entry_point, str) else self.entry_point
        made = entry(**kwargs)
        if isinstance(made, Env) and isinstance(made, gymnasium.Env):  # a class of Gymnasium's, made old
            from aktis.compat._gym.core import AsNew

            return AsNew(made)
        return as_new(made)


def register(id: str, entry_point: Any = None, **kwargs: Any) -> None:
    """Give an environment a name, for ``gym.make`` and Gymnasium both."""
    given = {name: value for name, value in kwargs.items() if name not in _DROPPED}
    limit = given.pop("timestep_limit", None)  # its name before 0.9
    if limit is not None:
        given.setdefault("max_episode_steps", limit)
    gymnasium.register(id=id, entry_point=_Maker(entry_point), disable_env_checker=True, **given)


def make(id: Any, **kwargs: Any) -> Any:
    """The environment of that name, with the old interface."""
    given = {name: value for name, value in kwargs.items() if name not in _DROPPED}
    return AsOld(gymnasium.make(id, disable_env_checker=True, **given))


def spec(env_id: str) -> EnvSpec:
    """The description of a registered environment."""
    return gymnasium.spec(env_id)


class EnvRegistry(Mapping[str, EnvSpec]):
    """Gymnasium's registry under the names that it had in Gym."""

    @property
    def env_specs(self) -> Any:
        return gymnasium.registry

    def all(self) -> Any:
        """All descriptions."""
        return gymnasium.registry.values()

    def spec(self, path: str) -> EnvSpec:
        return spec(path)

    def make(self, path: str, **kwargs: Any) -> Any:
        return make(path, **kwargs)

    def register(self, id: str, **kwargs: Any) -> None:
        register(id, **kwargs)

    def __getitem__(self, name: str) -> EnvSpec:
        return gymnasium.registry[name]

    def __delitem__(self, name: str) -> None:
        del gymnasium.registry[name]

    def __iter__(self) -> Iterator[str]:
        return iter(gymnasium.registry)

    def __len__(self) -> int:
        return len(gymnasium.registry)


registry = EnvRegistry()
