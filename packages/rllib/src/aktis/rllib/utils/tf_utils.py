"""Helpers for losses and policies of one's own in TensorFlow."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tree
from gymnasium import spaces

from aktis.rllib._backend import tf_ops
from aktis.rllib.models._encode import encode

Tensor = Any

logger = logging.getLogger(__name__)

__all__ = [
    "convert_to_tf_tensor",
    "explained_variance",
    "flatten_inputs_to_1d_tensor",
    "get_gpu_devices",
    "get_tf_eager_cls_if_necessary",
    "huber_loss",
    "l2_loss",
    "make_tf_callable",
    "minimize_and_clip",
    "one_hot",
    "reduce_mean_ignore_inf",
    "sequence_mask",
    "warn_if_infinite_kl_divergence",
    "zero_logps_from_actions",
]


def convert_to_tf_tensor(x: Any) -> Any:
    """Arrays in a structure as tensors, floats with 32 bits."""
    return tree.map_structure(tf_ops.from_numpy, x)


def explained_variance(y: Tensor, pred: Tensor) -> Tensor:
    """1 - Var(y - pred) / Var(y), at least -1: 1 is perfect, and 0 as good as the mean."""
    spread = tf.math.reduce_variance(y)
    return tf.maximum(-1.0, 1.0 - tf.math.reduce_variance(y - pred) / tf.maximum(spread, 1e-8))


def flatten_inputs_to_1d_tensor(inputs: Any, spaces_struct: Any = None, time_axis: bool = False) -> Tensor:
    """Values of a structure as one row of numbers each; discrete ones one-hot where their spaces are given.

    Args:
        inputs: Tensors [B, ...] ([B, T, ...]) in a structure.
        spaces_struct: Their spaces, in the same structure.
        time_axis: Whether there is an axis of time.

    Returns:
        [B, n] ([B, T, n]).
    """
    leaves = tree.flatten(inputs)
    own = [None] * len(leaves) if spaces_struct is None else tree.flatten(spaces_struct)
    rows = []
    lead = tf_ops.shape(tf.convert_to_tensor(leaves[0]))[: 2 if time_axis else 1]
    count = lead[0] * lead[1] if time_axis else lead[0]
    for leaf, space in zip(leaves, own, strict=True):
        leaf = tf.convert_to_tensor(leaf)
        flat = tf.reshape(leaf, (count, *tf_ops.shape(leaf)[len(lead) :]))
        discrete = isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
        rows.append(encode(flat, space, tf_ops) if discrete else tf.reshape(tf.cast(flat, tf.float32), (count, -1)))
    joined = tf.concat(rows, axis=-1)
    return tf.reshape(joined, (*lead, joined.shape[-1])) if time_axis else joined


def get_gpu_devices() -> list[str]:
    """Names of the GPUs that TensorFlow finds."""
    return [device.name for device in tf.config.list_physical_devices("GPU")]


def get_tf_eager_cls_if_necessary(orig_cls: type[Any], config: Any) -> type[Any]:
    """The class itself: all policies in TensorFlow are eager, and traced where the configuration says so."""
    return orig_cls


def huber_loss(x: Tensor, delta: float = 1.0) -> Tensor:
    """x^2 / 2 within delta, linear outside."""
    return tf_ops.huber(x, delta)


def l2_loss(x: Tensor) -> Tensor:
    """Half the sum of squares."""
    return 0.5 * tf.reduce_sum(tf.square(x))


def make_tf_callable(session_or_none: Any = None, dynamic_shape: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: the function is given tensors for arrays, and gives back arrays.

    Args:
        session_or_none: None: there are no sessions.
        dynamic_shape: Without effect: any shape is taken.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            tensors = [convert_to_tf_tensor(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
            named = {
                key: convert_to_tf_tensor(arg) if isinstance(arg, np.ndarray) else arg for key, arg in kwargs.items()
            }
            return tf_ops.as_numpy(function(*tensors, **named))

        return call

    return decorate


def minimize_and_clip(
    optimizer: Any, objective: Tensor, var_list: Any, clip_val: float = 10.0
) -> list[tuple[Tensor, Any]]:
    """Pairs of gradients and variables, each gradient scaled down to a length of at most ``clip_val``.

    Args:
        optimizer: What a `compute_gradients_fn` is given: it has the tape of the loss.
        objective: The loss.
        var_list: Variables.
        clip_val: The greatest length; 0 or None for none.
    """
    pairs = optimizer.compute_gradients(objective, var_list)
    return [
        (tf.clip_by_norm(grad, clip_val) if clip_val else grad, variable)
        for grad, variable in pairs
        if grad is not None
    ]


def one_hot(x: Tensor, space: Any) -> Tensor:
    """Values of a Discrete or MultiDiscrete space one-hot.

    Raises:
        ValueError: The space is another.
    """
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        raise ValueError(f"Only values of Discrete and MultiDiscrete spaces are made one-hot, not of {space}.")
    return encode(x, space, tf_ops)


def reduce_mean_ignore_inf(x: Tensor, axis: int | None = None) -> Tensor:
    """The mean of what is not the lowest float (which stands for an impossible choice)."""
    mask = tf.not_equal(x, tf.float32.min)
    counted = tf.where(mask, x, tf.zeros_like(x))
    return tf.reduce_sum(counted, axis) / tf.reduce_sum(tf.cast(mask, tf.float32), axis)


def sequence_mask(lengths: Tensor, maxlen: int | None = None, dtype: Any = None, time_major: bool = False) -> Tensor:
    """True before the end of each sequence: [B, maxlen], or [maxlen, B]."""
    mask = tf.sequence_mask(lengths, maxlen, dtype=dtype or tf.bool)
    return tf.transpose(mask) if time_major else mask


def warn_if_infinite_kl_divergence(policy: Any, mean_kl: Any) -> None:
    """Say that a divergence is infinite, as it is where an action became impossible; within a trace nothing is said."""
    if policy.loss_initialized() and hasattr(mean_kl, "numpy") and np.isinf(mean_kl.numpy()):
        logger.warning(
            "The KL divergence is infinite: an action that was possible has become impossible. Masked actions "
            "(logits of -inf) are the usual "
            "reason; set kl_coeff to 0 if that is meant."
        )


def zero_logps_from_actions(actions: Any) -> Tensor:
    """Zeros [B], for actions that were not drawn."""
    first = tree.flatten(actions)[0]
    return tf.zeros((tf_ops.shape(first)[0],), tf.float32)
