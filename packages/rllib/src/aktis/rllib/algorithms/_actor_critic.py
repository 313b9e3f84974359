"""What policies with a value function have in common: values of each step, advantages of a trajectory, means without padding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.rllib.evaluation.postprocessing import add_advantages, compute_gae_for_sample_batch, inputs_after_cuts
from aktis.rllib.policy._neural.acting import values_as_extra
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

__all__ = ["ActorCriticPolicy"]

Tensor = Any


class ActorCriticPolicy:
    """To be mixed into a neural policy of a framework: ``class A2CTorchPolicy(A2CPolicy, TorchPolicyV2)``."""

    config: Any
    ops: Any
    model: Any
    view_requirements: dict[str, Any]
    compute_values: Callable[..., Any]

    scalars: dict[str, Any]
    # None: as configured. A class without a critic says False.
    use_critic: bool | None = None
    use_gae: bool | None = None

    def _advantage_settings(self) -> dict[str, Any]:
        config = self.config
        return {
            "gamma": config["gamma"],
            "lambda_": config.get("lambda_", 1.0),
            "use_gae": config.get("use_gae", True) if self.use_gae is None else self.use_gae,
            "use_critic": config.get("use_critic", True) if self.use_critic is None else self.use_critic,
        }

    # -- while sampling

    extra_action_out = values_as_extra

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        """Advantages of one trajectory."""
        return compute_gae_for_sample_batch(self, sample_batch, other_agent_batches, episode)  # type: ignore[arg-type]

    def postprocess_rollout(self, rollout: Rollout) -> None:
        """Advantages of all trajectories of a rollout; the values of what follows the cut ones are computed in one batch."""
        settings = self._advantage_settings()
        values: Any = [0.0] * len(rollout.cuts)
        if len(rollout.cuts) and settings["use_critic"]:
            values = self.compute_values(inputs_after_cuts(rollout, self.view_requirements))
        add_advantages(rollout, values, **settings)

    # -- while learning

    @staticmethod
    def states_of(batch: Any) -> list[Tensor]:
        """The recurrent states in a batch."""
        states: list[Tensor] = []
        while f"state_in_{len(states)}" in batch:
            states.append(batch[f"state_in_{len(states)}"])
        return states

    def evaluate(self, model: Any, batch: Any) -> Tensor:
        """Evaluate a model on a train batch: the inputs of the action distribution, [B, ...]."""
        logits, _ = model(batch, self.states_of(batch), batch.get(SampleBatch.SEQ_LENS))
        return logits

    def row_mask(self, batch: Any) -> Tensor | None:
        """Which rows of a train batch are steps, and not padding after the end of a sequence: [B] bool; None: all are."""
        seq_lens = batch.get(SampleBatch.SEQ_LENS)
        if seq_lens is None:
            return None
        return self.ops.reshape(self.ops.sequence_mask(seq_lens, int(batch.max_seq_len)), (-1,))

    def masked_mean(self, batch: Any) -> Callable[[Tensor], Tensor]:
        """A function that takes the mean of rows [B] which are not padding."""
        mask = self.row_mask(batch)
        return self.ops.mean if mask is None else self.mean_of(mask)

    def mean_of(self, mask: Tensor) -> Callable[[Tensor], Tensor]:
        """A function that takes the mean of those rows [B]."""
        ops = self.ops
        count = ops.maximum(ops.sum(ops.cast(mask, "float32")), 1.0)
        # where(), not a product: what stands in padded rows may be infinite
        return lambda x: ops.sum(ops.where(mask, x, ops.zeros_like(x))) / count

    def explained_variance(self, targets: Tensor, predictions: Tensor, mean: Callable[[Tensor], Tensor]) -> Tensor:
        """How much of the targets' variance the predictions explain, at least -1; 0 where the targets do not vary."""
        ops = self.ops
        variance = mean(ops.square(targets - mean(targets)))
        errors = targets - predictions
        rest = mean(ops.square(errors - mean(errors)))
        explained = ops.maximum(1.0 - rest / ops.maximum(variance, 1e-12), -1.0)
        return ops.where(variance > 1e-12, explained, ops.zeros_like(explained))
