"""A function as a stopper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.tune.stopper.stopper import Stopper

__all__ = ["FunctionStopper"]


class FunctionStopper(Stopper):
    """Ends the trials for which ``function(trial_id, result)`` is true."""

    def __init__(self, function: Callable[[str, dict[str, Any]], bool]) -> None:
        if not self.is_valid_function(function):
            raise ValueError(f"a stopping function takes (trial_id, result) and returns a bool, got {function!r}")
        self._function = function

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._function(trial_id, result))

    def stop_all(self) -> bool:
        return False

    @classmethod
    def is_valid_function(cls, function: Any) -> bool:
        """Whether it is a function, rather than a stopper.

        ValueError for an object with ``stop_all`` that is no :class:`Stopper`: its ``stop_all`` would not be called.
        """
        if isinstance(function, type):
            if issubclass(function, Stopper) or hasattr(function, "stop_all"):
                raise ValueError(f"stop is the class {function.__name__}: give an instance, {function.__name__}(...)")
            return False
        if isinstance(function, Stopper) or not callable(function):
            return False
        if hasattr(function, "stop_all"):
            raise ValueError(
                f"{type(function).__name__} has stop_all(), but is no subclass of aktis.tune.Stopper: make it one, so that "
                "stop_all() is called"
            )
        return True

    def __repr__(self) -> str:
        return f"FunctionStopper({getattr(self._function, '__name__', None) or repr(self._function)})"
