"""Weighted importance sampling (Precup et al. 2000): weights of each time step have the mean 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.offline.estimators.off_policy_estimator import OffPolicyEstimator
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["WeightedImportanceSampling"]


class WeightedImportanceSampling(OffPolicyEstimator):
    """V = E[sum_t gamma^t (p_t / w_t) r_t], where p_t is the product of ratios up to t and w_t its mean over the episodes of
    the batch that have a step t: with a bias that vanishes with more episodes, and much less variance."""

    def __init__(self, policy: Any, gamma: float, epsilon_greedy: float = 0.0) -> None:
        super().__init__(policy, gamma, epsilon_greedy)
        self._sums: list[float] = []  # by time step
        self._counts: list[int] = []
        self._weights: dict[int, Any] = {}  # by the episode's identity, so that they are computed once

    def on_before_split_batch_by_episode(self, sample_batch: SampleBatch) -> SampleBatch:
        self._sums, self._counts, self._weights = [], [], {}
        return sample_batch

    def peek_on_single_episode(self, episode: SampleBatch) -> None:
        weights = np.cumprod(self.ratios(episode))
        self._weights[id(episode)] = weights
        for t, weight in enumerate(weights.tolist()):
            if t == len(self._sums):
                self._sums.append(0.0)
                self._counts.append(0)
            self._sums[t] += weight
            self._counts[t] += 1

    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        if id(episode) not in self._weights:
            self.peek_on_single_episode(episode)
        rewards = np.asarray(episode["rewards"], np.float64)  # [T]
        steps = len(rewards)
        discounts = self.discounts(steps)
        means = np.array(self._sums[:steps]) / np.array(self._counts[:steps])
        weights = self._weights.pop(id(episode)) / np.maximum(means, 1e-12)
        return {
            "v_behavior": float(np.sum(discounts * rewards)),
            "v_target": float(np.sum(discounts * weights * rewards)),
        }

    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        rewards, ratios = np.asarray(batch["rewards"], np.float64), self.ratios(batch)  # [B]
        return {"v_behavior": rewards, "v_target": ratios / max(float(ratios.mean()), 1e-12) * rewards}
