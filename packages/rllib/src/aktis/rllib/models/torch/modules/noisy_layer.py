"""A dense layer with noise that is learned: exploration for DQN."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from aktis.rllib.models.torch.misc import activation as activation_function

Tensor = Any


class NoisyLayer(nn.Module):  # type: ignore[misc]
    """A dense layer whose weights are ``mu + sigma * noise``, with factorised noise: Fortunato et al. (2018), "Noisy
    Networks", section 3.

    The noise is drawn anew at every call, from `generator` where there is one. Without noise: `noisy` False.

    Args:
        in_size: Inputs.
        out_size: Outputs.
        sigma0: The noise's size at the beginning (0.5 in the paper).
        activation: Its name.
    """

    def __init__(self, in_size: int, out_size: int, sigma0: float, activation: str = "relu") -> None:
        super().__init__()
        self.in_size, self.out_size, self.sigma0 = int(in_size), int(out_size), float(sigma0)
        self.activation = activation
        self._activation = activation_function(activation)
        self.generator: Any = None
        self.noisy = True
        bound = 1.0 / math.sqrt(self.in_size)  # section 3.2
        self.weight = nn.Parameter(torch.empty(self.out_size, self.in_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(self.out_size).uniform_(-bound, bound))
        self.sigma_weight = nn.Parameter(torch.full((self.out_size, self.in_size), self.sigma0 * bound))
        self.sigma_bias = nn.Parameter(torch.full((self.out_size,), self.sigma0 * bound))

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_size] to [B, out_size]."""
        weight, bias = self.weight, self.bias
        if self.noisy:
            noise_in, noise_out = self._noise(self.in_size, x), self._noise(self.out_size, x)
            weight = weight + self.sigma_weight * torch.outer(noise_out, noise_in)
            bias = bias + self.sigma_bias * noise_out
        x = F.linear(x, weight, bias)
        return x if self._activation is None else self._activation(x)

    def _noise(self, size: int, like: Tensor) -> Tensor:
        noise = torch.randn(size, generator=self.generator, device=like.device)
        return noise.sign() * noise.abs().sqrt()  # f(x) of equation 10
