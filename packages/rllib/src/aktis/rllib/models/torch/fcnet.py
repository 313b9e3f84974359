"""The fully connected network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import nn

from aktis.rllib.models._widths import hidden_layers, means_of
from aktis.rllib.models.modelv2 import DenseLayer, DenseNetwork
from aktis.rllib.models.torch.misc import ORTHOGONAL_GAIN, SlimFC, activation, initializer
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2
from aktis.rllib.models.utils import activation_name

Tensor = Any


class FullyConnectedNetwork(TorchModelV2, nn.Module):  # type: ignore[misc]
    """Hidden layers, a head for the policy, and one for the value: on the same layers (``vf_share_layers``), or on
    layers of its own.

    With ``num_outputs`` None it returns the last hidden layer, and has a value head all the same. The forward pass is
    one linear map and one activation for each layer, and nothing else: for networks of this size calling a torch
    function costs more than its arithmetic.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str = "fcnet",
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
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

        self._policy_calls = _calls(self.hidden)
        self._value_calls = _calls(self.value_hidden or ())
        self._features: Tensor | None = None
        self._inputs: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, n] observations to [B, num_outputs]."""
        x = input_dict["obs_flat"]
        if x.dtype is not torch.float32:
            x = x.float()
        kept = self.__dict__  # torch.nn.Module.__setattr__ takes as long as a layer
        kept["_inputs"] = x
        for weight, bias, act in self._policy_calls:
            x = F.linear(x, weight, bias)
            if act is not None:
                x = act(x)
        kept["_features"] = x
        if self.logits is not None:
            x = F.linear(x, self.logits.weight, self.logits.bias)
        if self.log_std is not None:
            x = torch.cat([x, self.log_std.expand(x.shape[0], -1)], dim=1)
        return x, state

    def value_function(self) -> Tensor:
        """[B]; it is evaluated only when it is asked for."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        x = self._features if self.vf_share_layers else self._inputs
        for weight, bias, act in self._value_calls:
            x = F.linear(x, weight, bias)
            if act is not None:
                x = act(x)
        return F.linear(x, self.value.weight, self.value.bias).squeeze(1)

    def layers(self) -> DenseNetwork | None:
        hidden = _plain(self.hidden)
        if hidden is None:
            return None  # an activation of one's own: only torch knows it
        head = [DenseLayer(self.logits.weight, self.logits.bias, "linear")] if self.logits is not None else []
        value = [DenseLayer(self.value.weight, self.value.bias, "linear")]
        if self.vf_share_layers:
            return DenseNetwork(hidden, head, value, self.log_std)
        return DenseNetwork([], hidden + head, (_plain(self.value_hidden) or []) + value, self.log_std)


class Layers:
    """Makes dense layers as the model configuration says."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = config.get("fcnet_weights_initializer")
        self._kwargs = dict(config.get("fcnet_weights_initializer_config") or {})

    def stack(self, in_size: int, widths: Sequence[int], activations: Sequence[Any]) -> nn.ModuleList:
        """Hidden layers, one behind the other."""
        made = []
        fill = initializer(self._name, ORTHOGONAL_GAIN if self._name == "orthogonal" else None, **self._kwargs)
        for width, act in zip(widths, activations):
            made.append(SlimFC(in_size, width, fill, act))
            in_size = width
        return nn.ModuleList(made)

    def head(self, in_size: int, out_size: int, policy: bool) -> SlimFC:
        """A linear layer that gives logits or a value."""
        if self._name == "orthogonal":
            fill = initializer("orthogonal", 0.01 if policy else 1.0)
        elif self._name in (None, "normc", "normc_initializer"):
            fill = initializer("normc", 0.01)
        else:
            fill = initializer(self._name, **self._kwargs)
        return SlimFC(in_size, out_size, fill)

    def output(self, in_size: int, num_outputs: int | None, config: dict[str, Any]) -> tuple[SlimFC | None, Any]:
        """The policy's head, and the log standard deviations that are appended to what it gives; None where there is none."""
        if num_outputs is None:
            return None, None
        free = bool(config.get("free_log_std"))
        means = means_of(num_outputs, free)
        return self.head(in_size, means, policy=True), nn.Parameter(torch.zeros(means)) if free else None


def _calls(layers: Any) -> list[tuple[Any, Any, Any]]:
    # Looking parameters up in modules is as slow as small arithmetic; the parameters themselves stay the same objects.
    return [(layer.weight, layer.bias, activation(layer.activation_name)) for layer in layers]


def _plain(layers: Any) -> list[DenseLayer] | None:
    plain = []
    for layer in layers:
        if callable(layer.activation_name):
            return None
        plain.append(DenseLayer(layer.weight, layer.bias, activation_name(layer.activation_name)))
    return plain
