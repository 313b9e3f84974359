"""What is old, and what to use instead."""

from __future__ import annotations

import warnings
from typing import Any

from aktis.rllib.utils.annotations import Deprecated

__all__ = ["DEPRECATED_VALUE", "Deprecated", "deprecation_warning"]

#: Stands for an argument that has no meaning any more and was not given.
DEPRECATED_VALUE = -1


def deprecation_warning(
    old: str,
    new: str | None = None,
    *,
    help: str | None = None,
    error: bool | type[Exception] | Exception | None = None,
) -> None:
    """Warn that something is old.

    Args:
        old: What.
        new: What to use instead.
        help: More words.
        error: Raise rather than warn: ValueError, or this exception.
    """
    message = f"`{old}` is deprecated." + (f" Use `{new}` instead." if new else "") + (f" {help}" if help else "")
    if error:
        if isinstance(error, Exception):
            raise error
        kind: Any = error if isinstance(error, type) else ValueError
        raise kind(message)
    warnings.warn(message, DeprecationWarning, stacklevel=3)
