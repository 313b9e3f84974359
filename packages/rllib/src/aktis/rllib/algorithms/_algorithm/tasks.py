"""Curricula: which task each environment has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.rllib.env.apis.task_settable_env import set_task_if_different

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
        set_task_if_different(env, task)
        return task
