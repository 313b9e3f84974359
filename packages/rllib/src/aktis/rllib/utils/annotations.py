"""Marks on classes and functions, as in reference scripts. They change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = [
    "Deprecated",
    "DeveloperAPI",
    "ExperimentalAPI",
    "OverrideToImplementCustomLogic",
    "OverrideToImplementCustomLogic_CallToSuperRecommended",
    "PublicAPI",
    "is_overridden",
    "override",
]


def override(cls: type[Any]) -> Callable[[T], T]:
    """Says that a method replaces one of `cls`.

    Raises:
        NameError: `cls` has no method of that name.
    """

    def check(method: T) -> T:
        name = getattr(method, "__name__", None)
        if name is not None and name not in dir(cls):
            raise NameError(f"{name} overrides nothing: {cls.__name__} has no method of this name.")
        return method

    return check


def _marks(obj: Any = None, **kwargs: Any) -> Any:
    # With or without brackets: @PublicAPI, @PublicAPI(stability="beta")
    return obj if obj is not None else lambda inner: inner


def PublicAPI(obj: Any = None, **kwargs: Any) -> Any:
    """Says that users may rely on it."""
    return _marks(obj, **kwargs)


def DeveloperAPI(obj: Any = None, **kwargs: Any) -> Any:
    """Says that it is for people who extend the library."""
    return _marks(obj, **kwargs)


def ExperimentalAPI(obj: Any = None, **kwargs: Any) -> Any:
    """Says that it may change."""
    return _marks(obj, **kwargs)


def OverrideToImplementCustomLogic(obj: T) -> T:
    """Says that a method is there to be overridden."""
    obj.__is_overridden__ = False  # type: ignore[attr-defined]
    return obj


def OverrideToImplementCustomLogic_CallToSuperRecommended(obj: T) -> T:
    """Says that a method is there to be overridden, by one that calls it."""
    obj.__is_overridden__ = False  # type: ignore[attr-defined]
    return obj


def is_overridden(obj: Any) -> bool:
    """Whether a method is another than the one that was marked as there to be overridden."""
    return bool(getattr(obj, "__is_overridden__", True))


def Deprecated(old: Any = None, *, new: str | None = None, help: str | None = None, error: Any = False) -> Any:
    """Warns whoever calls a function (or makes an object of a class) that there is something better.

    Args:
        old: What it is called; by default its own name.
        new: What to use instead.
        help: More words.
        error: Raise ValueError (or this exception) rather than warn.
    """
    import functools

    from aktis.rllib.utils.deprecation import deprecation_warning

    def mark(obj: Any) -> Any:
        name = old if isinstance(old, str) else obj.__name__
        if isinstance(obj, type):
            plain_init = obj.__init__  # type: ignore[misc]

            def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
                deprecation_warning(name, new, help=help, error=error)
                plain_init(self, *args, **kwargs)

            obj.__init__ = functools.wraps(plain_init)(__init__)  # type: ignore[misc]
            return obj

        @functools.wraps(obj)
        def called(*args: Any, **kwargs: Any) -> Any:
            deprecation_warning(name, new, help=help, error=error)
            return obj(*args, **kwargs)

        return called

    return mark(old) if callable(old) else mark
