"""The libraries that this package stands on, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["accelerate_data_loader", "torch", "transformers"]


def _need(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name.partition(".")[0]:
            raise
        raise ImportError(
            f'aktis.train.huggingface needs {error.name}: pip install "aktis-train[huggingface]"'
        ) from error


def transformers() -> Any:
    """Transformers. Raises ImportError with the extra to install."""
    return _need("transformers")


def torch() -> Any:
    """torch. Raises ImportError with the extra to install."""
    return _need("torch")


def accelerate_data_loader() -> Any:
    """``accelerate.data_loader``. Raises ImportError with the extra to install."""
    return _need("accelerate.data_loader")
