"""Values of a space as rows of numbers that a network is given: discrete ones one-hot. Over the operations of a framework."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree
from gymnasium import spaces

from aktis.rllib.models.repeated_values import RepeatedValues
from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.space_utils import flatten_space

Tensor = Any


def encoded_size(space: spaces.Space[Any]) -> int:
    """How many numbers `encode` makes of one value."""
    from aktis.rllib.models.preprocessors import preprocessor_for

    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape, dtype=np.int64))
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return sum(encoded_size(leaf) for leaf in flatten_space(space))
    if isinstance(space, Repeated):
        return 1 + space.max_len * encoded_size(space.child_space)
    return preprocessor_for(space).size


def encode(x: Any, space: spaces.Space[Any], ops: Any) -> Tensor:
    """Rows of float32 [N, encoded_size(space)] of N values.

    Args:
        x: Values in the structure of the space, or the parts of a Dict or Tuple side by side [N, n] (as
            SampleBatches have actions).
        space: Their space.
        ops: Operations of the framework.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        leaves = flatten_space(space)
        values = tree.flatten(x) if isinstance(x, dict | tuple | list) else _cut(x, leaves, ops)
        return ops.concat([encode(value, leaf, ops) for value, leaf in zip(values, leaves)], -1)
    if isinstance(x, RepeatedValues):
        return _encode_repeated(x, ops)
    if isinstance(space, spaces.Discrete):
        return ops.one_hot(ops.cast(ops.reshape(x, (-1,)), "int64") - int(space.start), int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        columns = ops.unstack(ops.cast(ops.reshape(x, (-1, int(np.prod(space.shape)))), "int64"), 1)
        starts = np.broadcast_to(getattr(space, "start", 0), space.shape).ravel()
        hot = [ops.one_hot(c - int(s), int(n)) for c, s, n in zip(columns, starts, np.ravel(space.nvec))]
        return ops.concat(hot, -1)
    return ops.cast(ops.reshape(x, (-1, encoded_size(space))), "float32")


def _cut(x: Tensor, leaves: list[spaces.Space[Any]], ops: Any) -> list[Tensor]:
    sizes = [int(np.prod(leaf.shape or (), dtype=np.int64)) for leaf in leaves]
    return list(ops.split(x, sizes, -1))


def _encode_repeated(x: RepeatedValues, ops: Any) -> Tensor:
    rows = ops.shape(x.lengths)[0]
    parts = [x.lengths]
    for leaf in tree.flatten(x.values):
        parts.extend([leaf.values, leaf.lengths] if isinstance(leaf, RepeatedValues) else [leaf])
    flat = [ops.cast(ops.reshape(leaf, (rows, -1)), "float32") for part in parts for leaf in tree.flatten(part)]
    return ops.concat(flat, -1)
