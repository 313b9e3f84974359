"""``@aktis.remote``."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from aktis import actor, remote_function

if TYPE_CHECKING:
    from aktis.actor import ActorClass
    from aktis.remote_function import MultiFunction, RemoteFunction, RemoteGenerator

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


class _Decorator(Protocol):
    """Static type of ``remote(num_cpus=2)``."""

    @overload
    def __call__(self, function: type[A], /) -> ActorClass[A]: ...
    @overload
    def __call__(self, function: Callable[P, Generator[R, Any, Any]], /) -> RemoteGenerator[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncGenerator[R, Any]], /) -> RemoteGenerator[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> RemoteFunction[P, R]: ...


class _MultiDecorator(Protocol):
    """Static type of ``remote(num_returns=2)``."""

    def __call__(self, function: Callable[P, Any], /) -> MultiFunction[P]: ...


@overload
def remote(function: type[A], /) -> ActorClass[A]: ...
@overload
def remote(function: Callable[P, Generator[R, Any, Any]], /) -> RemoteGenerator[P, R]: ...
@overload
def remote(function: Callable[P, AsyncGenerator[R, Any]], /) -> RemoteGenerator[P, R]: ...
@overload
def remote(function: Callable[P, Coroutine[Any, Any, R]], /) -> RemoteFunction[P, R]: ...
@overload
def remote(function: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(*, num_returns: int, **options: Any) -> _MultiDecorator: ...
@overload
def remote(**options: Any) -> _Decorator: ...
def remote(*args: Any, **options: Any) -> Any:
    """Make a function remote, or a class an actor class: ``@aktis.remote`` or ``@aktis.remote(num_cpus=2)``."""
    if len(args) == 1 and not options:
        return _make(args[0], {})
    if args or not options:
        raise TypeError(
            "@aktis.remote is used bare, or with keyword arguments only, as in @aktis.remote(num_cpus=2, num_returns=2)"
        )
    return lambda target: _make(target, options)


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, (remote_function.RemoteFunction, actor.ActorClass)):
        raise TypeError(f"{target!r} is remote already: decorate once, and use .options() to change its options")
    if inspect.isclass(target):
        return actor.ActorClass(actor.describe_class(target), options)
    if callable(target):
        return remote_function.RemoteFunction(remote_function.describe(target), options)
    raise TypeError(f"@aktis.remote takes a function or a class, got {target!r} ({type(target).__name__})")
