"""DQN's network in TensorFlow 2: layers for Q-values behind any model of the catalog."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from aktis.rllib._backend import tf_ops
from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.algorithms.dqn._q_network import QNetwork
from aktis.rllib.models.modelv2 import DenseLayer, DenseNetwork
from aktis.rllib.models.tf.misc import Dense, activation_function, initializer
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.models.utils import activation_name

Tensor = Any

__all__ = ["DQNTFModel", "NoisyLayer"]


class NoisyLayer(Part):
    """y = (mu_w + sigma_w * eps_w) x + mu_b + sigma_b * eps_b, with factorised noise (Fortunato et al. 2018, equations 9 to 11).

    Args:
        in_size: Inputs p.
        out_size: Outputs q.
        sigma0: Initial standard deviation; divided by the root of p.
        activation_fn: Applied to y.

    Attributes:
        noise: False for y of the means.
    """

    def __init__(self, in_size: int, out_size: int, sigma0: float = 0.5, activation_fn: Any = None) -> None:
        self._bound = 1.0 / math.sqrt(in_size)  # section 3.2, (b)
        fill = _uniform(self._bound)
        self.weight = tf.Variable(fill((out_size, in_size)))
        self.bias = tf.Variable(tf.reshape(fill((out_size, 1)), (-1,)))
        self.sigma_weight = tf.Variable(tf.fill((out_size, in_size), sigma0 * self._bound))
        self.sigma_bias = tf.Variable(tf.fill((out_size,), sigma0 * self._bound))
        self.noise = True
        self.generator: Any = None
        self._activation = activation_function(activation_fn)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, in_size] to [B, out_size]."""
        weight, bias = self.weight, self.bias
        if self.noise:
            eps_in, eps_out = self._draw(weight.shape[1]), self._draw(weight.shape[0])
            weight = weight + self.sigma_weight * (eps_out[:, None] * eps_in[None, :])
            bias = bias + self.sigma_bias * eps_out
        y = tf.matmul(x, weight, transpose_b=True) + bias
        return y if self._activation is None else self._activation(y)

    def _draw(self, size: int) -> Tensor:
        """f(x) = sign(x) sqrt(|x|) of normal numbers."""
        x = tf_ops.normal((size,), self.generator)
        return tf.sign(x) * tf.sqrt(tf.abs(x))


class LayerNorm(Part):
    """Mean 0 and deviation 1 of each row, then a scale and a shift for each number."""

    def __init__(self, size: int) -> None:
        self.weight = tf.Variable(tf.ones((size,)))
        self.bias = tf.Variable(tf.zeros((size,)))

    def __call__(self, x: Tensor) -> Tensor:
        """[B, size] to [B, size]."""
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + 1e-5) * self.weight + self.bias


class Stream(list[Any]):
    """Layers one after the other. As a list, so that its variables have the names that they have in PyTorch."""

    def __call__(self, x: Tensor) -> Tensor:
        """[B, n] to [B, m]."""
        for layer in self:
            x = layer(x)
        return x


class DQNTFModel(QNetwork, TFModelV2):
    """An interface for `ModelCatalog.get_model_v2(model_interface=DQNTFModel)`: the catalog's model makes features,
    and this the rest.

    Args:
        obs_space, action_space, num_outputs, model_config, name: As for TFModelV2.
        q_hiddens: Hidden layers of each stream; None: the model's output is the Q-values.
        dueling: One stream for the value, and one for advantages.
        dueling_activation: Activation of hidden layers.
        num_atoms: Points of the distribution of returns.
        use_noisy: Noisy layers.
        v_min: The first point.
        v_max: The last point.
        sigma0: Of noisy layers.
        add_layer_norm: Normalises after each hidden layer, as exploration with parameter noise needs (Plappert et al. 2018).
        **kwargs: For the model of the catalog (`custom_model_config`).
    """

    ops = tf_ops

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        *,
        q_hiddens: Sequence[int] | None = (256,),
        dueling: bool = False,
        dueling_activation: str = "relu",
        num_atoms: int = 1,
        use_noisy: bool = False,
        v_min: float = -10.0,
        v_max: float = 10.0,
        sigma0: float = 0.5,
        add_layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name, **kwargs)
        self.num_atoms = num_atoms
        self.num_actions = int(action_space.n)
        self.support = np.linspace(v_min, v_max, num_atoms, dtype=np.float32)
        self.advantage = self.state_value = None
        if q_hiddens is not None:
            features, sigma = int(self.num_outputs or 0), (sigma0 if use_noisy else None)
            make = _Streams(features, q_hiddens, dueling_activation, sigma, add_layer_norm)
            self.advantage = make.stream(self.num_actions * num_atoms)
            self.state_value = make.stream(num_atoms) if dueling else None
        streams = [stream for stream in (self.advantage, self.state_value) if stream is not None]
        self._noisy_layers = [layer for stream in streams for layer in stream if isinstance(layer, NoisyLayer)]

    def layers(self) -> None:
        """None: behind the dense layers of the features are streams that are put together."""
        return

    def feature_layers(self) -> DenseNetwork | None:
        """The dense layers that make the features; None for other networks."""
        found: DenseNetwork | None = super().layers()
        return found

    def stream_layers(self) -> tuple[list[DenseLayer] | None, list[DenseLayer] | None]:
        """The dense layers of the advantages and of the value (None where there is no such stream).

        Raises:
            ValueError: they have other layers than dense ones.
        """
        return _dense(self.advantage), _dense(self.state_value)


class _Streams:
    """Makes the stacks of layers behind the features."""

    def __init__(
        self, features: int, hiddens: Sequence[int], activation_fn: str, sigma0: float | None, norm: bool
    ) -> None:
        self.features, self.hiddens, self.activation, self.sigma0, self.norm = (
            features,
            list(hiddens),
            activation_fn,
            sigma0,
            norm,
        )

    def stream(self, outputs: int) -> Stream:
        """Hidden layers and a linear one, or noisy ones."""
        layers: list[Any] = []
        size = self.features
        for width in self.hiddens:
            layers.append(self._dense(size, width, self.activation))
            if self.norm:
                layers.append(LayerNorm(width))
            size = width
        return Stream([*layers, self._dense(size, outputs, None)])

    def _dense(self, size: int, width: int, activation_fn: str | None) -> Any:
        if self.sigma0 is not None:
            return NoisyLayer(size, width, self.sigma0, activation_fn)
        return Dense(size, width, _uniform(1.0 / math.sqrt(size)), activation_fn)


def _uniform(bound: float) -> Any:
    """Uniform weights: those of Xavier, brought to another bound."""
    xavier = initializer("xavier_uniform")

    def fill(shape: Sequence[int]) -> Any:
        of_xavier = math.sqrt(6.0 / (shape[0] + shape[1]))
        return np.asarray(xavier(shape) * (bound / of_xavier), np.float32)

    return fill


def _dense(stream: Stream | None) -> list[DenseLayer] | None:
    if stream is None:
        return None
    if not all(isinstance(layer, Dense) for layer in stream):
        raise ValueError("layers that are not dense")
    return [DenseLayer(layer.weight, layer.bias, activation_name(layer.activation_name)) for layer in stream]
