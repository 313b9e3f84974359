"""TensorFlow and the Keras that goes with it, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def require_tensorflow() -> Any:
    """The module ``tensorflow``.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return importlib.import_module("tensorflow")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise ModuleNotFoundError(
            'TensorFlow is not installed: pip install "aktis-train[tensorflow]"', name="tensorflow"
        ) from None


def require_keras() -> Any:
    """The Keras that is ``tf.keras``: Keras 3, or with TF_USE_LEGACY_KERAS=1 the older one, which is in ``tf_keras``."""
    return require_tensorflow().keras


def optional_module(name: str) -> Any:
    """The module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def is_model(value: Any) -> bool:
    """Whether it is a model of any Keras, without importing one."""
    return any(
        cls.__name__ == "Model" and cls.__module__.split(".")[0] in ("keras", "tf_keras", "tensorflow")
        for cls in type(value).__mro__
    )
