"""A corridor whose length is a task: for curricula."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.apis.task_settable_env import TaskSettableEnv


class CurriculumCapableEnv(TaskSettableEnv):
    """A corridor of `2 * task` steps; tasks are 1 (easy) to 10. Each step costs 0.1, the end brings the number of the task.

    Args:
        config: `start_level` (1).
    """

    MAX_TASK = 10

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.cur_level = int((config or {}).get("start_level", 1))
        self.position = 0
        self.switches = 0
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(0.0, 2.0 * self.MAX_TASK, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.position = max(0, self.position + (1 if action == 1 else -1))
        there = self.position >= 2 * self.cur_level
        return self._obs(), float(self.cur_level) if there else -0.1, there, False, {}

    def sample_tasks(self, n_tasks: int) -> list[int]:
        return [int(task) for task in self.np_random.integers(1, self.MAX_TASK + 1, n_tasks)]

    def get_task(self) -> int:
        return self.cur_level

    def set_task(self, task: int) -> None:
        if not 1 <= task <= self.MAX_TASK:
            raise ValueError(f"task {task!r}: tasks are 1 to {self.MAX_TASK}")
        self.cur_level = int(task)
        self.switches += 1

    def _obs(self) -> Any:
        return np.array([self.position, 2 * self.cur_level], np.float32)
