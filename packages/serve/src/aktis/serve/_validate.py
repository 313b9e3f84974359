"""Checks of configuration values: each raises a ValueError or TypeError with the option, the value and the rule."""

from __future__ import annotations

import difflib
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

C = TypeVar("C")


def integer(name: str, value: Any, least: int, *, also: int | None = None) -> int:
    """``value`` when it is an integer of at least ``least`` (or equal to ``also``)."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name} must be an integer, and it is {value!r}.")
    number = value.__index__()
    if number < least and number != also:
        or_also = "" if also is None else f" or {also}"
        raise ValueError(f"{name} must be at least {least}{or_also}, and it is {value!r}.")
    return int(number)


def number(name: str, value: Any, least: float = 0.0, *, above: bool = False, most: float = math.inf) -> float:
    """``value`` as a float when it is a finite number of at least (``above``: more than) ``least``."""
    if isinstance(value, bool) or not hasattr(type(value), "__float__") or isinstance(value, str):
        raise TypeError(f"{name} must be a number, and it is {value!r}.")
    result = float(value)
    if not math.isfinite(result) or result < least or (above and result == least) or result > most:
        rule = f"more than {least:g}" if above else f"at least {least:g}"
        rule += "" if most == math.inf else f" and at most {most:g}"
        raise ValueError(f"{name} must be {rule}, and it is {value!r}.")
    return result


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """``value`` when it is one of ``allowed``."""
    options = list(allowed)
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, and it is {value!r}.")
    return str(value)


def text(name: str, value: Any, *, empty: bool = False) -> str:
    """``value`` when it is a string; with ``empty`` it may be empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, and it is {value!r}.")
    if not value and not empty:
        raise ValueError(f"{name} must not be empty.")
    return value


def unknown_key(where: str, key: str, known: Iterable[str]) -> ValueError:
    """The error for an option that does not exist; suggests the nearest one."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(names)}."
    return ValueError(f"{where} has no option {key!r}. {hint}")


def route_prefix(value: Any) -> str | None:
    """``value`` when it is a route prefix: "/", or "/some/path" without a slash at the end and without braces; or None."""
    if value is None:
        return None
    text("route_prefix", value)
    if not value.startswith("/"):
        raise ValueError(f"route_prefix must start with '/', and it is {value!r}. Write '/{value}'.")
    if value != "/" and value.endswith("/"):
        raise ValueError(
            f"route_prefix must not end with '/', and it is {value!r}. Write {value.rstrip('/') or '/'!r}."
        )
    if "{" in value or "}" in value:
        raise ValueError(f"route_prefix cannot have wildcards ('{{' or '}}'), and it is {value!r}.")
    if "//" in value or any(part in (".", "..") for part in value.split("/")) or set(value) & set("?#\\ \r\n\t%"):
        raise ValueError(f"route_prefix must be a plain path, and it is {value!r}.")
    return str(value)


def aliases(**names: str) -> Callable[[type[C]], type[C]]:
    """Lets the constructor of a dataclass take older names of fields (``old="new"``), and instances have them, too."""

    def wrap(cls: type[C]) -> type[C]:
        made = cls.__init__

        @functools.wraps(made)
        def __init__(self: Any, **options: Any) -> None:
            made(self, **modern(cls, options))

        cls.__init__ = __init__  # type: ignore[method-assign]
        cls._aliases = names  # type: ignore[attr-defined]
        for old, new in names.items():
            setattr(cls, old, property(operator.attrgetter(new), doc=f"Older name of {new}."))
        return cls

    return wrap


def modern(cls: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` with today's names; unknown names, and two names for one thing, are errors."""
    known = {field.name for field in fields(cls) if field.init}
    old: Mapping[str, str] = getattr(cls, "_aliases", {})
    result: dict[str, Any] = {}
    for key, value in options.items():
        name = old.get(key, key)
        if name not in known:
            raise unknown_key(cls.__name__, str(key), {*known, *old})
        if name in result:
            raise ValueError(f"{cls.__name__} was given {name!r} twice: it is also called {key!r}. Give one of them.")
        result[name] = value
    return result


def parse(cls: type[C], value: Any, name: str) -> C:
    """``value`` as a ``cls``: one already, a dictionary of its options, or another object with the same fields."""
    if isinstance(value, cls):
        return value
    if isinstance(value, Mapping):
        return cls(**modern(cls, value))
    if value is not None and not is_dataclass(value) and hasattr(value, "model_dump"):
        return cls(**modern(cls, value.model_dump(exclude_unset=True)))
    raise TypeError(f"{name} must be a dictionary or a {cls.__name__}, and it is {value!r}.")
