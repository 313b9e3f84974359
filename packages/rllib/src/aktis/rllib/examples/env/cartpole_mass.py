"""CartPole of which the mass can be set: tasks for meta-learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

from aktis.rllib.env.apis.task_settable_env import TaskSettableEnv

__all__ = ["CartPoleMassEnv"]


class CartPoleMassEnv(CartPoleEnv, TaskSettableEnv):  # type: ignore[misc]
    """A task is ``(mass of the cart, mass of the pole)``."""

    def sample_tasks(self, n_tasks: int) -> list[Any]:
        """Between half and twice the usual masses."""
        low, high = np.array([0.5, 0.05]), np.array([2.0, 0.2])
        return list(np.random.default_rng().uniform(low, high, size=(n_tasks, 2)))

    def set_task(self, task: Any) -> None:
        """Take these masses."""
        self.masscart, self.masspole = float(task[0]), float(task[1])
        self.total_mass = self.masscart + self.masspole
        self.polemass_length = self.masspole * self.length

    def get_task(self) -> Any:
        """The masses of now."""
        return np.array([self.masscart, self.masspole])
