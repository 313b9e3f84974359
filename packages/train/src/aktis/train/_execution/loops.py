"""Training loops on their way to the workers."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

__all__ = ["TravellingLoop", "takes_config"]


class TravellingLoop:
    """A training loop that is pickled where it is given, and unpickled where it is called: in the workers.

    The trial between them does not need what the loop needs: models, their libraries, classes of the user's modules.

    Args:
        function: The loop.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.takes_config = takes_config(function)
        self.__name__ = getattr(function, "__name__", repr(function))
        self._function: Callable[..., Any] | None = function
        self._pickled: bytes | None = None

    @property
    def function(self) -> Callable[..., Any]:
        """The loop itself."""
        if self._function is None:
            assert self._pickled is not None
            self._function = pickle.loads(self._pickled)
        assert self._function is not None
        return self._function

    def __call__(self, *args: Any) -> None:
        self.function(*args)  # what it returns is not used, and may be nothing that can be sent

    def __getstate__(self) -> dict[str, Any]:
        from aktis.util.serialization import dumps_by_value

        pickled = dumps_by_value(self._function, self.__name__) if self._pickled is None else self._pickled
        return {**self.__dict__, "_function": None, "_pickled": pickled}

    def __repr__(self) -> str:
        return repr(self._function) if self._function is not None else f"<function {self.__name__}>"


def takes_config(function: Callable[..., Any]) -> bool:
    """Whether a training loop takes a configuration.

    Raises:
        ValueError: it takes something else than one argument, or none, or calling it would not run it.
    """
    if isinstance(function, TravellingLoop):
        return function.takes_config
    _check_runs(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a built-in function, which does not say
        return True
    if _takes(signature, {}):
        return True
    if _takes(signature):
        return False
    name = getattr(function, "__name__", repr(function))
    raise ValueError(f"{name}{signature} cannot be run as a training loop: it takes one argument, the config, or none")


def _check_runs(function: Callable[..., Any]) -> None:
    """Raise for what makes a coroutine or a generator when it is called, and does nothing else."""
    for called in (function, getattr(function, "__call__", None)):  # noqa: B004 - of an object, its method
        kind = (
            "an async function" if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
            else "a generator" if inspect.isgeneratorfunction(called)
            else None
        )  # fmt: skip
        if kind is not None:
            name = getattr(function, "__name__", repr(function))
            raise ValueError(
                f"{name} is {kind}, and cannot be run as a training loop: write a plain function, which calls session.report(...) "
                "for each result"
            )


def _takes(signature: inspect.Signature, *arguments: Any) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
