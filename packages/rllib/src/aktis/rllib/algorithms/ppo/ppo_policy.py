"""PPO's mathematics (Schulman et al. 2017), over the tensors of either framework.

Numbers in brackets are those of "The 37 implementation details of PPO" (Huang et al. 2022): core details 1 to 13,
continuous ones c1 to c9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.algorithms._actor_critic import ActorCriticPolicy
from aktis.rllib.algorithms.ppo._reward_scale import RewardScale
from aktis.rllib.algorithms.ppo.ppo_gradients import output_gradients
from aktis.rllib.evaluation.postprocessing import Postprocessing
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

__all__ = ["PPOPolicy", "clipped_surrogate", "next_kl_coeff", "value_loss"]

Tensor = Any


def clipped_surrogate(ops: Any, ratio: Tensor, advantages: Tensor, clip_param: float) -> Tensor:
    """Equation 7: min(r A, clip(r, 1 - eps, 1 + eps) A), to be maximised. All [B]. (8)"""
    return ops.minimum(ratio * advantages, ops.clip(ratio, 1.0 - clip_param, 1.0 + clip_param) * advantages)


def value_loss(
    ops: Any, kind: str, values: Tensor, targets: Tensor, old_values: Tensor, vf_clip_param: float | None
) -> Tensor:
    """The squared error of the value function, [B], in one of the forms of ``PPOConfig.vf_loss_type``. (9)"""
    errors = ops.square(values - targets)
    if kind == "mse" or vf_clip_param is None:
        return errors
    if kind == "clamp":
        return ops.clip(errors, 0.0, vf_clip_param)
    moved = old_values + ops.clip(values - old_values, -vf_clip_param, vf_clip_param)
    return ops.maximum(errors, ops.square(moved - targets))


def next_kl_coeff(coeff: float, kl: float, target: float) -> float:
    """Section 4, with RLlib's factors: 1.5 where the paper doubles."""
    if kl > 2.0 * target:
        return coeff * 1.5
    if kl < 0.5 * target:
        return coeff * 0.5
    return coeff


class PPOPolicy(ActorCriticPolicy):
    """To be mixed into the neural policy of a framework."""

    add_scalar: Callable[..., None]
    set_scalar: Callable[[str, float], None]
    get_scalar: Callable[[str], float]

    def _add_scalars(self) -> None:
        super()._add_scalars()  # type: ignore[misc]
        config = self.config
        self.add_scalar("kl_coeff", config["kl_coeff"])
        self.add_scalar("clip_param", config["clip_param"], config.get("clip_param_schedule"))
        self._may_stop = config.get("target_kl") is not None  # whether stop_sgd() is worth a call
        self._reward_scale: RewardScale | None = None

    def _initialize_loss_from_dummy_batch(self, *args: Any, **kwargs: Any) -> None:
        super()._initialize_loss_from_dummy_batch(*args, **kwargs)  # type: ignore[misc]
        if self.config.get("scale_rewards", False):  # not before: rewards of a batch of nothing say nothing
            self._reward_scale = RewardScale(self.config["gamma"], self.config.get("scaled_reward_clip"))

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """Adam. (3)"""
        eps = self.config.get("adam_epsilon", 1e-8)
        return [OptimizerGroup("default", self.ops.parameters(self.model), eps=eps)]

    # -- after sampling

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """Advantages of one trajectory."""
        if self._reward_scale is not None:
            over = sample_batch[SampleBatch.TERMINATEDS] | sample_batch[SampleBatch.TRUNCATEDS]
            rewards = sample_batch[SampleBatch.REWARDS]
            ends = np.arange(len(rewards)) == len(rewards) - 1
            sample_batch[SampleBatch.REWARDS] = self._reward_scale.scale(
                rewards, ends, over, sample_batch[SampleBatch.EPS_ID]
            )
        return super().postprocess_trajectory(sample_batch, other_agent_batches, episode)

    def postprocess_rollout(self, rollout: Rollout) -> None:
        """Advantages of all trajectories of a rollout."""
        if self._reward_scale is not None:
            columns = rollout.columns
            over = columns[SampleBatch.TERMINATEDS] | columns[SampleBatch.TRUNCATEDS]
            rewards = columns[SampleBatch.REWARDS]
            flat = (array.reshape(-1) for array in (rewards, rollout.ends(), over, columns[SampleBatch.EPS_ID]))
            columns[SampleBatch.REWARDS] = self._reward_scale.scale(*flat).reshape(rewards.shape)
        super().postprocess_rollout(rollout)

    # -- learning

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """-(L_clip - c_kl KL - c_1 L_vf + c_2 entropy): equations 8 and 9 together."""
        ops, config, mean = self.ops, self.config, self.masked_mean(batch)
        logits = self.evaluate(model, batch)
        dist = dist_class(logits, model)
        logp = dist.logp(batch[SampleBatch.ACTIONS])  # [B]
        log_ratio = logp - batch[SampleBatch.ACTION_LOGP]
        ratio = ops.exp(log_ratio)  # pi(a|s) / pi_old(a|s)

        advantages = batch[Postprocessing.ADVANTAGES]
        if config.advantage_standardization == "minibatch":  # (7)
            center = mean(advantages)
            advantages = (advantages - center) / (ops.sqrt(mean(ops.square(advantages - center))) + 1e-8)
        surrogate = clipped_surrogate(ops, ratio, advantages, self.scalars["clip_param"])
        entropy = dist.entropy()
        total = -surrogate - self.scalars["entropy_coeff"] * entropy  # (10)

        if config.use_critic:
            values, targets = model.value_function(), batch[Postprocessing.VALUE_TARGETS]
            old_values = batch[SampleBatch.VF_PREDS]
            vf_loss = value_loss(ops, config.vf_loss_type, values, targets, old_values, config.vf_clip_param)
            total = total + config.vf_loss_coeff * vf_loss
            self._seen_values = (vf_loss, targets, values)
        kl: Tensor | None = None
        if config.kl_coeff > 0.0:
            kl = dist_class(batch[SampleBatch.ACTION_DIST_INPUTS], model).kl(dist)
            total = total + self.scalars["kl_coeff"] * kl
        self._seen, self._seen_kl = (surrogate, entropy, log_ratio, ratio), kl
        loss = mean(total)
        self._seen_loss = loss
        return loss

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of. (12)"""
        ops, mean = self.ops, self.masked_mean(batch)
        surrogate, entropy, log_ratio, ratio = (ops.stop_gradient(x) for x in self._seen)
        kl = None if self._seen_kl is None else ops.stop_gradient(self._seen_kl)
        if kl is None:  # an estimate of it, never negative: Schulman's "Approximating KL divergence" (2020)
            kl = (ratio - 1.0) - log_ratio
        outside = ops.cast(ops.abs(ratio - 1.0) > self.scalars["clip_param"], "float32")
        stats = {
            "total_loss": ops.stop_gradient(self._seen_loss),
            "policy_loss": -mean(surrogate),
            "kl": mean(kl),
            "entropy": mean(entropy),
            "clip_fraction": mean(outside),
            "cur_kl_coeff": self.scalars["kl_coeff"],
            "cur_lr": self.scalars["lr"],
            "entropy_coeff": self.scalars["entropy_coeff"],
        }
        if self.config.use_critic:
            vf_loss, targets, values = (ops.stop_gradient(x) for x in self._seen_values)
            stats["vf_loss"] = mean(vf_loss)
            stats["vf_explained_var"] = self.explained_variance(targets, values, mean)
        return stats

    def output_gradients(
        self, dist: Any, values: Any, columns: dict[str, Any], dist_class: Any
    ) -> tuple[Any, Any, dict[str, float]]:
        """The derivatives of `loss` by outputs and values, and `stats_fn`, in NumPy: for small networks."""
        return output_gradients(self.config, self.scalars, dist, values, columns, dist_class)

    def stop_sgd(self, stats: dict[str, Any]) -> bool:
        """Whether the epochs of this iteration end, because the policy is as far away from the old one as it may be.

        Args:
            stats: Means over an epoch.
        """
        limit = self.config.get("target_kl")
        return limit is not None and stats["kl"] > 1.5 * limit

    def update_kl(self, sampled_kl: float) -> float:
        """Adapt the coefficient of the penalty to the divergence that it led to; the new one is returned."""
        coeff = self.get_scalar("kl_coeff")
        if self.config["kl_coeff"] > 0.0:
            coeff = next_kl_coeff(coeff, sampled_kl, self.config["kl_target"])
            self.set_scalar("kl_coeff", coeff)
        return coeff

    # -- checkpoints

    def state_to_save(self) -> dict[str, Any]:
        """The statistics of rewards."""
        return {} if self._reward_scale is None else {"reward_scale": self._reward_scale.get_state()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take over the scale of rewards from a state, if both have one."""
        if self._reward_scale is not None and "reward_scale" in state:
            self._reward_scale.set_state(state["reward_scale"])
