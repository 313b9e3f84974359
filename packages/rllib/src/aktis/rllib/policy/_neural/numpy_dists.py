"""Distributions over actions in NumPy: samples, probabilities, and the derivatives of these by the distribution's inputs.

B rows, A choices, D dimensions. Methods that begin with `d_` take the derivative of a loss by the quantity, [B], and
give that by the inputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any

_LOG_2PI = np.float32(math.log(2.0 * math.pi))


class NumpyCategorical:
    """Logits [B, A]; actions are int64 [B]."""

    def __init__(self, inputs: Array) -> None:
        self.inputs = inputs
        logits = inputs - np.maximum.reduce(inputs, axis=1, keepdims=True)
        p = np.exp(logits)
        total = np.add.reduce(p, axis=1, keepdims=True)
        p /= total
        self.p_BA = p
        logits -= np.log(total)
        self.logp_BA = logits
        self._entropy: Array | None = None

    def sample(self, rng: np.random.Generator) -> Array:
        """By inversion: one uniform number for each row."""
        if self.p_BA.shape[1] == 2:
            return (rng.random(len(self.p_BA), dtype=np.float32) >= self.p_BA[:, 0]).astype(np.int64)
        below = np.cumsum(self.p_BA, axis=1)
        drawn = rng.random((len(below), 1), dtype=np.float32) * below[:, -1:]
        return np.minimum((below <= drawn).sum(axis=1), below.shape[1] - 1)

    def deterministic_sample(self) -> Array:
        """The most likely action."""
        return self.inputs.argmax(axis=1)

    def logp(self, actions: Array) -> Array:
        """[B]."""
        return self.logp_BA[np.arange(len(actions)), actions]

    def d_logp(self, actions: Array, g: Array) -> Array:
        """d logp(a) / d logits = 1_a - p."""
        d = self.p_BA * -g[:, None]
        d[np.arange(len(actions)), actions] += g
        return d

    def entropy(self) -> Array:
        """[B]."""
        if self._entropy is None:
            self._entropy = -np.add.reduce(self.p_BA * self.logp_BA, axis=1)
        return self._entropy

    def d_entropy(self, g: Array | float) -> Array:
        """d H / d logits = -p (logp + H)."""
        d = self.logp_BA + self.entropy()[:, None]
        d *= self.p_BA
        d *= -np.reshape(g, (-1, 1))
        return d

    def kl_from(self, old: NumpyCategorical) -> Array:
        """KL(old || this), [B]."""
        return np.add.reduce(old.p_BA * (old.logp_BA - self.logp_BA), axis=1)

    def d_kl_from(self, old: NumpyCategorical, g: Array | float) -> Array:
        """d KL / d logits = p - p_old."""
        return (self.p_BA - old.p_BA) * np.reshape(g, (-1, 1))


class NumpyDiagGaussian:
    """Means and logarithms of standard deviations, [B, 2 D]; actions are float32 [B, D]."""

    def __init__(self, inputs: Array) -> None:
        self.inputs = inputs
        d = inputs.shape[1] // 2
        self.mean_BD, self.log_std_BD = inputs[:, :d], inputs[:, d:]
        self.std_BD = np.exp(self.log_std_BD)

    def sample(self, rng: np.random.Generator) -> Array:
        """[B, D]."""
        return self.mean_BD + self.std_BD * rng.standard_normal(self.mean_BD.shape, dtype=np.float32)

    def deterministic_sample(self) -> Array:
        """The mean."""
        return self.mean_BD.copy()

    def _z(self, actions: Array) -> Array:
        return (actions - self.mean_BD) / self.std_BD

    def logp(self, actions: Array) -> Array:
        """[B]."""
        z = self._z(actions)
        return np.float32(-0.5) * (z * z + 2.0 * self.log_std_BD + _LOG_2PI).sum(axis=1)

    def d_logp(self, actions: Array, g: Array) -> Array:
        """d logp / d mean = z / std; d logp / d log_std = z^2 - 1."""
        z = self._z(actions)
        return np.concatenate([z / self.std_BD, z * z - 1.0], axis=1) * g[:, None]

    def entropy(self) -> Array:
        """[B]."""
        return (self.log_std_BD + np.float32(0.5) * (1.0 + _LOG_2PI)).sum(axis=1)

    def d_entropy(self, g: Array | float) -> Array:
        """d H / d log_std = 1."""
        d = np.zeros_like(self.inputs)
        d[:, self.mean_BD.shape[1] :] = np.reshape(g, (-1, 1))
        return d

    def kl_from(self, old: NumpyDiagGaussian) -> Array:
        """KL(old || this), [B]."""
        spread = (np.square(old.std_BD) + np.square(old.mean_BD - self.mean_BD)) / (2.0 * np.square(self.std_BD))
        return (self.log_std_BD - old.log_std_BD + spread - np.float32(0.5)).sum(axis=1)

    def d_kl_from(self, old: NumpyDiagGaussian, g: Array | float) -> Array:
        """By mean: (mean - mean_old) / std^2; by log_std: 1 - (std_old^2 + (mean - mean_old)^2) / std^2."""
        variance, apart = np.square(self.std_BD), self.mean_BD - old.mean_BD
        by_std = 1.0 - (np.square(old.std_BD) + apart * apart) / variance
        return np.concatenate([apart / variance, by_std], axis=1) * np.reshape(g, (-1, 1))


class NumpyDeterministic:
    """The inputs are the actions, [B, D]."""

    def __init__(self, inputs: Array) -> None:
        self.inputs = inputs

    def sample(self, rng: np.random.Generator) -> Array:
        """The inputs."""
        return self.inputs.copy()

    def deterministic_sample(self) -> Array:
        """The inputs."""
        return self.inputs.copy()

    def logp(self, actions: Array) -> Array:
        """0, as of all that is certain."""
        return np.zeros(len(self.inputs), np.float32)
