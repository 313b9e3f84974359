"""Functions of NumPy arrays that are of use around policies."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import tree

__all__ = [
    "LARGE_INTEGER",
    "MAX_LOG_NN_OUTPUT",
    "MIN_LOG_NN_OUTPUT",
    "SMALL_NUMBER",
    "aligned_array",
    "concat_aligned",
    "convert_to_numpy",
    "fc",
    "flatten_inputs_to_1d_tensor",
    "huber_loss",
    "l2_loss",
    "lstm",
    "make_action_immutable",
    "one_hot",
    "relu",
    "sigmoid",
    "softmax",
]

SMALL_NUMBER = 1e-6
LARGE_INTEGER = 100_000_000
# Logarithms of standard deviations that networks give are kept in between.
MIN_LOG_NN_OUTPUT = -5
MAX_LOG_NN_OUTPUT = 2

Array = Any


def softmax(x: Array | list[Any], axis: int = -1, epsilon: float | None = None) -> Array:
    """exp(x) / sum(exp(x)) along an axis, at least `epsilon` (1e-6) everywhere."""
    floor = SMALL_NUMBER if epsilon is None else epsilon
    x = np.asarray(x)
    e = np.exp(x - np.max(x, axis, keepdims=True))
    return np.maximum(e / np.sum(e, axis, keepdims=True), floor)


def sigmoid(x: Array, derivative: bool = False) -> Array:
    """1 / (1 + exp(-x)).

    Args:
        x: Any array.
        derivative: `x` is a sigmoid already, and the derivative there is wanted: x (1 - x).
    """
    x = np.asarray(x)
    return x * (1 - x) if derivative else 1 / (1 + np.exp(-x))


def relu(x: Array, alpha: float = 0.0) -> Array:
    """x where it is positive, alpha x elsewhere."""
    x = np.asarray(x)
    return np.maximum(x, x * alpha)


def huber_loss(x: Array, delta: float = 1.0) -> Array:
    """x^2 / 2 within delta, and linear outside."""
    x = np.asarray(x)
    return np.where(np.abs(x) < delta, np.square(x) * 0.5, delta * (np.abs(x) - 0.5 * delta))


def l2_loss(x: Array) -> Array:
    """Half the sum of squares."""
    return np.sum(np.square(x)) / 2.0


def one_hot(x: Array | int, depth: int = 0, on_value: float = 1.0, off_value: float = 0.0) -> Array:
    """An axis more at the end, with `on_value` at the place that x says.

    Args:
        x: Integers.
        depth: Length of the new axis; 0: the largest integer + 1.
        on_value: What is there.
        off_value: What is everywhere else.
    """
    index = np.asarray(convert_to_numpy(x), dtype=np.int64)
    size = int(np.max(index)) + 1 if depth == 0 else depth
    if index.size and int(index.max()) >= size:
        raise ValueError(f"one_hot() of depth {size} has no place for {int(index.max())}.")
    out = np.full((*index.shape, size), off_value, np.float32)
    np.put_along_axis(out, index[..., None], np.float32(on_value), axis=-1)
    return out


def fc(x: Array, weights: Array, biases: Array | None = None, framework: str | None = None) -> Array:
    """A fully connected layer: x W + b.

    Args:
        x: [B, in].
        weights: [in, out], or [out, in] with torch.
        biases: [out].
        framework: "torch" says how the weights are laid out.
    """
    x, weights = convert_to_numpy(x), convert_to_numpy(weights)
    if framework == "torch":
        weights = np.transpose(weights)
    return np.matmul(x, weights) + (0.0 if biases is None else convert_to_numpy(biases))


def lstm(
    x: Array,
    weights: Array,
    biases: Array | None = None,
    initial_internal_states: Any = None,
    time_major: bool = False,
    forget_bias: float = 1.0,
) -> tuple[Array, tuple[Array, Array]]:
    """An LSTM, step by step. Gates lie side by side: input, candidate, forget, output.

    Args:
        x: [B, T, in], or [T, B, in].
        weights: [in + units, 4 units].
        biases: [4 units].
        initial_internal_states: c and h, each [B, units]; zeros by default.
        time_major: Whether time is the first axis.
        forget_bias: Added to the forget gate.

    Returns:
        Outputs in the layout of `x`, and the last c and h.
    """
    x = np.asarray(x)
    steps = x if time_major else np.swapaxes(x, 0, 1)
    units = weights.shape[1] // 4
    bias = np.zeros(4 * units) if biases is None else biases
    if initial_internal_states is None:
        c = h = np.zeros((steps.shape[1], units))
    else:
        c, h = initial_internal_states
    outputs = []
    for x_t in steps:
        gates = np.matmul(np.concatenate([x_t, h], axis=1), weights) + bias
        i, candidate, f, o = np.split(gates, 4, axis=1)
        c = c * sigmoid(f + forget_bias) + sigmoid(i) * np.tanh(candidate)
        h = np.tanh(c) * sigmoid(o)
        outputs.append(h)
    out = np.stack(outputs)
    return (out if time_major else np.swapaxes(out, 0, 1)), (c, h)


def convert_to_numpy(x: Any, reduce_type: bool = True, reduce_floats: Any = None) -> Any:
    """A structure with every tensor (of torch or TensorFlow) as an array; what is neither stays.

    Args:
        x: Any structure.
        reduce_type: float64 becomes float32, and int64 int32.
        reduce_floats: Has no meaning any more.
    """

    def convert(leaf: Any) -> Any:
        if hasattr(leaf, "detach"):
            array = leaf.detach().cpu().numpy()
        elif hasattr(leaf, "numpy"):
            array = leaf.numpy()
        elif isinstance(leaf, np.ndarray | np.generic):
            array = leaf
        else:
            return leaf
        array = np.asarray(array)
        if reduce_type and array.dtype == np.float64:
            return array.astype(np.float32)
        if reduce_type and array.dtype == np.int64:
            return array.astype(np.int32)
        return array

    return tree.map_structure(convert, x)


def flatten_inputs_to_1d_tensor(inputs: Any, spaces_struct: Any = None, time_axis: bool = False) -> Array:
    """Everything in a structure of batches as one row of numbers for each entry; integers of Discrete and
    MultiDiscrete spaces as one-hots.

    Args:
        inputs: Arrays [B, ...] (or [B, T, ...]) in dicts and tuples.
        spaces_struct: The spaces, in the same structure; None: all arrays are numbers already.
        time_axis: Whether there is an axis of time.

    Returns:
        float32, [B, n] (or [B, T, n]).
    """
    import gymnasium as gym

    leaves = tree.flatten(inputs)
    spaces: Sequence[Any] = [None] * len(leaves) if spaces_struct is None else tree.flatten(spaces_struct)
    lead = 2 if time_axis else 1
    parts = []
    for leaf, space in zip(leaves, spaces, strict=True):
        array = np.asarray(leaf)
        shape = array.shape[:lead]
        if isinstance(space, gym.spaces.Discrete):
            array = one_hot(array.reshape(-1) - space.start, depth=int(space.n))
        elif isinstance(space, gym.spaces.MultiDiscrete):
            columns = array.reshape(-1, space.nvec.size)
            choices = enumerate(space.nvec.reshape(-1))
            array = np.concatenate([one_hot(columns[:, i], depth=int(n)) for i, n in choices], axis=1)
        parts.append(array.reshape(*shape, -1).astype(np.float32))
    return np.concatenate(parts, axis=-1)


def make_action_immutable(obj: Any) -> Any:
    """A read-only view of an action, so that an environment cannot change what was stored of it: arrays not
    writeable, mappings proxied."""
    if isinstance(obj, np.ndarray):
        obj.setflags(write=False)
        return obj
    if isinstance(obj, dict):
        return MappingProxyType({key: make_action_immutable(value) for key, value in obj.items()})
    if isinstance(obj, tuple | list):
        return type(obj)(make_action_immutable(value) for value in obj)
    return obj


def aligned_array(size: int, dtype: Any, align: int = 64) -> Array:
    """An array of zeros whose memory begins at a multiple of `align` bytes.

    Args:
        size: Number of entries.
        dtype: Their type.
        align: Bytes.
    """
    nbytes = size * np.dtype(dtype).itemsize
    memory = np.zeros(nbytes + align, np.uint8)
    start = -memory.ctypes.data % align
    return memory[start : start + nbytes].view(dtype)


def concat_aligned(items: list[Array], time_major: bool | None = None) -> Array:
    """Arrays one after the other (along the second axis if time is the first), in aligned memory.

    Args:
        items: Arrays.
        time_major: Whether time is the first axis.
    """
    if not items:
        return []
    if len(items) == 1:
        return items[0]
    axis = 1 if time_major else 0
    first = np.asarray(items[0])
    if first.dtype.kind not in "biuf" or axis == 1:
        return np.concatenate(items, axis=axis)
    rows = sum(len(item) for item in items)
    shape = (rows, *first.shape[1:])
    out = aligned_array(int(np.prod(shape)), first.dtype).reshape(shape)
    np.concatenate(items, axis=0, out=out, casting="unsafe")
    return out
