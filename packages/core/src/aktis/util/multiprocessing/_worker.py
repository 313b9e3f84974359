"""What runs in the pool's actors."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import aktis

_FUNCTIONS_KEPT = 32

CALL, MAP, STARMAP = 0, 1, 2


class RemoteTraceback(Exception):
    """The cause of an exception that comes out of a pool: the traceback it had in its process."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class Failure:
    """An exception of the user's function, on its way to the caller."""

    __slots__ = ("error", "text")

    def __init__(self, error: BaseException, text: str) -> None:
        self.error = error
        self.text = text

    def restore(self) -> BaseException:
        """The exception itself, with its traceback as the cause, as :mod:`multiprocessing` does it."""
        self.error.__cause__ = RemoteTraceback(self.text)
        return self.error


class PoolWorker:
    """One process of the pool. Runs one chunk of work at a time."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: Iterable[Any]) -> None:
        self._functions: OrderedDict[str, Callable[..., Any]] = OrderedDict()
        self._module: dict[str, Any] = {}  # the globals of the initializer
        self._set: dict[str, Any] = {}  # what it changed in them
        if initializer is not None:
            self._module = _globals(initializer)
            before = dict(self._module)
            initializer(*initargs)
            self._set = {
                name: value for name, value in self._module.items() if name not in before or before[name] is not value
            }

    def run(self, function: list[Any], kind: int, batch: list[Any]) -> list[Any] | Failure:
        """The results of a chunk, or the first failure in it; what comes after a failure is not run.

        ``function`` is a list with one reference: it is fetched and unpickled once per function, not once per chunk.
        """
        try:
            func = self._function(function[0])
            if kind == MAP:
                return [func(item) for item in batch]
            if kind == STARMAP:
                return [func(*item) for item in batch]
            return [func(*args, **kwargs) for args, kwargs in batch]
        except Exception as error:
            return _failure(error)

    def _share_globals(self, func: Callable[..., Any]) -> None:
        """Show a function the globals that the initializer set.

        Functions of a script (``__main__``) are sent by value, each with globals of its own, so that
        ``global shared; shared = ...`` in the initializer would be lost on the others.
        """
        theirs = _globals(func)
        if theirs is not self._module and theirs.get("__name__") == self._module.get("__name__"):
            theirs.update(self._set)

    def _function(self, ref: Any) -> Callable[..., Any]:
        key = ref.hex()
        func = self._functions.get(key)
        if func is None:
            func = self._functions[key] = aktis.get(ref)
            self._share_globals(func)
            if len(self._functions) > _FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
        else:
            self._functions.move_to_end(key)
        return func


def _globals(func: Any) -> dict[str, Any]:
    """The globals that a callable runs with; an empty dict for what has none."""
    while hasattr(func, "func") or hasattr(func, "__func__"):  # functools.partial, bound methods
        func = getattr(func, "func", None) or func.__func__
    found = getattr(func, "__globals__", None)
    return found if isinstance(found, dict) else {}


def _failure(error: Exception) -> Failure:
    import pickle

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    error.__traceback__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        try:
            import cloudpickle

            cloudpickle.loads(cloudpickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__} can't be pickled: {error!r}")
    return Failure(error, text)
