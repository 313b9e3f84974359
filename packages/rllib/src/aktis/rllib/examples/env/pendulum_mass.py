"""Pendulum of which the mass can be set: tasks for meta-learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv

from aktis.rllib.env.apis.task_settable_env import TaskSettableEnv

__all__ = ["PendulumMassEnv"]


class PendulumMassEnv(PendulumEnv, TaskSettableEnv):  # type: ignore[misc]
    """A task is the mass of the pendulum."""

    def sample_tasks(self, n_tasks: int) -> list[Any]:
        """Between half and twice the usual mass."""
        return list(np.random.default_rng().uniform(0.5, 2.0, size=n_tasks))

    def set_task(self, task: Any) -> None:
        """Take this mass."""
        self.m = float(task)

    def get_task(self) -> Any:
        """The mass of now."""
        return self.m
