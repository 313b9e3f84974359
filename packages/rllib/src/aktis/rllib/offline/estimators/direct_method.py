"""The direct method (Dudik et al. 2011; Jiang & Li 2016): a model of values says how good the policy is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aktis.rllib.offline.estimators.off_policy_estimator import OffPolicyEstimator
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, convert_ma_batch_to_sample_batch

__all__ = ["DirectMethod"]


class DirectMethod(OffPolicyEstimator):
    """V = E[sum_a pi(a|s_0) Q(s_0, a)], with Q of fitted Q evaluation: call ``train`` with batches first.

    Args:
        policy: The policy that is judged; its actions are discrete.
        gamma: Discount of a step.
        epsilon_greedy: See ``OffPolicyEstimator``.
        q_model_config: ``type``: a class of models (``FQETorchModel``); and its arguments.
    """

    def __init__(
        self, policy: Any, gamma: float, epsilon_greedy: float = 0.0, q_model_config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(policy, gamma, epsilon_greedy)
        self.model = make_q_model(policy, gamma, epsilon_greedy, q_model_config)

    def check_action_prob_in_batch(self, batch: SampleBatch | MultiAgentBatch) -> None:
        """Nothing is needed: probabilities of the behaviour policy do not count here."""

    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        rewards = np.asarray(episode["rewards"], np.float64)
        return {
            "v_behavior": float(np.sum(self.discounts(len(rewards)) * rewards)),
            "v_target": float(self._values(episode.slice(0, 1))[0]),
        }

    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        return {"v_behavior": np.asarray(batch["rewards"], np.float64), "v_target": self._values(batch)}

    def _values(self, batch: SampleBatch) -> Any:
        return np.asarray(self.model.estimate_v(batch), np.float64)

    def train(self, batch: SampleBatch | MultiAgentBatch) -> dict[str, Any]:
        """Fit Q to a batch.

        Returns:
            ``loss``: the mean over the iterations.
        """
        losses = self.model.train(convert_ma_batch_to_sample_batch(batch))
        return {"loss": float(np.mean(losses))}


def make_q_model(policy: Any, gamma: float, epsilon_greedy: float, given: Mapping[str, Any] | None) -> Any:
    """The model that a configuration describes."""
    arguments = dict(given or {})
    kind = arguments.pop("type", None)
    if kind is None:
        from aktis.rllib.offline.estimators.fqe_torch_model import FQETorchModel

        kind = FQETorchModel
    elif isinstance(kind, str):
        from aktis.rllib.utils.from_config import class_of

        kind = class_of(kind, "aktis.rllib.offline.estimators")
    model = kind(policy=policy, gamma=gamma, **arguments)
    if epsilon_greedy and hasattr(model, "epsilon_greedy"):
        model.epsilon_greedy = epsilon_greedy
    return model
