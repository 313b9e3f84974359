"""Importance sampling, step by step (Precup et al. 2000, "Eligibility traces for off-policy policy evaluation")."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.offline.estimators.off_policy_estimator import OffPolicyEstimator
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["ImportanceSampling"]


class ImportanceSampling(OffPolicyEstimator):
    """V = E[sum_t gamma^t (prod_{k <= t} pi(a_k|s_k) / mu(a_k|s_k)) r_t]: without bias, with the variance of products."""

    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        rewards = np.asarray(episode["rewards"], np.float64)  # [T]
        discounts = self.discounts(len(rewards))
        weights = np.cumprod(self.ratios(episode))
        return {
            "v_behavior": float(np.sum(discounts * rewards)),
            "v_target": float(np.sum(discounts * weights * rewards)),
        }

    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        rewards = np.asarray(batch["rewards"], np.float64)  # [B]
        return {"v_behavior": rewards, "v_target": self.ratios(batch) * rewards}
