"""Environments with tasks of different difficulty: curricula and meta-learning."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

TaskType = Any

__all__ = ["TaskSettableEnv", "TaskType", "set_task_if_different"]


class TaskSettableEnv(gym.Env):  # type: ignore[misc]
    """An environment whose task can be changed between episodes.

    With `config.environment(env_task_fn=f)`, `f(train_result, env, env_ctx)` is called after each iteration for each
    environment and returns its task.
    """

    def sample_tasks(self, n_tasks: int) -> list[TaskType]:
        """`n_tasks` random tasks."""
        raise NotImplementedError(f"{type(self).__name__} does not define sample_tasks()")

    def set_task(self, task: TaskType) -> None:
        """Switch to a task; it is in force from the next reset on."""
        raise NotImplementedError(f"{type(self).__name__} does not define set_task()")

    def get_task(self) -> TaskType:
        """The task that is set."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_task()")


def set_task_if_different(env: Any, task: TaskType) -> bool:
    """Set an environment's task unless it has it already.

    Args:
        env: A TaskSettableEnv, or a wrapper of one.
        task: The task (anything that can be compared, arrays too).

    Returns:
        Whether it was set.

    Raises:
        ValueError: The environment has no tasks.
    """
    import numpy as np

    inner = task_settable(env)
    if inner is None:
        raise ValueError(
            f"env_task_fn is set, but {env!r} is no TaskSettableEnv: it needs get_task() and set_task(task)"
        )
    current = inner.get_task()
    if current is task:
        return False
    try:
        same = bool(np.all(current == task)) and np.shape(current) == np.shape(task)
    except (TypeError, ValueError):
        same = False
    if not same:
        inner.set_task(task)
    return not same


def task_settable(env: Any) -> Any | None:
    """The environment behind wrappers that has tasks; None if none has."""
    while env is not None:
        if callable(getattr(type(env), "set_task", None)) and callable(getattr(type(env), "get_task", None)):
            return env
        env = getattr(env, "env", None)
    return None
