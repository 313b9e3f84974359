"""DQN's mathematics, over the tensors of either framework. The improvements are those of Rainbow (Hessel et al. 2018).

Shapes: B rows, A actions, N atoms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.algorithms._dense_q_training import DenseQTraining
from aktis.rllib.algorithms._fast_acting import FastQ, Stack, dense
from aktis.rllib.algorithms.simple_q.simple_q_policy import SimpleQPolicy, check_discrete, q_targets, td_loss
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["DQNPolicy", "project_distribution", "projected_targets"]

Tensor = Any


def project_distribution(ops: Any, probabilities: Tensor, points: Tensor, atoms: Tensor) -> Tensor:
    """The distribution on `points`, moved to the nearest atoms (Bellemare et al. 2017, equation 7).

    (Phi p)_i = sum_j [1 - |clip(x_j) - z_i| / dz]_0^1 p_j: each point's mass is shared by the two atoms that it lies between.

    Arguments:
        probabilities: [B, N] of the points.
        points: [B, N] where they are.
        atoms: [N] z, evenly spaced.

    Returns:
        [B, N] probabilities of the atoms.
    """
    v_min, v_max = atoms[0], atoms[-1]
    step = atoms[1] - atoms[0]
    clipped = ops.minimum(ops.maximum(points, v_min), v_max)  # [B, N]
    distance = ops.abs(ops.expand_dims(clipped, 1) - ops.reshape(atoms, (1, -1, 1)))  # [B, i, j]
    shares = ops.clip(1.0 - distance / step, 0.0, 1.0)
    return ops.sum(shares * ops.expand_dims(probabilities, 1), axis=2)


def projected_targets(
    ops: Any, rewards: Tensor, discounts: Any, terminateds: Tensor, next_probabilities: Tensor, atoms: Tensor
) -> Tensor:
    """The distribution of r + gamma^n Z(s', a*) on the atoms (Bellemare et al. 2017, algorithm 1). [B, N]"""
    kept = discounts * (1.0 - ops.cast(terminateds, "float32"))  # [B]
    points = ops.expand_dims(rewards, 1) + ops.expand_dims(kept, 1) * ops.reshape(atoms, (1, -1))
    return ops.stop_gradient(project_distribution(ops, next_probabilities, points, atoms))


class DQNPolicy(SimpleQPolicy):
    """To be mixed into the neural policy of a framework. The model is a DQNTorchModel or DQNTFModel."""

    observation_space: Any
    action_space: Any
    dist_class: Any

    def make_model(self) -> Any:
        """The network of `model`, with the layers for Q-values behind it."""
        from aktis.rllib.models.catalog import ModelCatalog

        config = self.config
        check_discrete(self.action_space, "DQN")
        heads = bool(config["hiddens"]) or bool(config["dueling"]) or int(config["num_atoms"]) > 1
        return ModelCatalog.get_model_v2(
            self.observation_space,
            self.action_space,
            self.num_model_outputs(heads),
            config["model"],
            framework=self.ops.name,
            name="q_network",
            model_interface=self.model_interface(),
            q_hiddens=tuple(config["hiddens"]) if heads else None,
            dueling=bool(config["dueling"]),
            num_atoms=int(config["num_atoms"]),
            use_noisy=bool(config["noisy"]),
            v_min=float(config["v_min"]),
            v_max=float(config["v_max"]),
            sigma0=float(config["sigma0"]),
        )

    def model_interface(self) -> type[Any]:
        """The class with the layers for Q-values, of the framework."""
        raise NotImplementedError(f"{type(self).__name__} must define model_interface()")

    def num_model_outputs(self, heads: bool) -> int | None:
        """How wide the output of the network of `model` is: the Q-values where nothing is behind it, else its features."""
        if not heads:
            return int(self.action_space.n)
        # A model of one's own is told how many features are wanted, as RLlib does; others return their last hidden layer.
        return (
            int((self.config["model"].get("fcnet_hiddens") or [256])[-1])
            if self.config["model"].get("custom_model")
            else None
        )

    # -- values

    def q_and_logits(self, model: Any, input_dict: Any, noise: bool = True) -> tuple[Tensor, Tensor | None]:
        """Q(s, .) [B, A], and with several atoms their logits [B, A, N]."""
        model.set_noise(noise)
        features, _ = model(input_dict)
        q, logits = model.q_values(features)
        return q, logits

    def q_values(self, model: Any, input_dict: Any) -> Tensor:
        """Q(s, .) of a batch with `obs`. [B, A]"""
        return self.q_and_logits(model, input_dict)[0]

    def action_distribution_fn(  # type: ignore[override, unused-ignore]
        self,
        model: Any,
        *,
        input_dict: Any,
        state_batches: Any,
        seq_lens: Any = None,
        explore: bool = True,
        **kwargs: Any,
    ) -> tuple[Tensor, Any, list[Any]]:
        """Actions are chosen by Q-values; noise in the weights is exploration."""
        q, _ = self.q_and_logits(model, input_dict, noise=explore)
        temperature = float(self.config["categorical_distribution_temperature"])
        return (q if temperature == 1.0 else q / temperature), self.dist_class, []

    def _dense_network(self, model: Any) -> FastQ | None:
        """The dense layers of a Q-network without noise; None for other networks."""
        features = dense(model.feature_layers())
        if features is None or self.config["noisy"]:
            return None
        advantage, value = (None if layers is None else Stack(layers) for layers in model.stream_layers())
        width = int(np.prod(self.observation_space.shape, dtype=np.int64))
        support = model.support if model.num_atoms > 1 else None
        temperature = float(self.config["categorical_distribution_temperature"])
        return FastQ(self, Stack(features), advantage, value, support, width, temperature)

    def make_trainer(self) -> DenseQTraining | None:
        """As SimpleQ's; distributions of returns are trained in the framework."""
        return super().make_trainer() if int(self.config["num_atoms"]) == 1 else None

    # -- learning

    def loss(self, model: Any, dist_class: Any, batch: Any) -> Tensor:
        """The mean loss of the TD errors (with atoms: of the cross-entropies), weighted by importance."""
        ops, config = self.ops, self.config
        actions, next_batch = batch[SampleBatch.ACTIONS], self.next_batch(batch)
        q, logits = self.q_and_logits(model, {SampleBatch.OBS: batch[SampleBatch.OBS]})
        with self.no_grad():
            next_q, next_logits = self.q_and_logits(self.target_model, next_batch)
            # Double Q-learning: a* = argmax_a Q(s', a), valued by the target network (van Hasselt et al. 2016, equation 4).
            chooser = self.q_values(model, next_batch) if config["double_q"] else next_q
            best = ops.argmax(chooser, axis=-1)
            rewards, terminateds, discounts = (
                batch[SampleBatch.REWARDS],
                batch[SampleBatch.TERMINATEDS],
                self.discounts(batch),
            )
        if logits is None:
            with self.no_grad():
                targets = q_targets(ops, rewards, discounts, terminateds, ops.gather_rows(next_q, best))
            errors = ops.gather_rows(q, actions) - targets
            losses = td_loss(ops, config["td_error_loss_fn"], errors)
        else:
            with self.no_grad():
                next_p = ops.softmax(ops.gather_rows(next_logits, best), axis=-1)  # p(s', a*) [B, N]
                targets = projected_targets(ops, rewards, discounts, terminateds, next_p, model.atoms())
            # Bellemare et al. 2017, algorithm 1: the cross-entropy - sum_i m_i log p_i(s, a).
            logp = ops.log_softmax(ops.gather_rows(logits, actions), axis=-1)
            losses = errors = -ops.sum(targets * logp, axis=-1)
        self._seen = (q, errors)
        return self.weighted_mean(losses, batch)
