"""Methods that one thread at a time is in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["with_lock"]

F = TypeVar("F", bound=Callable[..., Any])


def with_lock(func: F) -> F:
    """A method that holds `self._lock` while it runs.

    Raises:
        AttributeError: the object has no `_lock` (in its constructor: `self._lock = threading.RLock()`).
    """

    @functools.wraps(func)
    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(self, "_lock"):
            raise AttributeError(
                f"{type(self).__name__}.{func.__name__}() is decorated with @with_lock and needs "
                "self._lock = threading.RLock()"
            )
        with self._lock:
            return func(self, *args, **kwargs)

    return locked  # type: ignore[return-value]
