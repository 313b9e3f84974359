"""``@serve.batch``: calls that come one by one run together.

::

    caller ── wrapper(x) ──► Queue.waiting ── full, or the first has waited long enough ──► function([x, y, z])
    caller ◄── its future ◄─────────────────── one result each ◄────────────────────────────┘

There is a queue for each instance (of a method) and event loop, made with the first call: see ``_replica/batch_queue.py``.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, overload

from aktis.serve._replica.batch_queue import Queue, Queues, Settings

F = TypeVar("F", bound=Callable[..., Any])


@overload
def batch(_func: F, /) -> F: ...
@overload
def batch(
    *,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float = 0.0,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], int] | None = None,
) -> Callable[[F], F]: ...
def batch(
    _func: Callable[..., Any] | None = None,
    /,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float = 0.0,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], int] | None = None,
) -> Any:
    """Make an ``async def`` function or method of single items out of one that takes and returns lists.

    Each parameter becomes a list with the values of all calls in the batch; the function returns a list (or array) with
    one result for each. An exception in the list is raised for its caller only. An asynchronous generator yields such
    lists: each caller gets a generator of its own items (StopIteration in a list ends one of them).

    The decorated function has ``set_max_batch_size(n)``, ``set_batch_wait_timeout_s(seconds)`` and
    ``set_max_concurrent_batches(n)``, for example for ``reconfigure``.

    Args:
        max_batch_size: calls that run together at most.
        batch_wait_timeout_s: how long the first call of a batch waits for others, in seconds. 0: takes what is there.
        max_concurrent_batches: batches that run at the same time.
        batch_size_fn: the size of a list of items (of the first parameter), where that is not their number: tokens, for
            example. ``max_batch_size`` is then in the same unit.

    Raises:
        TypeError: the function is no ``async def`` function, or an option has a wrong type.
        ValueError: an option is out of range.
    """
    options = (max_batch_size, batch_wait_timeout_s, max_concurrent_batches, batch_size_fn)
    Settings(*options)  # wrong ones are refused here, and not where the function is

    def decorate(function: Callable[..., Any]) -> Any:
        if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            name = getattr(function, "__qualname__", None) or repr(function)
            raise TypeError(f"functions decorated with @serve.batch must be 'async def', and {name} is not")
        return _wrap(function, Settings(*options))

    return decorate if _func is None else decorate(_func)


def _wrap(function: Callable[..., Any], settings: Settings) -> Any:
    place = f"__aktis_batch_{function.__qualname__}"

    def queue_of(args: tuple[Any, ...]) -> tuple[Queue, tuple[Any, ...]]:
        if not _is_method(function, args):
            return settings.queues.of(function, settings, ()), args
        return _queues_of(args[0], place).of(function, settings, args[:1]), args[1:]

    async def call_batched(*args: Any, **kwargs: Any) -> Any:
        queue, args = queue_of(args)
        call = queue.add(args, kwargs)
        try:
            return await call.future
        except asyncio.CancelledError:
            queue.leave(call)
            raise

    async def iterate_batched(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        queue, args = queue_of(args)
        async for item in queue.items_of(queue.add(args, kwargs)):
            yield item

    wrapper: Any = iterate_batched if inspect.isasyncgenfunction(function) else call_batched
    wrapper = functools.wraps(function)(wrapper)
    wrapper.set_max_batch_size = settings.set_max_batch_size
    wrapper.set_batch_wait_timeout_s = settings.set_batch_wait_timeout_s
    wrapper.set_max_concurrent_batches = settings.set_max_concurrent_batches
    wrapper._get_max_batch_size = lambda: settings.max_batch_size
    wrapper._get_batch_wait_timeout_s = lambda: settings.batch_wait_timeout_s
    return wrapper


def _queues_of(instance: Any, place: str) -> Queues:
    queues = vars(instance).get(place) if hasattr(instance, "__dict__") else None
    if queues is None:
        queues = Queues()
        try:
            setattr(instance, place, queues)
        except AttributeError as error:
            raise TypeError(
                f"a {type(instance).__name__} takes no attributes (it has __slots__, or is frozen), and @serve.batch keeps the "
                "calls that wait in one: let it have a __dict__"
            ) from error
    return queues


def _is_method(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a call with ``args`` is one of a method: when it is decorated, a method is still a function."""
    if not args:
        return False
    code = function.__code__
    if code.co_argcount and code.co_varnames[0] == "self":
        return True
    owner = function.__qualname__.rpartition(".")[0]
    in_class = bool(owner) and not owner.endswith("<locals>")
    holder = args[0] if inspect.isclass(args[0]) else type(args[0])
    return in_class and hasattr(holder, function.__name__)
