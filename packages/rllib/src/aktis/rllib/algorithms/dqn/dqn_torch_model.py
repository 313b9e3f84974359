"""DQN's network in PyTorch: layers for Q-values behind any model of the catalog."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from aktis.rllib._backend import torch_ops
from aktis.rllib.algorithms.dqn._q_network import QNetwork
from aktis.rllib.models.modelv2 import DenseLayer, DenseNetwork
from aktis.rllib.models.torch.misc import SlimFC, activation
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2
from aktis.rllib.models.utils import activation_name

Tensor = Any

__all__ = ["DQNTorchModel", "NoisyLayer"]


class NoisyLayer(nn.Module):  # type: ignore[misc]
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
        super().__init__()
        bound = 1.0 / math.sqrt(in_size)  # section 3.2, (b)
        self.weight = nn.Parameter(torch.empty(out_size, in_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_size).uniform_(-bound, bound))
        self.sigma_weight = nn.Parameter(torch.full((out_size, in_size), sigma0 * bound))
        self.sigma_bias = nn.Parameter(torch.full((out_size,), sigma0 * bound))
        self.noise = True
        self.generator: Any = None
        self._activation = activation(activation_fn)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_size] to [B, out_size]."""
        weight, bias = self.weight, self.bias
        if self.noise:
            eps_in, eps_out = self._draw(weight.shape[1]), self._draw(weight.shape[0])
            weight = weight + self.sigma_weight * torch.outer(eps_out, eps_in)
            bias = bias + self.sigma_bias * eps_out
        y = F.linear(x, weight, bias)
        return y if self._activation is None else self._activation(y)

    def _draw(self, size: int) -> Tensor:
        """f(x) = sign(x) sqrt(|x|) of normal numbers."""
        x = torch.randn(size, device=self.weight.device, generator=self.generator)
        return x.sign() * x.abs().sqrt()


class DQNTorchModel(QNetwork, TorchModelV2, nn.Module):  # type: ignore[misc]
    """An interface for `ModelCatalog.get_model_v2(model_interface=DQNTorchModel)`: the catalog's model makes
    features, and this the rest.

    Args:
        obs_space, action_space, num_outputs, model_config, name: As for TorchModelV2.
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

    ops = torch_ops

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
            make = _Streams(
                int(self.num_outputs or 0), q_hiddens, dueling_activation, sigma0 if use_noisy else None, add_layer_norm
            )
            self.advantage = make.stream(self.num_actions * num_atoms)
            self.state_value = make.stream(num_atoms) if dueling else None
        self._noisy_layers = [layer for layer in self.modules() if isinstance(layer, NoisyLayer)]
        self._atoms = torch.from_numpy(self.support)

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

    def atoms(self) -> Tensor:
        """z, the points of the distribution of returns. [N]"""
        device = next(self.parameters()).device
        if self._atoms.device != device:
            self._atoms = self._atoms.to(device)
        return self._atoms


class _Streams:
    """Makes the stacks of layers behind the features."""

    def __init__(
        self, features: int, hiddens: Sequence[int], activation_name: str, sigma0: float | None, layer_norm: bool
    ) -> None:
        self.features, self.hiddens, self.activation, self.sigma0, self.layer_norm = (
            features,
            list(hiddens),
            activation_name,
            sigma0,
            layer_norm,
        )

    def stream(self, outputs: int) -> nn.Sequential:
        """Hidden layers and a linear one, or noisy ones."""
        layers: list[nn.Module] = []
        size = self.features
        for width in self.hiddens:
            layers += self._dense(size, width, self.activation)
            if self.layer_norm:
                layers.append(nn.LayerNorm(width))
            size = width
        return nn.Sequential(*layers, *self._dense(size, outputs, None))

    def _dense(self, size: int, width: int, activation_fn: str | None) -> list[nn.Module]:
        if self.sigma0 is not None:
            return [NoisyLayer(size, width, self.sigma0, activation_fn)]
        return [SlimFC(size, width, _uniform, activation_fn)]


def _uniform(weight: Tensor) -> None:
    """PyTorch's own initial weights of linear layers: uniform, 1 / sqrt(inputs)."""
    bound = 1.0 / math.sqrt(weight.shape[1])
    nn.init.uniform_(weight, -bound, bound)


def _dense(stream: nn.Sequential | None) -> list[DenseLayer] | None:
    if stream is None:
        return None
    if not all(isinstance(layer, SlimFC) for layer in stream):
        raise ValueError("layers that are not dense")
    return [DenseLayer(layer.weight, layer.bias, activation_name(layer.activation_name)) for layer in stream]
