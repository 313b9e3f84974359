"""From rows of numbers to the structure of a space and back, for batches of tensors of any framework."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import tree
from gymnasium import spaces

from aktis.rllib.models.repeated_values import RepeatedValues
from aktis.rllib.utils.spaces.repeated import Repeated

Tensor = Any


def restore_original_dimensions(obs: Tensor, obs_space: spaces.Space[Any], tensorlib: Any = "torch") -> Any:
    """The observations of a flattened batch in the structure of ``obs_space.original_space``.

    Args:
        obs: [B, ..., n], as preprocessors write them.
        obs_space: The preprocessed space.
        tensorlib: "torch", "tf2" (or "tf") or "numpy", or that module.

    Returns:
        dicts, tuples and `RepeatedValues` with tensors [B, ..., *shape]; discrete parts stay one-hot. ``obs`` itself
        where the space was not flattened.
    """
    original = getattr(obs_space, "original_space", None)
    if not isinstance(original, spaces.Dict | spaces.Tuple | Repeated):
        return obs
    return unpack(obs, original, _ops(tensorlib))


def unpack(obs: Tensor, space: spaces.Space[Any], ops: Any) -> Any:
    """Cut the last axis of ``obs`` into the parts of ``space``."""
    from aktis.rllib.models.preprocessors import preprocessor_for

    preprocessor = preprocessor_for(space)
    lead = tuple(ops.shape(obs))[:-1]
    if isinstance(space, Repeated):
        child = preprocessor_for(space.child_space)
        lengths = obs[..., 0]
        values = ops.reshape(obs[..., 1:], (*lead, space.max_len, child.size))
        return RepeatedValues(unpack(values, space.child_space, ops), lengths=lengths, max_len=space.max_len)
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = dict(space.spaces) if isinstance(space, spaces.Dict) else dict(enumerate(space.spaces))
        unpacked, offset = {}, 0
        for key, child_space in parts.items():
            size = preprocessor_for(child_space).size
            unpacked[key] = unpack(obs[..., offset : offset + size], child_space, ops)
            offset += size
        return unpacked if isinstance(space, spaces.Dict) else tuple(unpacked.values())
    return obs if len(preprocessor.shape) == 1 else ops.reshape(obs, (*lead, *preprocessor.shape))


def flatten_batch(obs: Any, framework: Any) -> Tensor:
    """One row of float32 for each observation: arrays are reshaped, the parts of a structure put side by side."""
    if not isinstance(obs, dict | tuple | list):
        if len(obs.shape) == 2:
            return obs
        ops = _ops(framework)
        return ops.reshape(obs, (ops.shape(obs)[0], -1))
    ops = _ops(framework)
    leaves = [leaf for leaf in tree.flatten(obs) if leaf is not None]
    return ops.concat([ops.cast(ops.reshape(leaf, (ops.shape(leaf)[0], -1)), "float32") for leaf in leaves], axis=1)


def side_by_side(parts: Any, framework: Any) -> Tensor:
    """The leaves of a structure [B, ...] as columns of one tensor [B, n]; a tensor stays as it is."""
    leaves = tree.flatten(parts)
    if len(leaves) == 1 and leaves[0] is parts:
        return parts
    ops = _ops(framework)
    floats = any("float" in str(leaf.dtype) for leaf in leaves)
    flat = [ops.reshape(leaf, (ops.shape(leaf)[0], -1)) for leaf in leaves]
    return ops.concat([ops.cast(leaf, "float32" if floats else "int64") for leaf in flat], axis=1)


def _ops(framework: Any) -> Any:
    if framework == "numpy":
        return NumpyShapes
    from aktis.rllib._backend import ops_for

    if inspect.ismodule(framework):  # the framework itself
        framework = {"torch": "torch", "numpy": "numpy"}.get(framework.__name__, "tf2")
        return _ops(framework)
    return ops_for(framework) if isinstance(framework, str) else framework


class NumpyShapes:
    """The few operations of `aktis.rllib._backend.Ops` that structures need, over arrays."""

    @staticmethod
    def shape(x: Any) -> tuple[int, ...]:
        return tuple(np.shape(x))

    @staticmethod
    def reshape(x: Any, shape: Any) -> Any:
        return np.reshape(x, shape)

    @staticmethod
    def cast(x: Any, dtype: str) -> Any:
        return np.asarray(x).astype(dtype)

    @staticmethod
    def concat(xs: Any, axis: int = -1) -> Any:
        return np.concatenate(xs, axis=axis)
