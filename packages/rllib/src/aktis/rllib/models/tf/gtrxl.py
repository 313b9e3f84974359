"""The gated transformer of Parisotto et al. (2019), as in `aktis.rllib.models.torch.modules.gtrxl`, with the same weights.

Shapes: B sequences, T steps, M steps of memory, W = M + 1 steps of a window, H heads, D width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from aktis.rllib._backend import tf_ops
from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.models.tf.misc import Dense, LayerNorm, _rng

Tensor = Any


def _uniform(shape: Any) -> Any:
    """PyTorch's own initial weights of linear layers: uniform, 1 / sqrt(inputs)."""
    bound = 1.0 / math.sqrt(shape[1])
    return _rng().uniform(-bound, bound, size=shape).astype(np.float32)


def _linear(in_size: int, out_size: int, activation: Any = None, bias: bool = False) -> Dense:
    return Dense(in_size, out_size, _uniform, activation, use_bias=bias)


class RelativeAttention(Part):
    """Attention to a window of M + 1 steps, with positions relative to each step: Dai et al. (2019), section 3.3."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        self.num_heads, self.head_dim, self.width = num_heads, head_dim, width
        self.content_bias = tf.Variable(tf.zeros((num_heads, head_dim)))  # u
        self.position_bias = tf.Variable(tf.zeros((num_heads, head_dim)))  # v
        self.query = _linear(width, num_heads * head_dim)
        self.key_value = _linear(width, 2 * num_heads * head_dim)
        self.position = _linear(width, num_heads * head_dim)
        self.out = _linear(num_heads * head_dim, width)

    def __call__(self, x_BTD: Tensor, memory_BMD: Tensor, valid_BM: Tensor) -> Tensor:
        """[B, T, D]."""
        batch, steps, _ = tf_ops.shape(x_BTD)
        window = int(memory_BMD.shape[1]) + 1
        heads = (self.num_heads, self.head_dim)
        both = tf.concat([memory_BMD, x_BTD], axis=1)
        query = tf.reshape(self.query(x_BTD), (batch, steps, *heads))
        key, value = tf.unstack(tf.reshape(self.key_value(both), (batch, -1, 2, *heads)), axis=2)
        # Of each step the window that ends with it.
        index_TW = tf.range(steps)[:, None] + tf.range(window)[None]
        key_w, value_w = tf.gather(key, index_TW, axis=1), tf.gather(value, index_TW, axis=1)  # [B, T, W, H, d]
        position = tf.reshape(self.position(sinusoids(window, self.width)), (window, *heads))
        content = tf.einsum("bthd,btwhd->bthw", query + self.content_bias, key_w)
        relative = tf.einsum("bthd,whd->bthw", query + self.position_bias, position)
        scores = (content + relative) / math.sqrt(self.head_dim)
        valid = tf.concat([valid_BM, tf.ones((batch, steps), tf.bool)], axis=1)
        valid_w = tf.gather(valid, index_TW, axis=1)[:, :, None]  # [B, T, 1, W]
        scores = tf.where(valid_w, scores, -1e30)
        attended = tf.einsum("bthw,btwhd->bthd", tf.nn.softmax(scores, axis=-1), value_w)
        return self.out(tf.reshape(attended, (batch, steps, self.num_heads * self.head_dim)))


def sinusoids(window: int, width: int) -> Any:
    """Encodings [window, width] of the distances window - 1, ..., 1, 0: Vaswani et al. (2017), section 3.5."""
    distance: Any = np.arange(window - 1, -1, -1, dtype=np.float32)[:, None]
    rate = np.exp(np.arange(0, width, 2, dtype=np.float32) * (-math.log(10000.0) / width))
    angles = distance * rate
    return tf.constant(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width], tf.float32)


class GRUGate(Part):
    """Lets through x, or what a layer made of it (y): Parisotto et al. (2019), section 3.2."""

    def __init__(self, width: int, bias: float) -> None:
        self.bias = tf.Variable(tf.fill((width,), float(bias)))
        self.of_y = _linear(width, 3 * width)  # W_r, W_z, W_g
        self.of_x = _linear(width, 2 * width)  # U_r, U_z
        self.of_rx = _linear(width, width)  # U_g

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The same shape as x and y."""
        y_r, y_z, y_g = tf.split(self.of_y(y), 3, axis=-1)
        x_r, x_z = tf.split(self.of_x(x), 2, axis=-1)
        r = tf.sigmoid(y_r + x_r)
        z = tf.sigmoid(y_z + x_z - self.bias)
        h = tf.tanh(y_g + self.of_rx(r * x))
        return (1.0 - z) * x + z * h


class TransformerUnit(Part):
    """Attention and a position-wise network, each behind a normalisation and before a gate."""

    def __init__(self, width: int, num_heads: int, head_dim: int, mlp_width: int, gate_bias: float) -> None:
        self.attention_norm = LayerNorm(width)
        self.attention = RelativeAttention(width, num_heads, head_dim)
        self.attention_gate = GRUGate(width, gate_bias)
        # The second has no weights; it keeps the names those of PyTorch's.
        self.mlp = [
            LayerNorm(width),
            _linear(width, mlp_width, "relu", True),
            [],
            _linear(mlp_width, width, None, True),
        ]
        self.mlp_gate = GRUGate(width, gate_bias)

    def __call__(self, x_BTD: Tensor, memory_BMD: Tensor, valid_BM: Tensor) -> Tensor:
        """[B, T, D]."""
        y = self.attention(self.attention_norm(x_BTD), self.attention_norm(memory_BMD), valid_BM)
        x = self.attention_gate(x_BTD, tf.nn.relu(y))
        norm, first, _, second = self.mlp
        return self.mlp_gate(x, tf.nn.relu(second(first(norm(x)))))  # type: ignore[operator]


class GTrXL(Part):
    """A stack of transformer units, each with a memory of what came into it."""

    def __init__(
        self,
        in_size: int,
        num_units: int,
        width: int,
        num_heads: int,
        head_dim: int,
        mlp_width: int,
        gate_bias: float,
        memory: int,
        memory_training: int,
    ) -> None:
        if min(num_units, width, num_heads, head_dim, mlp_width) < 1 or min(memory, memory_training) < 0:
            raise ValueError(
                f"The sizes of a GTrXL are positive: {num_units} units, width {width}, {num_heads} heads of width "
                f"{head_dim}, inner width {mlp_width}, memory {memory} ({memory_training} in training)."
            )
        self.width, self.memory, self.memory_training = width, memory, min(memory, memory_training)
        self.embed = _linear(in_size, width, None, True)
        self.units = [TransformerUnit(width, num_heads, head_dim, mlp_width, gate_bias) for _ in range(num_units)]

    def __call__(self, x_BTN: Tensor, memories: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """[B, T, n] and a memory [B, M, D] of each unit to [B, T, D] and new memories."""
        x, new = self.embed(x_BTN), []
        steps = x_BTN.shape[1]
        for unit, memory in zip(self.units, memories):
            memory = tf.stop_gradient(tf.ensure_shape(memory, (None, self.memory, self.width)))
            both = tf.concat([memory, tf.stop_gradient(x)], axis=1)
            new.append(both[:, tf.shape(both)[1] - self.memory :])
            if steps != 1 and self.memory_training < self.memory:
                memory = memory[:, self.memory - self.memory_training :]
            x = unit(x, memory, tf.reduce_max(tf.abs(memory), axis=-1) > 0.0)
        return x, new
