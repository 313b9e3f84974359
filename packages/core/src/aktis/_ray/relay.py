"""What drivers that speak Ray Client (``ray://``) cannot do themselves: remote generators above all.

::

    driver (client)            relay (an actor of the driver's, in the cluster)        generator task
    open ────────────────────► .remote() on its behalf ───────────────────────────────► runs
    next: a call whose result ◄── [reference to the item], when it is there ◄─────────── items
    is a list of one reference     None: the end

One call of ``next`` is always under way: whether it is ready says whether the generator is.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from typing import Any

import ray

from aktis._ray import errors, refs
from aktis.exceptions import GetTimeoutError
from aktis.object_ref import ObjectRef, call_all

_UNIQUE = 12  # bytes of an actor's id that are its own: all ones in the ids of tasks, which have no actor


class Relay:
    """Holds the generators of one driver. Ray may start a call before one that was made earlier: all wait for ``open``."""

    def __init__(self) -> None:
        self._streams: dict[int, asyncio.Future[Any]] = {}
        self._closed: set[int] = set()

    def _stream(self, number: int) -> asyncio.Future[Any]:
        if number not in self._streams:
            self._streams[number] = asyncio.get_running_loop().create_future()
        return self._streams[number]

    def _open(self, number: int, target: Any, options: dict[str, Any], args: Any, kwargs: Any) -> None:
        try:
            self._stream(number).set_result(target.options(**options).remote(*args, **kwargs))
        except Exception as error:
            self._stream(number).set_exception(error)

    async def open_task(self, number: int, function: Any, options: dict[str, Any], args: Any, kwargs: Any) -> None:
        self._open(number, function, options, args, kwargs)

    async def open_method(
        self, number: int, actor: Any, method: str, options: dict[str, Any], args: Any, kwargs: Any
    ) -> None:
        self._open(number, getattr(actor, method), options, args, kwargs)

    async def next(self, number: int) -> list[Any] | None:
        """[the next item's reference], or None after the last one."""
        if number in self._closed:
            return None
        try:
            return [await (await self._stream(number)).__anext__()]
        except StopAsyncIteration:
            return None

    async def completed(self, number: int) -> Any:
        return None if number in self._closed else await (await self._stream(number)).completed()

    async def cancel(self, number: int, force: bool, recursive: bool) -> None:
        ray.cancel(await self._stream(number), force=force, recursive=recursive)

    async def close(self, number: int, cancel: bool) -> None:
        stream = await self._stream(number)
        self._closed.add(number)
        del self._streams[number]
        if cancel:
            ray.cancel(stream)


class Streams:
    """The driver's side: its relay, made when the first generator is called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._actor: Any = None
        self._count = 0
        self._open: weakref.WeakSet[RelayedStream] = weakref.WeakSet()

    def open(
        self, kind: str, target: tuple[Any, ...], options: dict[str, Any], args: Any, kwargs: Any
    ) -> RelayedStream:
        """``kind`` is "task" or "method", ``target`` what its ``open_`` method takes first."""
        with self._lock:
            if self._actor is None:
                self._actor = ray.remote(Relay).options(num_cpus=0, max_concurrency=1000).remote()
            self._count += 1
            number = self._count
        getattr(self._actor, f"open_{kind}").remote(number, *target, options, args, kwargs)
        stream = RelayedStream(self._actor, number)
        self._open.add(stream)
        return stream

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> bool:
        """Cancel the generator whose end this reference stands for; False when there is none."""
        for stream in tuple(self._open):
            if stream.completed_ref == ref:
                stream.cancel(force, recursive)
                return True
        return False


class RelayedStream:
    """See :class:`aktis._generators.StreamSource`."""

    __slots__ = ("__weakref__", "_actor", "_closed", "_ended", "_number", "_pending", "completed_ref")

    def __init__(self, actor: Any, number: int) -> None:
        self._actor = actor
        self._number = number
        self._ended = self._closed = False
        self._pending = actor.next.remote(number)
        self.completed_ref: ObjectRef[Any] = refs.RayRef(actor.completed.remote(number))

    @property
    def items(self) -> Any:
        """What ``wait`` waits for in the place of this."""
        return self._pending

    def next_ref(self, timeout: float | None) -> refs.RayRef:
        refs.check_epoch(self.completed_ref)
        if self._ended:
            raise StopIteration
        try:
            found = ray.get(self._pending, timeout=timeout)
        except errors.RAY_ERRORS as error:
            ours = errors.translate(error)
            if isinstance(ours, GetTimeoutError):
                raise GetTimeoutError(f"the generator has given nothing for {timeout} seconds") from None
            raise ours from None
        if found is None:
            self._ended = True
            raise StopIteration
        self._pending = self._actor.next.remote(self._number)
        return refs.RayRef(found[0])

    def ready(self) -> bool:
        return self._ended or bool(ray.wait([self._pending], timeout=0)[0])

    def finished(self) -> bool:
        if not self._ended and self.ready():
            self._ended = ray.get(self._pending) is None
        return self._ended

    def add_item_callback(self, callback: Callable[[], None]) -> None:
        self._pending.future().add_done_callback(lambda _: call_all((callback,)))

    def cancel(self, force: bool, recursive: bool) -> None:
        ray.get(self._actor.cancel.remote(self._number, force, recursive))

    def close(self) -> None:
        if self._closed or not refs.is_current(self.completed_ref):
            return
        self._closed = True
        if ray.is_initialized():
            self._actor.close.remote(self._number, not self._ended)


def locations(wanted: list[Any]) -> list[dict[str, Any]]:
    """Where objects are, for each of the references. A client has it called in the cluster."""
    found = ray.experimental.get_object_locations(wanted)
    return [dict(found.get(ref) or {}) for ref in wanted]


def check_force(ref: Any, force: bool) -> None:
    """Ray Client keeps to itself what Ray says to ``force`` with a call of an actor."""
    actor_id = ref.task_id().actor_id().binary()
    if force and not actor_id.startswith(b"\xff" * _UNIQUE):
        raise ValueError("force=True is not for calls of actors: aktis.kill() ends an actor")
