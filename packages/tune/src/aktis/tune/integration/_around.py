"""Runs of a tracker around whole trainables, for decorators of earlier releases."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def around(
    func: Callable[..., Any], mixin: type[Any], run: Callable[[dict[str, Any]], AbstractContextManager[None]]
) -> Callable[..., Any]:
    """The trainable with a run of the tracker around it.

    Args:
        func: A function trainable, or a class.
        mixin: What a class gets as a base.
        run: Makes the run around a function, from its configuration.
    """
    if isinstance(func, type):
        return type(func.__name__, (mixin, func), {"__doc__": func.__doc__, "__module__": func.__module__})

    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def generator(config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            with run(config):
                return (yield from func(config, *args, **kwargs))

        return generator

    @functools.wraps(func)
    def function(config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with run(config):
            return func(config, *args, **kwargs)

    return function
