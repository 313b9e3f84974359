"""Log something once, however often the code passes by."""

from __future__ import annotations

import threading
import time

__all__ = ["disable_log_once_globally", "enable_periodic_logging", "log_once", "reset_log_once"]

_PERIOD = 60.0  # seconds between repetitions when periodic logging is on

_lock = threading.Lock()
_last_logged: dict[str, float] = {}
_disabled = False
_periodic = False


def log_once(key: str) -> bool:
    """True the first time that this process asks for ``key``; the caller logs when it is.

    After :func:`enable_periodic_logging`, True again after a minute; after :func:`disable_log_once_globally`, never.
    """
    with _lock:
        if _disabled:
            return False
        now = time.monotonic()
        last = _last_logged.get(key)
        if last is None or (_periodic and now - last >= _PERIOD):
            _last_logged[key] = now
            return True
        return False


def disable_log_once_globally() -> None:
    """Make :func:`log_once` return False from now on, in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """Make :func:`log_once` return True once a minute, instead of once, in this process."""
    global _periodic
    _periodic = True


def reset_log_once(key: str | None = None) -> None:
    """Forget that ``key`` was logged; with None, forget all of them and switch logging on again."""
    global _disabled
    with _lock:
        if key is None:
            _last_logged.clear()
            _disabled = False
        else:
            _last_logged.pop(key, None)
