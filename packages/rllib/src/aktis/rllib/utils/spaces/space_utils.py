"""What is done with values of spaces: between the policy's range and the environment's, and between one and many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tree
from gymnasium import spaces

from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.simplex import Simplex


def get_original_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The environment's space, of one that a preprocessor may have made of it."""
    while hasattr(space, "original_space"):
        space = space.original_space
    return space


def flatten_space(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """The spaces at the leaves of Dict and Tuple spaces, in the order in which `tree.flatten` gives their values."""
    if isinstance(space, spaces.Dict):
        return [leaf for key in sorted(space.spaces) for leaf in flatten_space(space.spaces[key])]
    if isinstance(space, spaces.Tuple):
        return [leaf for child in space.spaces for leaf in flatten_space(child)]
    return [space]


def get_base_struct_from_space(space: spaces.Space[Any]) -> Any:
    """The spaces at the leaves, in dicts and tuples like the values: what `unsquash_action` and `clip_action` take."""
    if isinstance(space, spaces.Dict):
        return {key: get_base_struct_from_space(child) for key, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(get_base_struct_from_space(child) for child in space.spaces)
    return space


def get_dummy_batch_for_space(
    space: spaces.Space[Any],
    batch_size: int = 32,
    fill_value: float | int | str = 0.0,
    time_size: int | None = None,
    time_major: bool = False,
    one_hot_discrete: bool = False,
) -> Any:
    """A batch of values of ``space`` in its structure.

    Args:
        space: Any space.
        batch_size: Size of the first axis; 0 gives single values without it.
        fill_value: A number, or "random" for samples.
        time_size: With a time axis of this size behind (or, with ``time_major``, before) the batch axis.
        time_major: Whether time comes first.
        one_hot_discrete: Discrete spaces as [..., n] instead of numbers.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return tree.map_structure(
            lambda leaf: get_dummy_batch_for_space(
                leaf,
                batch_size,
                fill_value=fill_value,
                time_size=time_size,
                time_major=time_major,
                one_hot_discrete=one_hot_discrete,
            ),
            get_base_struct_from_space(space),
        )
    if isinstance(space, Repeated):
        return get_dummy_batch_for_space(
            space.child_space, batch_size, fill_value=fill_value, time_size=time_size, time_major=time_major
        )
    if one_hot_discrete and isinstance(space, spaces.Discrete):
        space = spaces.Box(0.0, 1.0, (int(space.n),), np.float32)
    lead: tuple[int, ...] = () if not batch_size else (batch_size,)
    if time_size is not None:
        lead = (time_size, *lead) if time_major else (*lead, time_size)
    if fill_value == "random":
        count = int(np.prod(lead, dtype=np.int64))
        samples = np.stack([np.asarray(space.sample()) for _ in range(max(count, 1))])
        return samples.reshape(*lead, *samples.shape[1:]) if lead else samples[0]
    return np.full((*lead, *(space.shape or ())), fill_value, dtype=space.dtype)


def flatten_to_single_ndarray(input_: Any) -> Any:
    """One array of the numbers of a structure, in the order of its leaves; an array is given back as it is."""
    if not isinstance(input_, dict | tuple | list):
        return input_
    return np.concatenate([np.reshape(leaf, (-1,)) for leaf in tree.flatten(input_)], axis=0)


def unbatch(batches_struct: Any) -> list[Any]:
    """From a structure of arrays [B, ...] to a list of B structures."""
    if not isinstance(batches_struct, dict | tuple):
        return list(batches_struct)
    leaves = tree.flatten(batches_struct)
    return [tree.unflatten_as(batches_struct, [leaf[row] for leaf in leaves]) for row in range(len(leaves[0]))]


def batch(list_of_structs: Sequence[Any]) -> Any:
    """From a list of B structures to a structure of arrays [B, ...].

    Raises:
        ValueError: the list is empty.
    """
    if not len(list_of_structs):
        raise ValueError("A batch is made of at least one value: the list is empty.")
    first = list_of_structs[0]
    if not isinstance(first, dict | tuple):
        return np.stack([np.asarray(value) for value in list_of_structs])
    return tree.map_structure_up_to(first, lambda *values: np.stack([np.asarray(v) for v in values]), *list_of_structs)


def clip_action(action: Any, action_space: Any) -> Any:
    """``action`` within the bounds of the Box spaces at the leaves; other leaves as they are.

    Args:
        action: A value, or a batch of values.
        action_space: The structure of spaces of `get_base_struct_from_space`, or a space.
    """
    if isinstance(action_space, spaces.Box):
        return np.clip(action, action_space.low, action_space.high)
    if isinstance(action_space, spaces.Dict | spaces.Tuple):
        action_space = get_base_struct_from_space(action_space)
    if isinstance(action_space, dict | tuple):
        return tree.map_structure_up_to(action_space, lambda s, a: clip_action(a, s), action_space, action)
    return action


def unsquash_action(action: Any, action_space_struct: Any) -> Any:
    """From the range of policies, [-1, 1], to that of the environment.

    Bounded Box spaces of floats are scaled to their bounds (and kept within them); Box spaces of integers, Discrete
    and MultiDiscrete
    are shifted so that 0 is their lowest value. What has no bounds stays as it is. `normalize_action` is the way back.
    """
    return _convert(action, action_space_struct, _unsquash)


def normalize_action(action: Any, action_space_struct: Any) -> Any:
    """From the range of the environment to that of policies, [-1, 1]: the way back of `unsquash_action`."""
    return _convert(action, action_space_struct, _normalize)


def _convert(action: Any, space: Any, function: Any) -> Any:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        space = get_base_struct_from_space(space)
    if isinstance(space, dict | tuple):
        return tree.map_structure_up_to(space, lambda s, a: function(a, s), space, action)
    return function(action, space)


def _unsquash(action: Any, space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating):
            low, high = space.low, space.high
            if space.is_bounded("both"):
                scaled = low + (np.asarray(action) + 1.0) * (0.5 * (high - low))
                return np.clip(scaled, low, high).astype(space.dtype, copy=False)
            return action
        if np.issubdtype(space.dtype, np.integer) and space.is_bounded("below"):
            return np.asarray(action) + space.low
        return action
    return _shifted(action, space, 1)


def _normalize(action: Any, space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating):
            if space.is_bounded("both"):
                span = np.where(space.high > space.low, space.high - space.low, 1.0)
                return ((np.asarray(action) - space.low) * (2.0 / span) - 1.0).astype(space.dtype, copy=False)
            return action
        if np.issubdtype(space.dtype, np.integer) and space.is_bounded("below"):
            return np.asarray(action) - space.low
        return action
    return _shifted(action, space, -1)


def _shifted(action: Any, space: spaces.Space[Any], sign: int) -> Any:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        start = getattr(space, "start", 0)
        if np.any(start):
            return action + sign * start
    return action


def convert_element_to_space_type(element: Any, sampled_element: Any) -> Any:
    """``element`` with the array types and shapes of a sample of its space: numbers become arrays where arrays are,
    and the other way round."""

    def convert(value: Any, sample: Any) -> Any:
        if isinstance(sample, np.ndarray):
            value = np.asarray(value, dtype=sample.dtype)
            return value.reshape(sample.shape) if value.size == sample.size else value
        if isinstance(sample, int | np.integer):
            return type(sample)(value)
        return value

    return tree.map_structure_up_to(
        sampled_element, lambda sample, value: convert(value, sample), sampled_element, element
    )


def contains(space: spaces.Space[Any], value: Any) -> bool:
    """Whether ``value`` is in ``space``; arrays of another float type count, too."""
    if isinstance(space, spaces.Box) and isinstance(value, np.ndarray) and value.dtype != space.dtype:
        return bool(value.shape == space.shape and np.all(value >= space.low) and np.all(value <= space.high))
    return bool(space.contains(value))


__all__ = [
    "Repeated",
    "Simplex",
    "batch",
    "clip_action",
    "contains",
    "convert_element_to_space_type",
    "flatten_space",
    "flatten_to_single_ndarray",
    "get_base_struct_from_space",
    "get_dummy_batch_for_space",
    "get_original_space",
    "normalize_action",
    "unbatch",
    "unsquash_action",
]
