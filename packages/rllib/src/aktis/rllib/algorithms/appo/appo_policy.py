"""The loss of APPO, after IMPACT (Luo et al. 2020, sections 3.1 and 3.2), over the tensors of either framework.

Three policies: mu sampled, pi_target stands still for some updates, pi_theta learns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.rllib.algorithms._target_network import TargetNetworkPolicy
from aktis.rllib.algorithms.impala.impala_policy import VTracePolicy
from aktis.rllib.algorithms.ppo.ppo_policy import clipped_surrogate, next_kl_coeff
from aktis.rllib.evaluation.postprocessing import Postprocessing
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["APPOPolicy"]

Tensor = Any

_LARGEST_RATIO = 2.0  # of mu to pi_target (IMPACT's rho, section 3.2)


class APPOPolicy(TargetNetworkPolicy, VTracePolicy):
    """To be mixed into the neural policy of a framework. ``target_model`` is pi_target."""

    add_scalar: Callable[..., None]
    set_scalar: Callable[[str, float], None]
    get_scalar: Callable[[str], float]

    def _add_scalars(self) -> None:
        super()._add_scalars()
        self.add_scalar("kl_coeff", self.config["kl_coeff"])

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """-(L_clip - c_kl KL - c_1 L_vf + c_2 entropy), with V-trace (or GAE) as the advantages."""
        ops, config = self.ops, self.config
        logits = self.evaluate(model, batch)
        dist = dist_class(logits, model)
        actions = batch[SampleBatch.ACTIONS]
        logp, values = dist.logp(actions), model.value_function()  # [R]
        if config.vtrace:
            target_logits = self.evaluate(self.target_model, batch)
            target = dist_class(ops.stop_gradient(target_logits), self.target_model)
            target_logp = target.logp(actions)
            returns, mask = self.vtrace(batch, target_logp, values)
            advantages, value_targets = returns.pg_advantages, returns.vs
            # pi_theta / pi_target, by way of mu, of which the first factor is bounded: min(mu / pi_target, rho) pi_theta / mu
            correction = ops.clip(ops.exp(batch[SampleBatch.ACTION_LOGP] - target_logp), 0.0, _LARGEST_RATIO)
            ratio = correction * ops.exp(logp - batch[SampleBatch.ACTION_LOGP])
        else:
            target, mask = dist_class(batch[SampleBatch.ACTION_DIST_INPUTS], model), self.row_mask(batch)
            advantages, value_targets = batch[Postprocessing.ADVANTAGES], batch[Postprocessing.VALUE_TARGETS]
            ratio = ops.exp(logp - batch[SampleBatch.ACTION_LOGP])
        mean = ops.mean if mask is None else self.mean_of(mask)

        policy_loss = -mean(clipped_surrogate(ops, ratio, advantages, config.clip_param))
        entropy = mean(dist.entropy())
        loss = policy_loss - self.scalars["entropy_coeff"] * entropy
        self._seen = {"policy_loss": policy_loss, "entropy": entropy}
        self._seen_values = None
        if config.use_critic:
            vf_loss = 0.5 * mean(ops.square(values - value_targets))
            loss = loss + config.vf_loss_coeff * vf_loss
            self._seen["vf_loss"] = vf_loss
            self._seen_values = (value_targets, values, mean)
        if config.use_kl_loss:
            kl = mean(target.kl(dist))
            loss = loss + self.scalars["kl_coeff"] * kl
            self._seen["kl"] = kl
        self._seen["total_loss"] = loss
        return loss

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        ops = self.ops
        stats = {name: ops.stop_gradient(x) for name, x in self._seen.items()}
        if self._seen_values is not None:
            targets, values, mean = self._seen_values
            stats["vf_explained_var"] = self.explained_variance(targets, ops.stop_gradient(values), mean)
        if self.config.use_kl_loss:
            stats["kl_coeff"] = self.scalars["kl_coeff"]
        return {**stats, "cur_lr": self.scalars["lr"], "entropy_coeff": self.scalars["entropy_coeff"]}

    def update_target(self, tau: float | None = None) -> None:
        """pi_target <- pi_theta, or a part of the way."""
        super().update_target(1.0 if tau is None else tau)

    def update_kl(self, sampled_kl: float) -> float:
        """Adapt the coefficient of the divergence; the new one is returned."""
        coeff = self.get_scalar("kl_coeff")
        if self.config["use_kl_loss"]:
            coeff = next_kl_coeff(coeff, sampled_kl, self.config["kl_target"])
            self.set_scalar("kl_coeff", coeff)
        return coeff
