"""Environments and spaces of the old gym package."""

from __future__ import annotations

from typing import Any

from aktis.rllib.env.wrappers.old_gym import as_gymnasium_space, is_old_gym_env

__all__ = ["check_old_gym_env", "convert_old_gym_space_to_gymnasium_space", "try_import_gymnasium_and_gym"]


def check_old_gym_env(env: Any = None, *, step_results: Any = None, reset_results: Any = None) -> bool:
    """Whether an environment, or what its step() or reset() returned, is as before Gymnasium.

    Raises:
        ValueError: step() returned neither four nor five values.
    """
    if step_results is not None:
        if len(step_results) not in (4, 5):
            raise ValueError(f"step() returns five values (or four, in the old way), not {len(step_results)}")
        return len(step_results) == 4
    if reset_results is not None:
        pair = isinstance(reset_results, tuple) and len(reset_results) == 2
        return not (pair and isinstance(reset_results[1], dict))
    return env is not None and bool(is_old_gym_env(env))


def convert_old_gym_space_to_gymnasium_space(space: Any) -> Any:
    """A space of the gym package as one of Gymnasium; one of Gymnasium as it is."""
    return as_gymnasium_space(space)


def try_import_gymnasium_and_gym() -> tuple[Any, Any]:
    """`(gymnasium, gym)`; the second is None where it is not installed."""
    import gymnasium

    try:
        import gym
    except ImportError:
        return gymnasium, None
    return gymnasium, gym
