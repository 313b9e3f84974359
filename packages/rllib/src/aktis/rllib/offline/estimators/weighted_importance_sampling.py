"""Weighted importance sampling (Precup et al. 2000): weights of each time step have the mean 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.offline.estimators.off_policy_estimator import OffPolicyEstimator
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["WeightedImportanceSampling"]


class WeightedImportanceSampling(OffPolicyEstimator):
    """V = E[sum_t gamma^t (p_t / w_t) r_t], where p_t is the product of ratios up to t and w_t its mean over the episodes of
    the batch: with a bias that vanishes with more episodes, and much less variance.

    Args:
        policy: The policy that is judged.
        gamma: Discount of a step.
        epsilon_greedy: See ``OffPolicyEstimator``.
        count_ended: w_t is the mean over all episodes, where those that are over keep the weight of their last step. False, as in
            RLlib: over those that have a step t. Then it does not count how long episodes are, and where all rewards are the same
            (as in CartPole), all policies are equally good.
    """

    def __init__(self, policy: Any, gamma: float, epsilon_greedy: float = 0.0, count_ended: bool = False) -> None:
        super().__init__(policy, gamma, epsilon_greedy)
        self.count_ended = count_ended
        self._weights: dict[int, NDArray[Any]] = {}  # p_t of each episode, [T], by its identity
        self._means: NDArray[Any] | None = None  # w_t, of as many steps as the longest episode has

    def on_before_split_batch_by_episode(self, sample_batch: SampleBatch) -> SampleBatch:
        self._weights, self._means = {}, None
        return sample_batch

    def peek_on_single_episode(self, episode: SampleBatch) -> None:
        self._weights[id(episode)] = np.cumprod(self.ratios(episode))
        self._means = None

    def _mean_weights(self) -> NDArray[Any]:
        if self._means is None:
            longest = max(len(weights) for weights in self._weights.values())
            sums, counts = np.zeros(longest), np.zeros(longest)
            for weights in self._weights.values():
                steps = len(weights)
                sums[:steps] += weights
                counts[:steps] += 1
                if self.count_ended:
                    sums[steps:] += weights[-1]
                    counts[steps:] += 1
            self._means = np.maximum(sums / counts, 1e-12)
        return self._means

    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        if id(episode) not in self._weights:
            self.peek_on_single_episode(episode)
        rewards = np.asarray(episode["rewards"], np.float64)  # [T]
        discounts = self.discounts(len(rewards))
        weights = self._weights[id(episode)] / self._mean_weights()[: len(rewards)]
        return {
            "v_behavior": float(np.sum(discounts * rewards)),
            "v_target": float(np.sum(discounts * weights * rewards)),
        }

    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        rewards, ratios = np.asarray(batch["rewards"], np.float64), self.ratios(batch)  # [B]
        return {"v_behavior": rewards, "v_target": ratios / max(float(ratios.mean()), 1e-12) * rewards}
