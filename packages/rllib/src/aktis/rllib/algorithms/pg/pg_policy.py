"""The policy gradient theorem (Williams 1992), over the tensors of either framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._actor_critic import ActorCriticPolicy
from aktis.rllib.evaluation.postprocessing import Postprocessing, compute_advantages
from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout import Rollout

__all__ = ["PGPolicy"]

Tensor = Any


class PGPolicy(ActorCriticPolicy):
    """To be mixed into the neural policy of a framework. There is no critic: an action is as good as what came after it."""

    use_critic = False
    use_gae = False

    def extra_action_out(self, input_dict: Any, state_batches: Any, model: Any, action_dist: Any) -> dict[str, Tensor]:
        """Nothing besides actions and what their distribution says."""
        return {}

    def postprocess_trajectory(
        self, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
    ) -> SampleBatch:
        return compute_advantages(sample_batch, 0.0, gamma=self.config.gamma, use_gae=False, use_critic=False)

    def postprocess_rollout(self, rollout: Rollout) -> None:
        super().postprocess_rollout(rollout)

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """-log pi(a_t|s_t) G_t, the mean over steps."""
        mean = self.masked_mean(batch)
        logits = self.evaluate(model, batch)
        logp = dist_class(logits, model).logp(batch[SampleBatch.ACTIONS])  # [B]
        loss = -mean(logp * batch[Postprocessing.ADVANTAGES])
        self._seen_loss = loss
        return loss

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        return {"policy_loss": self.ops.stop_gradient(self._seen_loss), "cur_lr": self.scalars["lr"]}
