"""The doubly robust estimator (Jiang & Li 2016, https://arxiv.org/abs/1511.03722)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aktis.rllib.offline.estimators.direct_method import make_q_model
from aktis.rllib.offline.estimators.off_policy_estimator import OffPolicyEstimator
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, convert_ma_batch_to_sample_batch

__all__ = ["DoublyRobust"]


class DoublyRobust(OffPolicyEstimator):
    """Importance sampling of what a model of values leaves unexplained: right on average if the model is right, or the
    probabilities are.

    Args:
        policy: The policy that is judged; its actions are discrete.
        gamma: Discount of a step.
        epsilon_greedy: See ``OffPolicyEstimator``.
        normalize_weights: In ``estimate_on_dataset`` with steps that are each an episode of their own (bandits): weights have
            the mean 1.
        q_model_config: ``type``: a class of models (``FQETorchModel``); and its arguments.
    """

    def __init__(
        self,
        policy: Any,
        gamma: float,
        epsilon_greedy: float = 0.0,
        normalize_weights: bool = True,
        q_model_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(policy, gamma, epsilon_greedy)
        self.normalize_weights = normalize_weights
        self.model = make_q_model(policy, gamma, epsilon_greedy, q_model_config)
        self._normalizes_now = False

    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        rewards = np.asarray(episode["rewards"], np.float64)  # [T]
        q = np.asarray(self.model.estimate_q(episode), np.float64)
        v = np.asarray(self.model.estimate_v(episode), np.float64)
        value = 0.0
        # Equation 10, from the last step on: V_DR(t) = V(s_t) + rho_t (r_t + gamma V_DR(t+1) - Q(s_t, a_t))
        for ratio, reward, q_t, v_t in zip(self.ratios(episode)[::-1], rewards[::-1], q[::-1], v[::-1], strict=True):
            value = v_t + ratio * (reward + self.gamma * value - q_t)
        return {"v_behavior": float(np.sum(self.discounts(len(rewards)) * rewards)), "v_target": float(value)}

    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        rewards, ratios = np.asarray(batch["rewards"], np.float64), self.ratios(batch)  # [B]
        if self._normalizes_now:
            ratios = ratios / max(float(ratios.mean()), 1e-12)
        q = np.asarray(self.model.estimate_q(batch), np.float64)
        v = np.asarray(self.model.estimate_v(batch), np.float64)
        return {"v_behavior": rewards, "v_target": v + ratios * (rewards - q)}

    def estimate_on_dataset(self, dataset: Any, *, n_parallelism: int = 1) -> dict[str, Any]:
        """See ``OfflineEvaluator``."""
        self._normalizes_now = self.normalize_weights
        try:
            return super().estimate_on_dataset(dataset, n_parallelism=n_parallelism)
        finally:
            self._normalizes_now = False

    def train(self, batch: SampleBatch | MultiAgentBatch) -> dict[str, Any]:
        """Fit Q to a batch.

        Returns:
            ``loss``: the mean over the iterations.
        """
        losses = self.model.train(convert_ma_batch_to_sample_batch(batch))
        return {"loss": float(np.mean(losses))}
