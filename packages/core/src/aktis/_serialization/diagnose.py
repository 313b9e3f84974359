"""Why a value cannot be pickled: the path to the culprit.

A value that fails is taken apart (items, attributes, closures, the globals that a function uses), and each part is
tried on its own; where no part fails, the value itself is the culprit. Trials are bounded in number and time.
"""

from __future__ import annotations

import pickle
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aktis._serialization.values import collecting_references, dump_by_value
from aktis.exceptions import OutOfBandObjectRefSerializationException, SerializationError

MAX_TRIALS = 2_000
MAX_SECONDS = 3.0
MAX_DEPTH = 30
MAX_FOUND = 5
MAX_ITEMS = 10_000  # of one container


@dataclass(slots=True)
class Culprit:
    """Something that cannot be pickled, and none of its parts is to blame."""

    path: str
    value: Any
    parent: Any
    error: BaseException

    def __str__(self) -> str:
        return f"{self.path}: {self.error or type(self.error).__name__}"


def diagnose(value: Any, name: str = "value", max_depth: int = MAX_DEPTH, max_found: int = MAX_FOUND) -> list[Culprit]:
    """The culprits inside of ``value``; an empty list when it can be pickled."""
    search = _Search(max_depth, max_found)
    error = search.trial(value)
    if error is not None:
        search.descend(name, value, None, error, 0)
    return search.found


def explain_failure(value: Any, name: str, error: BaseException) -> SerializationError:
    """What to raise after pickling ``value`` failed with ``error``."""
    if isinstance(error, RecursionError) or isinstance(error.__context__, RecursionError):
        return SerializationError(f"{name} cannot be pickled: it is nested too deeply ({error})")
    try:
        found = diagnose(value, name)
    except Exception:  # a diagnosis must not hide what it was made for
        found = []
    if not found:
        return SerializationError(f"{name} (a {_type_name(value)}) cannot be pickled: {error}")
    return _report(found)


def explain_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str], error: SerializationError
) -> SerializationError:
    """The same for the arguments of a call: paths begin with the names of the parameters, as far as ``names`` has them."""
    found: list[Culprit] = []
    named = [(names[i] if i < len(names) else f"args[{i}]", value) for i, value in enumerate(args)]
    for name, value in [*named, *kwargs.items()]:
        try:
            found += diagnose(value, name)
        except Exception:  # a diagnosis must not hide what it was made for
            continue
    return _report(found[:MAX_FOUND]) if found else error


def _report(found: list[Culprit]) -> SerializationError:
    lines = [str(culprit) for culprit in found]
    paths = tuple(culprit.path for culprit in found)
    if len(lines) == 1:
        return SerializationError(f"cannot pickle {lines[0]}", paths)
    return SerializationError("cannot pickle\n  " + "\n  ".join(lines), paths)


def _type_name(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


class _Null:
    """A file that forgets."""

    def write(self, data: Any) -> int:
        return len(data)


@dataclass(slots=True)
class _Search:
    max_depth: int
    max_found: int
    found: list[Culprit] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    explained: set[int] = field(default_factory=set)  # of those that were seen: what is to blame in them was found
    trials: int = 0
    until: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def trial(self, value: Any) -> BaseException | None:
        """The error of pickling it; None also when there is no time left to try."""
        if type(value) in _HARMLESS:
            return None
        self.trials += 1
        if self.trials > MAX_TRIALS or time.monotonic() > self.until:
            return None
        try:
            with collecting_references([]):
                dump_by_value(value, _forget, _Null())
        except OutOfBandObjectRefSerializationException:
            return None
        except Exception as error:
            return error
        return None

    def descend(self, path: str, value: Any, parent: Any, error: BaseException, depth: int) -> None:
        if id(value) in self.seen or len(self.found) >= self.max_found:
            return
        self.seen.add(id(value))
        blamed = False
        if depth < self.max_depth:
            for child_path, child in _parts(path, value):
                if id(child) in self.seen:
                    blamed = blamed or id(child) in self.explained
                    continue
                child_error = self.trial(child)
                if child_error is not None:
                    blamed = True
                    self.descend(child_path, child, value, child_error, depth + 1)
                    if len(self.found) >= self.max_found:
                        return
        if not blamed:
            self.found.append(Culprit(path, value, parent, error))
        self.explained.add(id(value))


def _forget(buffer: pickle.PickleBuffer) -> None:
    """A buffer callback for trials: large arrays cost nothing."""


_HARMLESS = {type(None), bool, int, float, complex, str, bytes, bytearray}


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is made of, with paths as one would write them in Python."""
    if isinstance(value, dict):
        for position, (key, item) in enumerate(value.items()):
            if position >= MAX_ITEMS:
                break
            yield f"{path}.keys()[{position}]", key
            yield f"{path}[{_short(key)}]", item
    elif isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None)
        for position, item in enumerate(value[:MAX_ITEMS]):
            yield (f"{path}.{names[position]}" if names else f"{path}[{position}]"), item
    elif isinstance(value, (set, frozenset)):
        for position, item in enumerate(value):
            if position >= MAX_ITEMS:
                break
            yield f"{path}.{{{_short(item)}}}", item
    elif isinstance(value, types.MethodType):
        yield f"{path}.__self__", value.__self__
        yield f"{path}.__func__", value.__func__
    elif isinstance(value, types.ModuleType):
        return
    if isinstance(value, types.FunctionType):
        yield from captured(value, path)
    elif isinstance(value, type):
        for name, item in vars(value).items():
            if not (name.startswith("__") and name.endswith("__")) or isinstance(item, types.FunctionType):
                function = getattr(item, "__func__", item)
                yield f"{path}.{name}", function
    else:
        yield from _attributes(path, value)


def _attributes(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    functools_partial = type(value).__module__ == "functools" and hasattr(value, "func")
    if functools_partial:
        for name in ("func", "args", "keywords"):
            yield f"{path}.{name}", getattr(value, name)
    try:
        # What __getstate__ leaves out is not to blame; what it adds has no name in the object.
        getstate = getattr(type(value), "__getstate__", None)
        own_state = isinstance(getstate, types.FunctionType)
        state = value.__getstate__() if own_state else getattr(value, "__dict__", None)
    except Exception:
        return
    if isinstance(state, dict):
        for name, item in list(state.items()):
            yield f"{path}.{name}", item
    elif own_state and state is not None:
        yield f"{path}.__getstate__()", state
        return
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield f"{path}.{name}", getattr(value, name)
    cls = type(value)
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:  # travels by value, so it can be to blame
        yield f"type({path})", cls


def captured(function: Any, path: str | None = None) -> Iterator[tuple[str, Any]]:
    """What a function takes along when it is pickled by value: closure, defaults, globals that it uses."""
    if not isinstance(function, types.FunctionType):
        return
    path = function.__qualname__ if path is None else path
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield f'{path}.<closure>["{name}"]', cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for position, value in enumerate(function.__defaults__ or ()):
        first = function.__code__.co_argcount - len(function.__defaults__ or ())
        yield f'{path}.<default>["{function.__code__.co_varnames[first + position]}"]', value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f'{path}.<default>["{name}"]', value
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            value = function.__globals__[name]
            if value is not function:
                yield f'{path}.<global>["{name}"]', value
    for name, value in function.__dict__.items():
        yield f"{path}.{name}", value


def _global_names(code: types.CodeType) -> list[str]:
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_global_names(constant)))
    return list(names)


def _short(key: Any) -> str:
    text = repr(key).replace("'", '"') if isinstance(key, str) and "'" not in key and '"' not in key else repr(key)
    return text if len(text) <= 60 else text[:57] + "..."
