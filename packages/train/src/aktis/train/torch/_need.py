"""torch, or the error that says how to get it."""

from __future__ import annotations

import importlib
from typing import Any


def need_torch(what: str) -> Any:
    """The module ``torch``.

    Args:
        what: What needs it, for the message.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    return need("torch", what)


def need(name: str, what: str, extra: str = "torch") -> Any:
    """The module ``name``, which comes with an extra of the distribution."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise ModuleNotFoundError(
            f'{what} needs {error.name}, which is not installed: pip install "aktis-train[{extra}]"', name=error.name
        ) from error
