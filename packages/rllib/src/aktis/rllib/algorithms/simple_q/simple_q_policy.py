"""The mathematics of deep Q-learning (Mnih et al. 2015), over the tensors of either framework."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.algorithms._dense_q_training import DenseQTraining, DenseQTrainingPolicy, Network
from aktis.rllib.algorithms._fast_acting import MAX_PARAMETERS, FastActing, FastActingPolicy, FastQ, Stack, dense
from aktis.rllib.algorithms._nstep import DISCOUNTS, NStepPolicy
from aktis.rllib.algorithms._target_network import TargetNetworkPolicy
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.error import UnsupportedSpaceException

__all__ = ["SimpleQPolicy", "q_targets", "td_loss"]

Tensor = Any


def q_targets(ops: Any, rewards: Tensor, discounts: Any, terminateds: Tensor, next_values: Tensor) -> Tensor:
    """y = r + gamma^n max_a' Q^(s', a'), and r alone where the episode terminated (Mnih et al. 2015, algorithm 1). All [B].

    A truncated episode goes on in principle: its value is bootstrapped.
    """
    return ops.stop_gradient(rewards + discounts * (1.0 - ops.cast(terminateds, "float32")) * next_values)


def td_loss(ops: Any, kind: str, errors: Tensor) -> Tensor:
    """The loss of each TD error: the clipped error of the paper ("huber"), or half its square ("mse"). [B] -> [B]"""
    return ops.huber(errors) if kind == "huber" else 0.5 * ops.square(errors)


def check_discrete(space: Any, name: str) -> None:
    """Raise an UnsupportedSpaceException unless actions are numbers from 0: there is a value for each of them."""
    from gymnasium import spaces

    if not isinstance(space, spaces.Discrete):
        raise UnsupportedSpaceException(
            f"{name} values each action by itself: it needs a Discrete action space, not {space}. PPO acts in every space, "
            "SAC in Box."
        )


class SimpleQPolicy(DenseQTrainingPolicy, FastActingPolicy, NStepPolicy, TargetNetworkPolicy):
    """To be mixed into the neural policy of a framework. The model's output is Q(s, .)."""

    ops: Any
    scalars: dict[str, Any]
    action_space: Any

    def make_model(self) -> Any:
        """The catalog's network."""
        check_discrete(self.action_space, "SimpleQ")
        return super().make_model()  # type: ignore[misc]

    # -- values

    def q_values(self, model: Any, input_dict: Any) -> Tensor:
        """Q(s, .) of a batch with `obs`. [B, A]"""
        out, _ = model(input_dict)
        return out

    def next_batch(self, batch: Any) -> dict[str, Tensor]:
        """What the model is given to value what was observed after each step."""
        return {SampleBatch.OBS: batch[SampleBatch.NEXT_OBS]}

    def discounts(self, batch: Any) -> Any:
        """gamma^k of each row, or one number where all rows are of one step."""
        if DISCOUNTS in batch:
            return batch[DISCOUNTS]
        return float(self.config["gamma"]) ** int(self.config.get("n_step", 1) or 1)

    def make_quick(self) -> FastActing | None:
        """Dense Q-networks are evaluated in NumPy."""
        return self._dense_network(self.model) if hasattr(self.exploration, "choose") else None

    def _dense_network(self, model: Any) -> FastQ | None:
        """The dense layers of a Q-network; None for other networks."""
        layers = dense(model.layers())
        if layers is None:
            return None
        width = int(np.prod(self.observation_space.shape, dtype=np.int64))  # type: ignore[attr-defined]
        return FastQ(self, Stack(layers), None, None, None, width, 1.0)

    def make_trainer(self) -> DenseQTraining | None:
        """Dense networks are trained in NumPy, on the CPU, unless the loss is another one."""
        own = (
            SimpleQPolicy,
            "loss",
            "next_batch",
            "q_values",
            "weighted_mean",
            "stats_fn",
            "extra_compute_grad_fetches",
        )
        if not self._is_plain(*own) or (model := self._dense_network(self.model)) is None:
            return None
        target = self._dense_network(self.target_model)
        small = sum(stack.size() for stack in model.stacks) <= MAX_PARAMETERS
        return DenseQTraining(self, Network.of(model), Network.of(target)) if small and target is not None else None

    def _is_plain(self, base: type, *methods: str) -> bool:
        """Whether nothing that learning consists of is another's than that of a class of ours."""
        ours = "aktis.rllib.algorithms."
        owners = [next(cls for cls in type(self).__mro__ if method in cls.__dict__) for method in methods]
        gpu = self.ops.name == "torch" and getattr(self.device, "type", "cpu") != "cpu"  # type: ignore[attr-defined]
        changed = self._has_custom_loss or "extra_grad_process" in type(self).__dict__  # type: ignore[attr-defined]
        return all(owner.__module__.startswith(ours) for owner in owners) and not gpu and not changed

    # -- learning

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """The mean loss of the TD errors, each weighted by its importance where the buffer is prioritised."""
        ops = self.ops
        q = self.q_values(model, {SampleBatch.OBS: batch[SampleBatch.OBS]})  # [B, A]
        taken = ops.gather_rows(q, batch[SampleBatch.ACTIONS])  # Q(s, a) [B]
        with self.no_grad():
            best = ops.max(self.q_values(self.target_model, self.next_batch(batch)), axis=-1)
            targets = q_targets(
                ops, batch[SampleBatch.REWARDS], self.discounts(batch), batch[SampleBatch.TERMINATEDS], best
            )
        errors = taken - targets
        self._seen = (q, errors)
        return self.weighted_mean(td_loss(ops, self.config["td_error_loss_fn"], errors), batch)

    def weighted_mean(self, losses: Tensor, batch: Any) -> Tensor:
        """The mean of [B], with importance weights if there are any (Schaul et al. 2016, section 3.4)."""
        if "weights" in batch:
            losses = batch["weights"] * losses
        return self.ops.mean(losses)

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last loss was made of."""
        ops = self.ops
        q, errors = (ops.stop_gradient(x) for x in self._seen)
        return {
            "cur_lr": self.scalars["lr"],
            "mean_q": ops.mean(q),
            "min_q": ops.min(q),
            "max_q": ops.max(q),
            "mean_td_error": ops.mean(errors),
        }

    def extra_compute_grad_fetches(self) -> dict[str, Any]:
        """The TD error of each row [B]: priorities of the replay buffer."""
        return {"learner_stats": {}, "td_error": self.ops.stop_gradient(self._seen[1])}

    def optimizer_groups(self) -> list[Any]:
        """One Adam, with `adam_epsilon`."""
        groups: list[Any] = super().optimizer_groups()  # type: ignore[misc]
        for group in groups:
            group.eps = float(self.config["adam_epsilon"])
        return groups

    def compute_td_error(self, batch: SampleBatch) -> NDArray[np.float32]:
        """|TD error| of each row, from NumPy to NumPy. [B]"""
        with self.no_grad():
            self.loss(self.model, self.dist_class, self._train_data(batch).whole())  # type: ignore[attr-defined]
        return np.abs(np.asarray(self.ops.as_numpy(self._seen[1]), np.float32))
