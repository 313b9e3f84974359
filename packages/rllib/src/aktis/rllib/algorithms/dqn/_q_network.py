"""From features to Q-values: the part of DQN's network that is the same in every framework.

Shapes: B rows, A actions, N atoms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Tensor = Any


class QNetwork:
    """Mixin of a model: what it has behind its features.

    The model sets `ops`, `num_atoms`, `num_actions`, `advantage` (features -> [B, A * N]; None where the
    features are the Q-values),
    `state_value` (features -> [B, N]; None without duelling), and `support` (the atoms, an array [N]).
    """

    ops: Any
    num_atoms: int
    num_actions: int
    advantage: Any
    state_value: Any
    support: np.ndarray[Any, np.dtype[np.float32]]
    _noisy_layers: list[Any]
    generator: Any

    def atoms(self) -> Tensor:
        """z, the points of the distribution of returns. [N]"""
        return self.ops.from_numpy(self.support)

    def set_noise(self, noise: bool) -> None:
        """Whether noisy layers draw noise, or use the means of their weights."""
        for layer in self._noisy_layers:
            layer.noise = noise
            layer.generator = self.generator

    def q_values(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Q(s, .) [B, A], and the logits of the atoms [B, A, N] where there are several."""
        ops = self.ops
        if self.advantage is None:
            return features, None
        advantages = self.advantage(features)  # [B, A * N]
        if self.num_atoms == 1:
            if self.state_value is None:
                return advantages, None
            # Q = V + A - mean A (Wang et al. 2016, equation 9).
            return self.state_value(features) + advantages - ops.mean(advantages, axis=-1, keepdims=True), None
        logits = ops.reshape(advantages, (-1, self.num_actions, self.num_atoms))
        if self.state_value is not None:
            value = ops.expand_dims(self.state_value(features), 1)  # [B, 1, N]
            logits = value + logits - ops.mean(logits, axis=1, keepdims=True)
        return ops.sum(ops.softmax(logits, axis=-1) * self.atoms(), axis=-1), logits

    def get_q_value_distributions(self, model_out: Tensor) -> tuple[Tensor, ...]:
        """Action scores of the advantage stream, their logits, and probabilities (with one atom: the scores themselves).

        Arguments:
            model_out: features [B, n].

        Returns:
            [B, A], [B, A, N], [B, A, N].
        """
        ops = self.ops
        scores = model_out if self.advantage is None else self.advantage(model_out)
        if self.num_atoms == 1:
            expanded = ops.expand_dims(scores, -1)
            return scores, expanded, ops.ones_like(expanded)
        logits = ops.reshape(scores, (-1, self.num_actions, self.num_atoms))
        probabilities = ops.softmax(logits, axis=-1)
        return ops.sum(probabilities * self.atoms(), axis=-1), logits, probabilities

    def get_state_value(self, model_out: Tensor) -> Tensor:
        """The value stream of a duelling network. [B, n] -> [B, N]

        Raises:
            ValueError: the network is not a duelling one.
        """
        if self.state_value is None:
            raise ValueError("Only duelling networks have a value stream: set dueling=True.")
        return self.state_value(model_out)
