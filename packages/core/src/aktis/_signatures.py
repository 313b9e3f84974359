"""Arity of callables, checked where the call is made: two integers for the common case, ``signature.bind`` otherwise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

UNLIMITED = 1 << 30


def signature_of(function: Callable[..., Any], *, skip_self: bool = False) -> inspect.Signature | None:
    """The signature, or None for callables that do not tell theirs (some builtins)."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return None
    if not skip_self:
        return signature
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        parameters = parameters[1:]
    return signature.replace(parameters=parameters)


def arity(signature: inspect.Signature | None) -> tuple[int, int]:
    """(least, most): how many arguments a call without keywords may have. A required keyword makes it (1, 0): never."""
    if signature is None:
        return 0, UNLIMITED
    least = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            most = UNLIMITED
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.default is inspect.Parameter.empty:
                return 1, 0
        elif parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            most += 1
            if parameter.default is inspect.Parameter.empty:
                least += 1
    return least, most


def check(name: str, signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise the TypeError that calling the function itself would raise."""
    if signature is None:
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}{signature}: {error}") from None
