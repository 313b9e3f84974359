"""MARWIL's mathematics (Wang et al. 2018, algorithm 1), over the tensors of either framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._actor_critic import ActorCriticPolicy
from aktis.rllib.evaluation.postprocessing import (
    Postprocessing,
    add_advantages,
    compute_advantages,
    inputs_after_cuts,
    value_of_what_follows,
)
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

__all__ = ["MARWILPolicy", "imitation_weights"]

Tensor = Any
_LARGEST = 20.0  # of the exponent: a weight of 5e8 is as good as any, and an infinite one would end training


def imitation_weights(ops: Any, advantages: Tensor, mean_square: Tensor, beta: float) -> Tensor:
    """exp(beta A / c): how much an action counts (equation 5), where c^2 is the running mean of A^2. [B]"""
    scaled = advantages / ops.sqrt(mean_square + 1e-8)
    return ops.exp(ops.minimum(beta * scaled, _LARGEST))


class MARWILPolicy(ActorCriticPolicy):
    """To be mixed into the neural policy of a framework."""

    add_scalar: Callable[..., None]
    set_scalar: Callable[[str, float], None]
    get_scalar: Callable[[str], float]
    view_requirements: dict[str, Any]

    def _add_scalars(self) -> None:
        super()._add_scalars()  # type: ignore[misc]
        self.add_scalar("mean_square_advantage", self.config["moving_average_sqd_adv_norm_start"])

    @property
    def offline_columns(self) -> tuple[str, ...]:
        """What recorded experience must have. Imitation alone needs neither rewards nor ends."""
        return ("obs", "actions") if self.config["beta"] == 0.0 else ("obs", "actions", "rewards", "terminateds")

    # -- after reading (or sampling): the return from each step on, in `advantages`; the critic's part changes while it learns

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """Returns of one trajectory."""
        if self.config["beta"] == 0.0:
            return sample_batch
        follows = 0.0
        if self.config["use_gae"] and SampleBatch.NEXT_OBS in sample_batch:
            # Cut in the middle of an episode: what follows is worth what the critic says, if the data has what was observed then.
            follows = value_of_what_follows(self, sample_batch)  # type: ignore[arg-type]
        return compute_advantages(sample_batch, follows, self.config["gamma"], use_gae=False, use_critic=False)

    def postprocess_rollout(self, rollout: Rollout) -> None:
        """Returns of all trajectories of a rollout."""
        if self.config["beta"] == 0.0:
            return
        values: Any = [0.0] * len(rollout.cuts)
        if len(rollout.cuts) and self.config["use_gae"]:
            values = self.compute_values(inputs_after_cuts(rollout, self.view_requirements))
        add_advantages(rollout, values, self.config["gamma"], 1.0, use_gae=False, use_critic=False)

    # -- learning

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """-E[exp(beta A / c) log pi(a|s)] + vf_coeff E[A^2] / 2, with A = R - V(s)."""
        ops, config, mean = self.ops, self.config, self.masked_mean(batch)
        dist = dist_class(self.evaluate(model, batch), model)
        logp = dist.logp(batch[SampleBatch.ACTIONS])  # [B]
        if config.bc_logstd_coeff > 0.0:
            logp = logp + config.bc_logstd_coeff * ops.mean(
                dist.log_std, axis=-1
            )  # wider where nothing speaks against it
        self._seen: dict[str, Tensor] = {}
        if config.beta == 0.0:  # behaviour cloning
            total = policy_loss = -mean(logp)
        else:
            values = model.value_function()
            returns = batch[Postprocessing.ADVANTAGES]
            advantages = returns - values
            square = mean(ops.square(advantages))
            weights = imitation_weights(
                ops, ops.stop_gradient(advantages), self.scalars["mean_square_advantage"], config.beta
            )
            policy_loss = -mean(weights * logp)
            vf_loss = 0.5 * square
            total = policy_loss + config.vf_coeff * vf_loss
            self._seen = {
                "vf_loss": vf_loss,
                "mean_square_of_batch": square,
                "vf_explained_var": self.explained_variance(returns, values, mean),
                "mean_weight": mean(weights),
            }
        self._seen.update(policy_loss=policy_loss, total_loss=total, entropy=mean(dist.entropy()))
        return total

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        stats = {name: self.ops.stop_gradient(value) for name, value in self._seen.items()}
        return {**stats, "cur_lr": self.scalars["lr"]}

    def after_learn(self, info: dict[str, Any]) -> dict[str, Any]:
        """c^2 <- c^2 + rate (mean of A^2 - c^2): line 5 of algorithm 1."""
        square = info["learner_stats"].pop("mean_square_of_batch", None)
        if square is None:
            return {}
        now = self.get_scalar("mean_square_advantage")
        now += self.config["moving_average_sqd_adv_norm_update_rate"] * (float(square) - now)
        self.set_scalar("mean_square_advantage", now)
        return {"moving_average_sqd_adv_norm": now}
