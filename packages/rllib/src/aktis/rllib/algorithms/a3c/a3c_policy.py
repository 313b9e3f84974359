"""The loss of A3C (Mnih et al. 2016, section 4 and algorithm S3), over the tensors of either framework; A2C has the same."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms._actor_critic import ActorCriticPolicy
from aktis.rllib.evaluation.postprocessing import Postprocessing
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["A3CPolicy"]

Tensor = Any


class A3CPolicy(ActorCriticPolicy):
    """To be mixed into the neural policy of a framework."""

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """-log pi(a|s) A + c_1 (V - R)^2 / 2 - c_2 H(pi), the mean over steps."""
        ops, config, mean = self.ops, self.config, self.masked_mean(batch)
        logits = self.evaluate(model, batch)
        dist = dist_class(logits, model)
        logp = dist.logp(batch[SampleBatch.ACTIONS])  # [B]
        policy_loss = -mean(logp * batch[Postprocessing.ADVANTAGES])
        entropy = mean(dist.entropy())
        total = policy_loss - self.scalars["entropy_coeff"] * entropy
        self._seen = {"policy_loss": policy_loss, "policy_entropy": entropy}
        if config.get("use_critic", True):
            values, targets = model.value_function(), batch[Postprocessing.VALUE_TARGETS]
            vf_loss = 0.5 * mean(ops.square(values - targets))
            total = total + config.vf_loss_coeff * vf_loss
            self._seen["vf_loss"] = vf_loss
            self._seen_values = (targets, values)
        self._seen["total_loss"] = total
        return total

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        ops = self.ops
        stats = {name: ops.stop_gradient(x) for name, x in self._seen.items()}
        if self.config.get("use_critic", True):
            targets, values = (ops.stop_gradient(x) for x in self._seen_values)
            stats["vf_explained_var"] = self.explained_variance(targets, values, self.masked_mean(batch))
        return {**stats, "cur_lr": self.scalars["lr"], "entropy_coeff": self.scalars["entropy_coeff"]}
