"""Layers and initial weights. Weights have PyTorch's shapes and names, so that either framework loads what the other saved."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.models.utils import activation_name, pair

Tensor = Any
Initializer = Callable[[Sequence[int]], Any]

ORTHOGONAL_GAIN = math.sqrt(2.0)  # of hidden layers: "The 37 implementation details of PPO" (2022), core detail 2

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "elu": tf.nn.elu,
    "gelu": tf.nn.gelu,
    "silu": tf.nn.silu,
    "softplus": tf.math.softplus,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.01),
}


def activation_function(name: Any) -> Callable[[Tensor], Tensor] | None:
    """The function with a name; None for "linear"."""
    return name if callable(name) else _FUNCTIONS.get(activation_name(name))


def _rng() -> np.random.Generator:
    # Python's generator is what Keras draws its seeds from, too: a policy that is seeded seeds it while it makes its model.
    return np.random.default_rng(random.getrandbits(63))


def normc_initializer(std: float = 1.0) -> Callable[..., Any]:
    """An initializer for layers of Keras, whose kernels are [in, out]: normal numbers, scaled so that the weights of
    each output have the norm ``std``."""

    def initialize(shape: Sequence[int], dtype: Any = None, **kwargs: Any) -> Any:
        return tf.convert_to_tensor(normc(std)((shape[1], shape[0])).T)

    return initialize


def normc(std: float = 1.0) -> Initializer:
    """The same for our layers, whose weights are [out, in]."""

    def initialize(shape: Sequence[int]) -> Any:
        drawn = _rng().normal(size=shape)
        return (drawn * (std / np.sqrt(np.square(drawn).sum(axis=1, keepdims=True)))).astype(np.float32)

    return initialize


def orthogonal(gain: float = 1.0) -> Initializer:
    """Orthogonal rows or columns of length ``gain``: Saxe et al. (2014)."""

    def initialize(shape: Sequence[int]) -> Any:
        rows, columns = shape[0], int(np.prod(shape[1:]))
        drawn = _rng().normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(drawn)
        q = q * np.sign(np.diag(r))
        return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)

    return initialize


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform numbers of variance 2 / (in + out): Glorot and Bengio (2010)."""

    def initialize(shape: Sequence[int]) -> Any:
        field = int(np.prod(shape[2:], dtype=np.int64))
        bound = gain * math.sqrt(6.0 / ((shape[0] + shape[1]) * field))
        return _rng().uniform(-bound, bound, size=shape).astype(np.float32)

    return initialize


def initializer(name: Any, gain: float | None = None, **kwargs: Any) -> Initializer:
    """The function that makes the weights of a shape: of "normc", "orthogonal", "xavier_uniform", a name of
    keras.initializers, or itself.

    Raises:
        ValueError: there is no such initializer.
    """
    if callable(name):
        return lambda shape: name(shape, **kwargs)
    known = str(name).rstrip("_") if name is not None else "normc"
    if known in ("normc", "normc_initializer"):
        return normc(kwargs.get("std", 1.0 if gain is None else gain))
    if known in ("orthogonal", "xavier_uniform", "glorot_uniform"):
        make = orthogonal if known == "orthogonal" else xavier_uniform
        return make(kwargs.get("gain", 1.0 if gain is None else gain))
    import keras

    try:
        found = keras.initializers.get({"class_name": known, "config": kwargs} if kwargs else known)
    except (ValueError, TypeError) as e:
        raise ValueError(
            f"Unknown initializer {name!r}: choose 'normc', 'orthogonal', 'xavier_uniform', a name of "
            "keras.initializers, or give a function."
        ) from e

    # Keras draws for [..., in, out]; ours are [out, in, ...].
    def initialize(shape: Sequence[int]) -> Any:
        drawn = np.asarray(found((*shape[2:], shape[1], shape[0])))
        return np.moveaxis(drawn, (-1, -2), (0, 1)).astype(np.float32)

    return initialize


class Dense(Part):
    """A linear layer with initial weights and an activation of one's choice.

    Args:
        in_size: Inputs.
        out_size: Outputs.
        initializer: Makes the weights [out_size, in_size]; None is Xavier uniform.
        activation_fn: A name, a function, or None.
        use_bias: Whether there is a bias.
        bias_init: Where it begins.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        initializer: Initializer | None = None,
        activation_fn: Any = None,
        use_bias: bool = True,
        bias_init: float = 0.0,
    ) -> None:
        make = initializer or xavier_uniform()
        self.weight = tf.Variable(make((int(out_size), int(in_size))), dtype=tf.float32)
        self.bias = tf.Variable(tf.fill((int(out_size),), float(bias_init))) if use_bias else None
        self.activation_name = activation_fn
        self._activation = activation_function(activation_fn)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, in_size] to [B, out_size]; axes before the last are kept."""
        if len(x.shape) != 2:
            x = tf.tensordot(x, self.weight, [[-1], [1]])
        else:
            x = tf.matmul(x, self.weight, transpose_b=True)
        if self.bias is not None:
            x = x + self.bias
        return x if self._activation is None else self._activation(x)


class Conv2d(Part):
    """A convolution [B, H, W, C] with padding, initial weights and an activation of one's choice.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel: Its size, or (height, width).
        stride: Its stride, or (vertical, horizontal).
        padding: None, or (left, right, top, bottom).
        initializer: Makes the kernel [out, in, height, width]; None is Xavier uniform.
        activation_fn: A name, a function, or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Sequence[int],
        stride: int | Sequence[int],
        padding: Any = None,
        initializer: Initializer | None = None,
        activation_fn: Any = "relu",
    ) -> None:
        make = initializer or xavier_uniform()
        self.conv = _Kernel(tf.Variable(make((out_channels, in_channels, *pair(kernel)))), out_channels)
        self._stride = pair(stride)
        self._padding = tuple(padding) if padding and any(padding) else None
        self._activation = activation_function(activation_fn)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, H, W, in_channels] to [B, H', W', out_channels]."""
        if self._padding is not None:
            left, right, top, bottom = self._padding
            x = tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])
        kernel = tf.transpose(self.conv.weight, (2, 3, 1, 0))
        x = tf.nn.conv2d(x, kernel, strides=self._stride, padding="VALID") + self.conv.bias
        return x if self._activation is None else self._activation(x)


class _Kernel(Part):
    """Weights of a convolution, under the names that they have in PyTorch."""

    def __init__(self, weight: Any, out_channels: int) -> None:
        self.weight = weight
        self.bias = tf.Variable(tf.zeros((out_channels,)))


class LayerNorm(Part):
    """Mean 0 and variance 1 of each row, then scaled and moved: Ba et al. (2016)."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.weight = tf.Variable(tf.ones((size,)))
        self.bias = tf.Variable(tf.zeros((size,)))
        self._eps = eps

    def __call__(self, x: Tensor) -> Tensor:
        """The same shape."""
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + self._eps) * self.weight + self.bias
