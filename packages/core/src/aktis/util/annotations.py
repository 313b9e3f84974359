"""Marks for the stability of public names, as libraries written for Ray expect them.

They add a line to the documentation and nothing to the call: a decorated function is the function itself,
except for ``Deprecated(warning=True)``, which warns when it is called.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar, cast, overload

T = TypeVar("T", bound=Callable[..., Any])

__all__ = [
    "AktisDeprecationWarning",
    "AnnotationType",
    "Deprecated",
    "DeveloperAPI",
    "PublicAPI",
    "RayDeprecationWarning",
]


class AktisDeprecationWarning(DeprecationWarning):
    """A deprecated part of Aktis, or of a library on it, was used."""


RayDeprecationWarning = AktisDeprecationWarning


class AnnotationType(Enum):
    """What a decorated name promises."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


@overload
def PublicAPI(target: T) -> T: ...


@overload
def PublicAPI(*, stability: str = "stable", api_group: str = "Others") -> Callable[[T], T]: ...


def PublicAPI(target: T | None = None, *, stability: str = "stable", api_group: str = "Others") -> Any:
    """Mark a name as public; ``stability`` is "stable", "beta" or "alpha"."""
    if stability not in ("stable", "beta", "alpha"):
        raise ValueError(f"stability must be 'stable', 'beta' or 'alpha', not {stability!r}")

    def mark(obj: T) -> T:
        if stability != "stable":
            _append_doc(obj, f"**{stability.capitalize()}:** this may still change before it becomes stable.")
        _annotate(obj, AnnotationType.PUBLIC_API, api_group)
        return obj

    return mark if target is None else mark(target)


@overload
def DeveloperAPI(target: T) -> T: ...


@overload
def DeveloperAPI(*, api_group: str = "Others") -> Callable[[T], T]: ...


def DeveloperAPI(target: T | None = None, *, api_group: str = "Others") -> Any:
    """Mark a name as meant for authors of libraries; it may change in minor releases."""

    def mark(obj: T) -> T:
        _append_doc(obj, "**For developers of libraries:** this may change in minor releases.")
        _annotate(obj, AnnotationType.DEVELOPER_API, api_group)
        return obj

    return mark if target is None else mark(target)


@overload
def Deprecated(target: T) -> T: ...


@overload
def Deprecated(*, message: str = ..., warning: bool = False) -> Callable[[T], T]: ...


def Deprecated(target: T | None = None, *, message: str = "", warning: bool = False) -> Any:
    """Mark a name as on its way out. With ``warning``, calls emit :class:`AktisDeprecationWarning`."""

    def mark(obj: T) -> T:
        text = message or "This is deprecated and will be removed in a later release."
        _append_doc(obj, f"**Deprecated:** {text}")
        _annotate(obj, AnnotationType.DEPRECATED, "Others")
        return _warning_when_called(obj, text) if warning else obj

    return mark if target is None else mark(target)


def _warning_when_called(obj: T, text: str) -> T:
    notice = f"{getattr(obj, '__qualname__', obj)} is deprecated. {text}"
    if inspect.isclass(obj):
        cls = cast(Any, obj)
        plain_init = cls.__init__

        @functools.wraps(plain_init)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            warnings.warn(notice, AktisDeprecationWarning, stacklevel=2)
            plain_init(self, *args, **kwargs)

        cls.__init__ = init
        return obj

    @functools.wraps(obj)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(notice, AktisDeprecationWarning, stacklevel=2)
        return obj(*args, **kwargs)

    return cast(T, wrapper)


def _append_doc(obj: Any, note: str) -> None:
    doc = inspect.cleandoc(obj.__doc__ or "")
    try:
        obj.__doc__ = f"{doc}\n\n{note}".strip()
    except AttributeError:  # a builtin: it keeps its own text
        pass


def _annotate(obj: Any, kind: AnnotationType, api_group: str) -> None:
    try:
        obj._annotated = getattr(obj, "__name__", None)
        obj._annotated_type = kind
        obj._annotated_api_group = api_group
    except AttributeError:  # a builtin: nothing can be attached
        pass
