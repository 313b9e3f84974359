"""The fully connected network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib.models._widths import hidden_layers, means_of
from aktis.rllib.models.modelv2 import DenseLayer, DenseNetwork
from aktis.rllib.models.tf.misc import ORTHOGONAL_GAIN, Dense, initializer
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.models.utils import activation_name

Tensor = Any


class FullyConnectedNetwork(TFModelV2):
    """Hidden layers, a head for the policy, and one for the value: on the same layers (``vf_share_layers``), or on
    layers of its own.

    With ``num_outputs`` None it returns the last hidden layer, and has a value head all the same.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str = "fcnet",
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        in_size = int(np.prod(obs_space.shape, dtype=np.int64))
        widths, acts = hidden_layers(model_config)
        make = Layers(model_config)
        no_head = num_outputs is None or bool(model_config.get("no_final_linear"))
        policy_widths = widths
        if num_outputs is not None and no_head:
            if not widths:
                raise ValueError(
                    "no_final_linear needs hidden layers, the last of which gives the outputs: fcnet_hiddens is empty."
                )
            policy_widths = [*widths[:-1], means_of(num_outputs, bool(model_config.get("free_log_std")))]
        features = policy_widths[-1] if widths else in_size
        self.hidden = make.stack(in_size, policy_widths, acts)
        self.logits, self.log_std = make.output(features, num_outputs, model_config)
        if no_head:
            self.logits = None
        self.vf_share_layers = bool(model_config.get("vf_share_layers"))
        self.value_hidden = None if self.vf_share_layers else make.stack(in_size, widths, acts)
        value_in = features if self.vf_share_layers or not widths else widths[-1]
        self.value = make.head(value_in, 1, policy=False)
        self.num_outputs = features if num_outputs is None else num_outputs
        self._features: Tensor | None = None
        self._inputs: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, n] observations to [B, num_outputs]."""
        self._inputs = tf.cast(input_dict["obs_flat"], tf.float32)
        self._features = through(self.hidden, self._inputs)
        out = self._features if self.logits is None else self.logits(self._features)
        return append_log_std(out, self.log_std), state

    def value_function(self) -> Tensor:
        """[B]; it is evaluated only when it is asked for."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        x = self._features if self.value_hidden is None else through(self.value_hidden, self._inputs)
        return tf.squeeze(self.value(x), 1)

    def layers(self) -> DenseNetwork | None:
        hidden = _plain(self.hidden)
        if hidden is None:
            return None  # an activation of one's own: only TensorFlow knows it
        head = [DenseLayer(self.logits.weight, self.logits.bias, "linear")] if self.logits is not None else []
        value = [DenseLayer(self.value.weight, self.value.bias, "linear")]
        if self.value_hidden is None:
            return DenseNetwork(hidden, head, value, self.log_std)
        return DenseNetwork([], hidden + head, (_plain(self.value_hidden) or []) + value, self.log_std)


def through(layers: Any, x: Tensor) -> Tensor:
    """One layer after the other."""
    for layer in layers:
        x = layer(x)
    return x


def append_log_std(out: Tensor, log_std: Any) -> Tensor:
    """Means [B, D] with the state-independent log standard deviations behind them; as they are without."""
    if log_std is None:
        return out
    return tf.concat([out, tf.broadcast_to(log_std, tf.shape(out))], axis=-1)


class Layers:
    """Makes dense layers as the model configuration says."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = config.get("fcnet_weights_initializer")
        self._kwargs = dict(config.get("fcnet_weights_initializer_config") or {})

    def stack(self, in_size: int, widths: Sequence[int], activations: Sequence[Any]) -> list[Dense]:
        """Hidden layers."""
        made = []
        fill = initializer(self._name, ORTHOGONAL_GAIN if self._name == "orthogonal" else None, **self._kwargs)
        for width, act in zip(widths, activations):
            made.append(Dense(in_size, width, fill, act))
            in_size = width
        return made

    def head(self, in_size: int, out_size: int, policy: bool) -> Dense:
        """The last layer of the policy, or of the value."""
        if self._name == "orthogonal":
            fill = initializer("orthogonal", 0.01 if policy else 1.0)
        elif self._name in (None, "normc", "normc_initializer"):
            fill = initializer("normc", 0.01)
        else:
            fill = initializer(self._name, **self._kwargs)
        return Dense(in_size, out_size, fill)

    def output(self, in_size: int, num_outputs: int | None, config: dict[str, Any]) -> tuple[Dense | None, Any]:
        """The policy's head, and the log standard deviations that are appended to what it gives; None where there is none."""
        if num_outputs is None:
            return None, None
        free = bool(config.get("free_log_std"))
        means = means_of(num_outputs, free)
        return self.head(in_size, means, policy=True), tf.Variable(tf.zeros((means,))) if free else None


def _plain(layers: Any) -> list[DenseLayer] | None:
    if any(callable(layer.activation_name) for layer in layers):
        return None
    return [DenseLayer(layer.weight, layer.bias, activation_name(layer.activation_name)) for layer in layers]
