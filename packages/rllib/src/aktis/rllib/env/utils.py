"""Environments made from what a user names: a registered name, a Gymnasium id, a class, or a module path."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aktis.rllib.env.env_context import EnvContext

logger = logging.getLogger(__name__)

__all__ = ["close_envs", "get_env_creator", "gym_env_creator"]


def get_env_creator(env_specifier: Any) -> Callable[[EnvContext], Any]:
    """What makes the environment that ``env_specifier`` means.

    Args:
        env_specifier: A name given to ``tune.register_env``, a Gymnasium id, a class or function that takes the ``EnvContext``, or
            ``"package.module.Class"``. None: no environment (its spaces come from the configuration).

    Raises:
        ValueError: the name means nothing.
    """
    if env_specifier is None:
        return lambda context: None
    if isinstance(env_specifier, str):
        return _creator_of_name(env_specifier)
    if callable(env_specifier):
        return _ClassCreator(env_specifier)
    raise ValueError(
        f"{env_specifier!r} ({type(env_specifier).__name__}) is no environment: give a class, a function of the env_config, a name "
        "of tune.register_env or a Gymnasium id such as 'CartPole-v1'"
    )


class _ClassCreator:
    """Calls the user's class, or function, with the context (an object, so that it can be pickled and read in a traceback)."""

    def __init__(self, cls: Callable[..., Any]) -> None:
        self.cls = cls

    def __call__(self, context: EnvContext) -> Any:
        return self.cls(context)

    def __repr__(self) -> str:
        return f"{getattr(self.cls, '__name__', self.cls)}(env_config)"


class _GymCreator:
    """Makes a Gymnasium environment of an id."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, context: EnvContext) -> Any:
        return gym_env_creator(context, self.name)

    def __repr__(self) -> str:
        return f"gymnasium.make({self.name!r})"


def _creator_of_name(name: str) -> Callable[[EnvContext], Any]:
    from aktis.tune import registry

    if registry.is_registered_env(name):
        return registry.get_env_creator(name)
    if "." in name and not _is_gym_id(name):
        module, _, attribute = name.rpartition(".")
        try:
            return _ClassCreator(getattr(importlib.import_module(module), attribute))
        except (ImportError, AttributeError):
            pass
    return _GymCreator(name)


def _is_gym_id(name: str) -> bool:
    import gymnasium

    return name in gymnasium.registry


def gym_env_creator(env_context: EnvContext, env_descriptor: str | type) -> Any:
    """``gymnasium.make(env_descriptor, **env_context)``, or the class called with the context.

    Raises:
        ValueError: no environment has that id; the message has names that are close.
    """
    import gymnasium

    if not isinstance(env_descriptor, str):
        return env_descriptor(env_context)
    try:
        return gymnasium.make(_bare_spec(env_descriptor), disable_env_checker=True, **env_context)
    except gymnasium.error.DependencyNotInstalled:
        raise
    except gymnasium.error.Error as error:
        raise ValueError(_unknown(env_descriptor, error)) from error


def _bare_spec(name: str) -> Any:
    """What to make of an id: without the wrappers that check its use, which cost time in every step; we check and use it right."""
    import gymnasium

    spec = gymnasium.registry.get(name)
    if spec is None:  # without its version, or with the name of a module: Gymnasium finds it
        return name
    bare = copy.copy(spec)
    bare.order_enforce = False
    return bare


def _unknown(name: str, error: Exception) -> str:
    import difflib

    import gymnasium

    if name.startswith("ALE/") and importlib.util.find_spec("ale_py") is None:
        return f'the environment {name!r} needs ale-py, which is not installed: pip install "aktis-rllib[atari]"'
    close = difflib.get_close_matches(name, list(gymnasium.registry), n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return (
        f"there is no environment {name!r} ({error}).{hint} Register your own with tune.register_env({name!r}, creator), or give "
        "its class as env="
    )


def close_envs(envs: Iterable[Any]) -> None:
    """Close each of these environments. One that raises is told of in the log: the others are closed, and results are not lost."""
    for env in envs:
        close = getattr(env, "close", None)
        if close is None:
            continue
        try:
            close()
        except Exception:
            logger.warning("close() of the environment %s raised:", env, exc_info=True)
