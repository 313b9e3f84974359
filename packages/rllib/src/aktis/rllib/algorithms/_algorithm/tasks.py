"""Curricula: which task each environment has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["SetTask"]


class SetTask:
    """Sets the task of an environment, if it is another one than it has.

    Args:
        task_of: ``f(train_result, env, env_context)`` returns the task.
        result: The result of the iteration.
    """

    def __init__(self, task_of: Callable[[dict[str, Any], Any, Any], Any], result: dict[str, Any]) -> None:
        self.task_of = task_of
        self.result = result

    def __call__(self, env: Any, env_context: Any) -> Any:
        task = self.task_of(self.result, env, env_context)
        if not _equal(env.get_task(), task):
            env.set_task(task)
        return task


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays
        import numpy as np

        return bool(np.array_equal(one, other))
