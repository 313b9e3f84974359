"""A dense layer with noise that is learned: exploration for DQN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from aktis.rllib._backend import tf_ops
from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.models.tf.misc import _rng, activation_function

Tensor = Any


class NoisyLayer(Part):
    """A dense layer whose weights are ``mu + sigma * noise``, with factorised noise: Fortunato et al. (2018), "Noisy
    Networks", section 3.

    The noise is drawn anew at every call, from `generator` where there is one. Without noise: `noise` False.

    Args:
        in_size: Inputs.
        out_size: Outputs.
        sigma0: The noise's size at the beginning (0.5 in the paper).
        activation: Its name, or None.
    """

    def __init__(self, in_size: int, out_size: int, sigma0: float = 0.5, activation: Any = "relu") -> None:
        self._in_size, self._out_size = int(in_size), int(out_size)
        bound = 1.0 / math.sqrt(self._in_size)  # section 3.2
        rng = _rng()
        self.weight = tf.Variable(rng.uniform(-bound, bound, (self._out_size, self._in_size)).astype(np.float32))
        self.bias = tf.Variable(rng.uniform(-bound, bound, (self._out_size,)).astype(np.float32))
        self.sigma_weight = tf.Variable(tf.fill((self._out_size, self._in_size), sigma0 * bound))
        self.sigma_bias = tf.Variable(tf.fill((self._out_size,), sigma0 * bound))
        self.noise = True
        self.generator: Any = None
        self._activation = activation_function(activation)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, in_size] to [B, out_size]."""
        weight, bias = self.weight, self.bias
        if self.noise:
            noise_in, noise_out = self._draw(self._in_size), self._draw(self._out_size)
            weight = weight + self.sigma_weight * (noise_out[:, None] * noise_in[None])
            bias = bias + self.sigma_bias * noise_out
        x = tf.matmul(x, weight, transpose_b=True) + bias
        return x if self._activation is None else self._activation(x)

    def _draw(self, size: int) -> Tensor:
        noise = tf_ops.normal((size,), self.generator)
        return tf.sign(noise) * tf.sqrt(tf.abs(noise))  # f(x) of equation 10
