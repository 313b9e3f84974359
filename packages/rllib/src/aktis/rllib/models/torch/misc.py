"""Layers and initial weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from aktis.rllib.models.utils import activation_name, pair, same_padding

Tensor = Any

__all__ = [
    "AppendBiasLayer",
    "Reshape",
    "SlimConv2d",
    "SlimFC",
    "activation",
    "initializer",
    "normc_initializer",
    "same_padding",
]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "leaky_relu": F.leaky_relu,
}


def activation(name: Any) -> Callable[[Tensor], Tensor] | None:
    """The function with a name (or of a module class); None for "linear"."""
    if isinstance(name, type):
        return name()  # type: ignore[no-any-return]
    if callable(name):
        return name  # type: ignore[no-any-return]
    return _FUNCTIONS.get(activation_name(name))


def normc_initializer(std: float = 1.0) -> Callable[[Tensor], None]:
    """Normal numbers, scaled so that the weights of each output have the norm ``std``."""

    def initialize(tensor: Tensor) -> None:
        with torch.no_grad():
            tensor.normal_()
            tensor.mul_(std / tensor.square().sum(dim=1, keepdim=True).sqrt())

    return initialize


def initializer(name: Any, gain: float | None = None, **kwargs: Any) -> Callable[[Tensor], Any]:
    """The function that fills a tensor: of "normc", "orthogonal", a name of torch.nn.init (with or without its
    underscore), or itself.

    Raises:
        ValueError: there is no such initializer.
    """
    if callable(name):
        return (lambda tensor: name(tensor, **kwargs)) if kwargs else name
    if name in (None, "normc", "normc_initializer"):
        return normc_initializer(kwargs.get("std", 1.0 if gain is None else gain))
    if name == "orthogonal":
        kwargs.setdefault("gain", 1.0 if gain is None else gain)
    found = getattr(nn.init, f"{str(name).rstrip('_')}_", None)
    if found is None:
        raise ValueError(
            f"Unknown initializer {name!r}: choose 'normc', 'orthogonal', a name of torch.nn.init such as "
            f"'xavier_uniform_', or give a function."
        )
    return lambda tensor: found(tensor, **kwargs)


class SlimFC(nn.Linear):  # type: ignore[misc]
    """A linear layer with initial weights and an activation of one's choice.

    Args:
        in_size: Inputs.
        out_size: Outputs.
        initializer: Fills the weights; None is Xavier uniform.
        activation_fn: A name, a function, a module class, or None.
        use_bias: Whether there is a bias.
        bias_init: Where it begins.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        initializer: Any = None,
        activation_fn: Any = None,
        use_bias: bool = True,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__(int(in_size), int(out_size), bias=use_bias)
        (initializer or nn.init.xavier_uniform_)(self.weight)
        if use_bias:
            nn.init.constant_(self.bias, bias_init)
        self.activation_name = activation_fn
        self._activation = activation(activation_fn)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_size] to [..., out_size]."""
        x = F.linear(x, self.weight, self.bias)
        return x if self._activation is None else self._activation(x)


class SlimConv2d(nn.Module):  # type: ignore[misc]
    """A convolution [B, C, H, W] with padding, initial weights and an activation of one's choice.

    Args:
        in_channels: Channels that come in.
        out_channels: Channels that go out.
        kernel: Its size, or (height, width).
        stride: Its stride, or (vertical, horizontal).
        padding: None, a number, or (left, right, top, bottom) as `same_padding` gives it.
        initializer: Fills the kernel; "default" is Xavier uniform.
        activation_fn: A name, a function, a module class, None; "default" is relu.
        bias_init: Where the bias begins.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | Sequence[int],
        stride: int | Sequence[int],
        padding: Any,
        initializer: Any = "default",
        activation_fn: Any = "default",
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, pair(kernel), pair(stride))
        fill = nn.init.xavier_uniform_ if initializer in ("default", None) else initializer
        fill(self.conv.weight)
        nn.init.constant_(self.conv.bias, bias_init)
        self._padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding) if padding else None
        self._activation = activation("relu" if activation_fn == "default" else activation_fn)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, H, W] to [B, out_channels, H', W']."""
        if self._padding and any(self._padding):
            x = F.pad(x, self._padding)
        x = self.conv(x)
        return x if self._activation is None else self._activation(x)


class AppendBiasLayer(nn.Module):  # type: ignore[misc]
    """Appends parameters to each row: the state-independent log standard deviations."""

    def __init__(self, num_bias_vars: int) -> None:
        super().__init__()
        self.log_std = nn.Parameter(torch.zeros(num_bias_vars))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n] to [B, n + num_bias_vars]."""
        return torch.cat([x, self.log_std.expand(x.shape[0], -1)], dim=1)


class Reshape(nn.Module):  # type: ignore[misc]
    """Another shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with that shape."""
        return x.reshape(self.shape)


ORTHOGONAL_GAIN = math.sqrt(2.0)  # of hidden layers: "The 37 implementation details of PPO" (2022), core detail 2
