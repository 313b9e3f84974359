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
from aktis.rllib.models.tf.layers.noisy_layer import NoisyLayer
from aktis.rllib.models.tf.misc import Dense, LayerNorm, _rng
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.models.utils import activation_name

Tensor = Any

__all__ = ["DQNTFModel", "NoisyLayer"]


class DQNTFModel(QNetwork, TFModelV2):
    """An interface for `ModelCatalog.get_model_v2(model_interface=DQNTFModel)`: the catalog's model makes features, and this the rest.

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
            sigma = sigma0 if use_noisy else None
            sizes = (int(self.num_outputs or 0), list(q_hiddens))
            self.advantage = _Stream(*sizes, self.num_actions * num_atoms, dueling_activation, sigma, add_layer_norm)
            if dueling:
                self.state_value = _Stream(*sizes, num_atoms, dueling_activation, sigma, add_layer_norm)
        streams = [stream for stream in (self.advantage, self.state_value) if stream is not None]
        self._noisy_layers = [layer for stream in streams for layer in stream.layers if isinstance(layer, NoisyLayer)]

    def layers(self) -> None:
        """None: behind the dense layers of the features are streams that are put together."""
        return None

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


class _Stream(Part):
    """Hidden layers and a linear one, or noisy ones. The names of variables are those of PyTorch's ("advantage.0.weight")."""

    def __init__(
        self, features: int, hiddens: list[int], outputs: int, activation: str, sigma0: float | None, layer_norm: bool
    ) -> None:
        layers: list[Any] = []
        size = features
        for width in hiddens:
            layers.append(_layer(size, width, activation, sigma0))
            if layer_norm:
                layers.append(LayerNorm(width))
            size = width
        layers.append(_layer(size, outputs, None, sigma0))
        for index, layer in enumerate(layers):
            setattr(self, str(index), layer)

    @property
    def layers(self) -> list[Any]:
        """In order."""
        return list(vars(self).values())

    def __call__(self, x: Tensor) -> Tensor:
        """[B, features] to [B, outputs]."""
        for layer in vars(self).values():
            x = layer(x)
        return x


def _layer(size: int, width: int, activation: str | None, sigma0: float | None) -> Any:
    return Dense(size, width, _uniform, activation) if sigma0 is None else NoisyLayer(size, width, sigma0, activation)


def _uniform(shape: Any) -> Any:
    """Uniform, 1 / sqrt(inputs): PyTorch's own initial weights of linear layers."""
    bound = 1.0 / math.sqrt(shape[1])
    return tf.constant(_rng().uniform(-bound, bound, size=shape).astype(np.float32))


def _dense(stream: _Stream | None) -> list[DenseLayer] | None:
    if stream is None:
        return None
    if not all(isinstance(layer, Dense) for layer in stream.layers):
        raise ValueError("layers that are not dense")
    return [DenseLayer(layer.weight, layer.bias, activation_name(layer.activation_name)) for layer in stream.layers]
