"""Frameworks, if they are installed."""

from __future__ import annotations

import importlib
from typing import Any

from aktis.rllib.utils.typing import TensorShape as TensorShape
from aktis.rllib.utils.typing import TensorStructType as TensorStructType
from aktis.rllib.utils.typing import TensorType as TensorType


def try_import_torch(error: bool = False) -> tuple[Any, Any]:
    """`(torch, torch.nn)`, or `(None, None)` where PyTorch is not installed.

    Args:
        error: Raise ImportError then.
    """
    try:
        import torch
        from torch import nn
    except ImportError as e:
        if error:
            raise ImportError('PyTorch is not installed: pip install "aktis-rllib[torch]"') from e
        return None, None
    return torch, nn


def get_activation_fn(name: Any = None, framework: str = "torch") -> Any:
    """The activation with a name, see :func:`aktis.rllib.models.utils.get_activation_fn`, which is its newer home."""
    from aktis.rllib.models.utils import get_activation_fn as found

    return found(name, framework)


def try_import_tf(error: bool = False) -> tuple[Any, Any, int | None]:
    """`(tf.compat.v1, tf, 2)`, or `(None, None, None)` where TensorFlow is not installed.

    Args:
        error: Raise ImportError then.
    """
    try:
        import tensorflow as tf
    except ImportError as e:
        if error:
            raise ImportError('TensorFlow is not installed: pip install "aktis-rllib[tensorflow]"') from e
        return None, None, None
    return tf.compat.v1, tf, 2


def try_import_tfp(error: bool = False) -> Any:
    """TensorFlow Probability, or None where it is not installed.

    Args:
        error: Raise ImportError then.
    """
    try:
        tfp = importlib.import_module("tensorflow_probability")
    except ImportError as e:
        if error:
            raise ImportError("TensorFlow Probability is not installed: pip install tensorflow-probability") from e
        return None
    return tfp


def try_import_jax(error: bool = False) -> tuple[Any, Any]:
    """`(jax, flax)`, or `(None, None)` where they are not installed.

    Args:
        error: Raise ImportError then.
    """
    try:
        import flax
        import jax
    except ImportError as e:
        if error:
            raise ImportError("JAX and Flax are not installed: pip install jax flax") from e
        return None, None
    return jax, flax


def get_variable(
    value: Any,
    framework: str = "tf",
    trainable: bool = False,
    tf_name: str = "unnamed-variable",
    torch_tensor: bool = False,
    device: str | None = None,
    shape: Any = None,
    dtype: Any = None,
) -> Any:
    """A variable of a framework with this value; the value itself where there is none (and where `torch_tensor` is False).

    Args:
        value: The value.
        framework: "torch", "tf2" or "tf".
        trainable: Whether gradients go to it.
        tf_name: Its name in TensorFlow.
        torch_tensor: Whether a tensor is wanted with torch, rather than the value.
        device: Of the tensor.
        shape: Of the variable in TensorFlow.
        dtype: Its type; that of the value by default.
    """
    if framework in ("tf", "tf2"):
        _, tf, _ = try_import_tf(error=True)
        kind = dtype or getattr(value, "dtype", None) or _tf_type(tf, value)
        return tf.Variable(value, trainable=trainable, name=tf_name, dtype=kind, shape=shape)
    if framework == "torch" and torch_tensor:
        torch, _ = try_import_torch(error=True)
        if not isinstance(value, torch.Tensor):
            default = torch.float32 if isinstance(value, float) else None
            value = torch.as_tensor(value, dtype=dtype or default)
        value = value.to(device)
        return value.requires_grad_(trainable) if trainable else value
    return value


def _tf_type(tf: Any, value: Any) -> Any:
    if isinstance(value, bool):
        return tf.bool
    return tf.float32 if isinstance(value, float) else tf.int32 if isinstance(value, int) else None


def tf_function(tf_module: Any) -> Any:
    """A decorator like `tf.function`."""
    return tf_module.function
