"""The loss of IMPALA (Espeholt et al. 2018, section 4.2), over the tensors of either framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.algorithms._actor_critic import ActorCriticPolicy
from aktis.rllib.algorithms.impala.vtrace import VTraceReturns, from_trajectories
from aktis.rllib.evaluation.postprocessing import inputs_after_cuts, value_of_what_follows
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

__all__ = ["ImpalaPolicy", "VTracePolicy"]

Tensor = Any

ENDS = "trajectory_ends"  # bool: a trajectory ends with this row
BOOTSTRAP = "values_bootstrapped"  # the value of what follows it, of the policy that sampled; 0 where it terminated, and elsewhere


class VTracePolicy(ActorCriticPolicy):
    """A policy that learns from whole trajectories with V-trace; APPO's is another."""

    add_scalar: Callable[..., None]

    def _add_scalars(self) -> None:
        super()._add_scalars()  # type: ignore[misc]
        if self.config["_separate_vf_optimizer"]:
            self.add_scalar("lr_vf", self.config["_lr_vf"])

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """Adam or RMSProp, one for everything, or one for the value function beside that of the rest."""
        parameters = self.ops.parameters(self.model)
        if not self.config["_separate_vf_optimizer"]:
            return [self._group("default", parameters, "lr")]
        network = getattr(self.model, "layers", lambda: None)()
        if network is None or network.trunk:
            raise ValueError(
                "_separate_vf_optimizer needs a fully connected model whose value function shares no layers: set "
                "model={'vf_share_layers': False}"
            )
        of_value = {id(x) for layer in network.value for x in (layer.weight, layer.bias)}
        rest, value = ([p for p in parameters if (id(p) in of_value) is wanted] for wanted in (False, True))
        return [self._group("policy", rest, "lr"), self._group("value", value, "lr_vf")]

    def _group(self, name: str, parameters: list[Any], lr: str) -> OptimizerGroup:
        config, group = self.config, OptimizerGroup(name, parameters, lr)
        if config["opt_type"] == "rmsprop":
            group.optimizer = self.ops.rmsprop(
                parameters,
                lr=float(self.ops.as_numpy(self.scalars[lr])),
                decay=config["decay"],
                momentum=config["momentum"],
                eps=config["epsilon"],
            )
        return group

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """Where trajectories end, and what follows them: V-trace itself is computed with the policy that learns."""
        if not self.config.vtrace:
            return super().postprocess_trajectory(sample_batch, other_agent_batches, episode)
        rows = len(sample_batch[SampleBatch.REWARDS])
        sample_batch[ENDS] = np.arange(rows) == rows - 1
        values: Any = np.zeros(rows, np.float32)
        values[-1] = value_of_what_follows(self, sample_batch)  # type: ignore[arg-type]
        sample_batch[BOOTSTRAP] = values
        return sample_batch

    def postprocess_rollout(self, rollout: Rollout) -> None:
        if not self.config.vtrace:
            super().postprocess_rollout(rollout)
            return
        columns = rollout.columns
        columns[ENDS] = rollout.ends()
        values: Any = np.zeros(columns[SampleBatch.REWARDS].size, np.float32)
        if len(rollout.cuts):
            values[rollout.cuts] = self.compute_values(inputs_after_cuts(rollout, self.view_requirements))
        columns[BOOTSTRAP] = values.reshape(columns[SampleBatch.REWARDS].shape)

    def vtrace(self, batch: Any, logp: Tensor, values: Tensor) -> tuple[VTraceReturns, Tensor | None]:
        """V-trace of a batch, and which of its rows to learn from ([R] bool; None: all).

        Args:
            batch: Rows of whole trajectories.
            logp: [R] log-probability of the actions under the policy whose values these are.
            values: [R].
        """
        ops, config = self.ops, self.config
        ends, mask, dropped = batch[ENDS], self.row_mask(batch), None
        if config.vtrace_drop_last_ts:
            # The last step of a fragment that goes on in the next: V(x_T) of the policy that learns is worth more than the step.
            over = ops.logical_or(batch[SampleBatch.TERMINATEDS], batch[SampleBatch.TRUNCATEDS])
            dropped = ops.logical_and(ends, ops.logical_not(over))
            kept = ops.logical_not(dropped)
            mask = kept if mask is None else ops.logical_and(mask, kept)
        fragment = config.rollout_fragment_length
        truncates = config.batch_mode == "truncate_episodes" and isinstance(fragment, int)
        found = from_trajectories(
            ops,
            log_rhos=logp - batch[SampleBatch.ACTION_LOGP],
            rewards=batch[SampleBatch.REWARDS],
            values=values,
            ends=ends,
            bootstrap_values=batch[BOOTSTRAP],
            gamma=config.gamma,
            clip_rho_threshold=config.vtrace_clip_rho_threshold,
            clip_pg_rho_threshold=config.vtrace_clip_pg_rho_threshold,
            length=fragment if truncates else None,
            dropped=dropped,
        )
        return found, mask


class ImpalaPolicy(VTracePolicy):
    """To be mixed into the neural policy of a framework."""

    def extra_action_out(self, input_dict: Any, state_batches: Any, model: Any, action_dist: Any) -> dict[str, Tensor]:
        """Nothing besides actions and what their distribution says."""
        return {}  # the values of the policy that learns count, not of that which sampled

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor | list[Tensor]:
        """Sums over the steps: -rho log pi(a|x) (q - V), half the squared value error, the entropy."""
        ops, config = self.ops, self.config
        logits = self.evaluate(model, batch)
        dist = dist_class(logits, model)
        logp = dist.logp(batch[SampleBatch.ACTIONS])  # [R]
        values = model.value_function()  # [R]
        target, mask = self.vtrace(batch, logp, values)

        def total(x: Tensor) -> Tensor:
            return ops.sum(x if mask is None else ops.where(mask, x, ops.zeros_like(x)))

        policy_loss = -total(logp * target.pg_advantages)
        vf_loss = 0.5 * total(ops.square(values - target.vs))
        entropy = total(dist.entropy())
        self._seen = {"policy_loss": policy_loss, "vf_loss": vf_loss, "entropy": entropy}
        self._seen_values = (target.vs, values, mask)
        actor_loss = policy_loss - self.scalars["entropy_coeff"] * entropy
        if config._separate_vf_optimizer:
            self._seen["total_loss"] = actor_loss + vf_loss
            return [actor_loss, vf_loss]
        loss = actor_loss + config.vf_loss_coeff * vf_loss
        self._seen["total_loss"] = loss
        return loss

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        ops = self.ops
        stats = {name: ops.stop_gradient(x) for name, x in self._seen.items()}
        targets, values, mask = self._seen_values
        mean = ops.mean if mask is None else self.mean_of(mask)
        stats["vf_explained_var"] = self.explained_variance(targets, ops.stop_gradient(values), mean)
        return {**stats, "cur_lr": self.scalars["lr"], "entropy_coeff": self.scalars["entropy_coeff"]}
