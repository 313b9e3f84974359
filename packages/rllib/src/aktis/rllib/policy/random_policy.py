"""A policy that does anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree

from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement
from aktis.rllib.utils.exploration.random import sample_space


class RandomPolicy(Policy):
    """Every action is as likely as any other, and nothing is learned.

    Args:
        observation_space: What it observes.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
    """

    def __init__(self, observation_space: Any, action_space: Any, config: Any) -> None:
        super().__init__(observation_space, action_space, config)
        seed = self._option("seed")
        self.rng = np.random.default_rng(None if seed is None else [int(seed), self.worker_index])

    def init_view_requirements(self) -> None:
        """See Policy. Only what every trajectory has."""
        super().init_view_requirements()
        for key in ("new_obs", "infos", "prev_actions", "prev_rewards"):
            self.view_requirements.pop(key, None)
        self.view_requirements["obs"] = ViewRequirement(space=self.observation_space)

    def compute_actions(
        self,
        obs_batch: Any,
        state_batches: list[Any] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        info_batch: Any = None,
        episodes: list[Any] | None = None,
        explore: bool | None = None,
        timestep: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """See Policy."""
        rows = len(obs_batch) if isinstance(obs_batch, list) else len(tree.flatten(obs_batch)[0])
        return sample_space(self.action_space, rows, self.rng), [], {}

    def learn_on_batch(self, samples: SampleBatch) -> dict[str, Any]:
        """Nothing."""
        return {}

    def compute_log_likelihoods(
        self,
        actions: Any,
        obs_batch: Any,
        state_batches: list[Any] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        actions_normalized: bool = True,
    ) -> Any:
        """The logarithm of 1 / n in a Discrete space, of 1 / volume in a Box; otherwise a number as good as any, 0."""
        import gymnasium as gym

        rows = len(obs_batch) if isinstance(obs_batch, list) else len(tree.flatten(obs_batch)[0])
        space = self.action_space
        if isinstance(space, gym.spaces.Discrete):
            return np.full(rows, -np.log(space.n), np.float32)
        if isinstance(space, gym.spaces.MultiDiscrete):
            return np.full(rows, -np.log(space.nvec).sum(), np.float32)
        if isinstance(space, gym.spaces.Box) and space.is_bounded():
            return np.full(rows, -np.log(space.high - space.low).sum(), np.float32)
        return np.zeros(rows, np.float32)
