"""Activations, initializers and filters by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid", "elu", "gelu", "silu", "softplus", "leaky_relu")

_ALIASES = {"swish": "silu", "identity": "linear", "none": "linear"}

Filters = list[list[Any]]

# Kernels and strides that end with one pixel, by the height and width of the image.
_FILTERS: dict[tuple[int, int], Filters] = {
    (480, 640): [[16, [24, 32], [14, 18]], [32, [6, 6], 4], [256, [9, 9], 1]],
    (240, 320): [[16, [12, 16], [7, 9]], [32, [6, 6], 4], [256, [9, 9], 1]],
    (96, 96): [[16, [8, 8], 4], [32, [4, 4], 2], [256, [11, 11], 2]],
    (84, 84): [[16, [8, 8], 4], [32, [4, 4], 2], [256, [11, 11], 1]],
    (64, 64): [[32, [4, 4], 2], [64, [4, 4], 2], [128, [4, 4], 2], [256, [8, 8], 1]],
    (42, 42): [[16, [4, 4], 2], [32, [4, 4], 2], [256, [11, 11], 1]],
    (10, 10): [[16, [5, 5], 2], [32, [5, 5], 2]],
}

NATURE_FILTERS: Filters = [
    [32, [8, 8], 4],
    [64, [4, 4], 2],
    [64, [3, 3], 1],
]  # Mnih et al. (2015), Methods, "Model architecture"


def activation_name(name: Any) -> str:
    """The one spelling of an activation's name.

    Raises:
        ValueError: there is no such activation.
    """
    if name is None or isinstance(name, str):
        known = "linear" if name is None else name.lower()
        known = _ALIASES.get(known, known)
        if known in ACTIVATIONS:
            return known
    raise ValueError(f"Unknown activation {name!r}: choose one of {', '.join(ACTIVATIONS)}.")


def get_activation_fn(name: Any = None, framework: str = "torch") -> Any:
    """The activation with a name: a module class (torch), a function (TensorFlow), or None for none. What is
    callable is given back."""
    if callable(name):
        return name
    known = activation_name(name)
    if known == "linear":
        return None
    if framework == "torch":
        from torch import nn

        classes = {
            "relu": nn.ReLU,
            "tanh": nn.Tanh,
            "sigmoid": nn.Sigmoid,
            "elu": nn.ELU,
            "gelu": nn.GELU,
            "silu": nn.SiLU,
            "softplus": nn.Softplus,
            "leaky_relu": nn.LeakyReLU,
        }
        return classes[known]
    from aktis.rllib.models.tf.misc import activation_function

    return activation_function(known)


def get_filter_config(shape: Sequence[int]) -> Filters:
    """Convolutions for images of ``shape`` (height, width[, channels]): the usual ones for usual sizes, and for
    others halving down to one pixel.

    Raises:
        ValueError: the shape is not that of an image.
    """
    if len(shape) not in (2, 3):
        raise ValueError(
            f"conv_filters are chosen for images (height, width, channels), not for the shape {tuple(shape)}."
        )
    height, width = int(shape[0]), int(shape[1])
    if (height, width) in _FILTERS:
        return _FILTERS[(height, width)]
    filters: Filters = []
    channels = 16
    while max(height, width) > 11:
        filters.append([channels, [4, 4], 2])
        height, width = math.ceil(height / 2), math.ceil(width / 2)
        channels = min(2 * channels, 128)
    return [*filters, [256, [height, width], 1]]


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """``(value, value)`` of a number, and a pair of a pair."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def same_padding(
    in_size: Sequence[int], filter_size: int | Sequence[int], stride_size: int | Sequence[int]
) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Zeros to add (left, right, top, bottom) so that a convolution gives ``ceil(in / stride)`` pixels, and those
    sizes (height, width)."""
    kernel, stride = pair(filter_size), pair(stride_size)
    out = (math.ceil(in_size[0] / stride[0]), math.ceil(in_size[1] / stride[1]))
    vertical = max((out[0] - 1) * stride[0] + kernel[0] - in_size[0], 0)
    horizontal = max((out[1] - 1) * stride[1] + kernel[1] - in_size[1], 0)
    left, top = horizontal // 2, vertical // 2
    return (left, horizontal - left, top, vertical - top), out


def get_initializer(name: Any, framework: str = "torch") -> Callable[..., Any]:
    """The initializer with a name: see `fcnet_weights_initializer` in the model configuration."""
    if framework == "torch":
        from aktis.rllib.models.torch.misc import initializer

        found: Callable[..., Any] = initializer(name)
        return found
    from aktis.rllib.models.tf.misc import initializer as tf_initializer

    made: Callable[..., Any] = tf_initializer(name)
    return made


class Convolution(NamedTuple):
    """One convolution of a network for images."""

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] | None  # left, right, top, bottom; None is none
    out: tuple[int, int]  # height and width of what comes out


class Convolutions(NamedTuple):
    """The convolutions of a network for images, the size of their output, and dense layers that belong to them."""

    layers: list[Convolution]
    flat_size: int
    dense: tuple[int, ...]


def convolutions(shape: Sequence[int], config: Mapping[str, Any]) -> Convolutions:
    """Work out the convolutions of ``conv_filters`` for images of ``shape`` (height, width, channels).

    All but the last pad, so that they give ``ceil(size / stride)`` pixels; the last does not. "nature" pads nowhere.

    Raises:
        ValueError: a filter is not [channels, kernel, stride], or a kernel is larger than what it is laid over.
    """
    filters = config.get("conv_filters")
    nature = filters == "nature"
    if nature:
        filters = NATURE_FILTERS
    elif not filters:
        filters = get_filter_config(shape)
    size = (int(shape[0]), int(shape[1]))
    layers: list[Convolution] = []
    for index, one in enumerate(filters):
        if not isinstance(one, Sequence) or len(one) != 3:
            raise ValueError(f"Each of conv_filters is [channels, kernel, stride], not {one!r}")
        channels, kernel, stride = int(one[0]), pair(one[1]), pair(one[2])
        if nature or index == len(filters) - 1:
            if kernel[0] > size[0] or kernel[1] > size[1]:
                raise ValueError(
                    f"The kernel {kernel} of conv_filters[{index}] is larger than the {size[0]} x {size[1]} pixels that reach it "
                    f"(images are {tuple(shape)}): choose a smaller kernel, or smaller strides before it."
                )
            padding = None
            size = ((size[0] - kernel[0]) // stride[0] + 1, (size[1] - kernel[1]) // stride[1] + 1)
        else:
            padding, size = same_padding(size, kernel, stride)
        layers.append(Convolution(channels, kernel, stride, padding, size))
    flat = layers[-1].channels * size[0] * size[1]
    dense = (512,) if nature and not config.get("post_fcnet_hiddens") else ()
    return Convolutions(layers, flat, dense)
