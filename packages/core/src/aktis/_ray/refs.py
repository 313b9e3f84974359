"""References that carry Ray's: wherever one is pickled, Ray counts it."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import ray

from aktis._generators import DynamicObjectRefGenerator, ObjectRefGenerator
from aktis._ray import errors
from aktis.exceptions import AktisSystemError, GetTimeoutError
from aktis.object_ref import _PLAIN, STANDS_FOR, ObjectRef, call_all, reference_of

DYNAMIC: Any = ray.DynamicObjectRefGenerator
epoch = 0  # number of the session in this process: references and handles of another one are refused


def begin_epoch() -> int:
    global epoch
    epoch += 1
    return epoch


class RayRef(ObjectRef[Any]):
    """One of Ray's references. Equal ones mean the same object."""

    __slots__ = ("_epoch", "_ref")

    def __init__(self, ref: Any) -> None:
        self._ref = ref
        self._epoch = epoch

    def binary(self) -> bytes:
        return bytes(self._ref.binary())

    def task_id(self) -> str:
        return str(self._ref.task_id().hex())

    def job_id(self) -> str:
        return str(self.check().job_id().hex())

    def check(self) -> Any:
        """Ray's reference, if it is of this session."""
        if self._epoch != epoch:
            raise AktisSystemError(f"{self!r} belongs to a session that was shut down")
        return self._ref

    def __hash__(self) -> int:
        return hash(self._ref)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, RayRef) and bool(self._ref == other._ref))

    def __reduce__(self) -> tuple[Any, ...]:
        return RayRef, (self.check(),)

    def future(self) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()

        def finish(done: Any) -> None:
            try:
                future.set_result(received(done.result()))
            except BaseException as error:
                future.set_exception(errors.translate(error))

        self.check().future().add_done_callback(finish)
        return future

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            value = yield from self.check().__await__()
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None
        return received(value)


def is_current(ref: Any) -> bool:
    return bool(ref._epoch == epoch)


def check_epoch(ref: Any) -> None:
    ref.check()


def received(value: Any) -> Any:
    """A value as the user gets it. Ray has a class of its own for the result of ``num_returns="dynamic"``."""
    if type(value) is DYNAMIC:
        return DynamicObjectRefGenerator([RayRef(ref) for ref in value])
    return value


def bare_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with Ray's references in the place of ours, at the top level, where Ray replaces them by values."""
    for value in args:
        kind = type(value)
        if kind not in _PLAIN and (kind is RayRef or hasattr(kind, STANDS_FOR)):
            args = tuple(map(_bare, args))
            break
    for value in kwargs.values():
        kind = type(value)
        if kind not in _PLAIN and (kind is RayRef or hasattr(kind, STANDS_FOR)):
            kwargs = {key: _bare(item) for key, item in kwargs.items()}
            break
    return args, kwargs


def _bare(value: Any) -> Any:
    value = reference_of(value)
    return value.check() if type(value) is RayRef else value


class RayStream:
    """The caller's side of a remote generator (see :class:`aktis._generators.StreamSource`)."""

    __slots__ = ("_closed", "completed_ref", "items")

    def __init__(self, items: Any) -> None:
        self.items = items
        self.completed_ref: ObjectRef[Any] = RayRef(items.completed())
        self._closed = False

    def next_ref(self, timeout: float | None) -> RayRef:
        check_epoch(self.completed_ref)
        if timeout is not None:
            ready, _ = ray.wait([self.items], timeout=timeout, fetch_local=False)
            if not ready:
                raise GetTimeoutError(f"the generator has given nothing for {timeout} seconds")
        try:
            return RayRef(next(self.items))
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None

    def ready(self) -> bool:
        return bool(self.items.next_ready())

    def finished(self) -> bool:
        return bool(self.items.is_finished())

    def add_item_callback(self, callback: Callable[[], None]) -> None:
        if self.ready():
            call_all((callback,))
            return

        def watch() -> None:
            try:
                ray.wait([self.items], fetch_local=False)
            finally:
                call_all((callback,))

        threading.Thread(target=watch, name="aktis-stream", daemon=True).start()

    def close(self) -> None:
        if self._closed or not is_current(self.completed_ref):
            return
        self._closed = True
        if ray.is_initialized() and not self.items.is_finished():
            ray.cancel(self.items)


class RayGenerator(ObjectRefGenerator[Any]):
    """Iterates in event loops as Ray's own does: without a thread that waits."""

    __slots__ = ("_items",)

    def __init__(self, source: RayStream) -> None:
        super().__init__(source)
        self._items = source.items

    def __aiter__(self) -> AsyncIterator[ObjectRef[Any]]:
        return self

    async def __anext__(self) -> ObjectRef[Any]:
        try:
            return RayRef(await self._items.__anext__())
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None


def wrapper(num_returns: Any) -> Callable[[Any], Any]:
    """What makes of Ray's answer to ``.remote()`` what ours returns."""
    if num_returns == "streaming":
        return lambda items: RayGenerator(RayStream(items))
    if num_returns == 0:
        return lambda nothing: None
    if num_returns in (1, "dynamic"):
        return RayRef
    return lambda refs: [RayRef(ref) for ref in refs]


def known(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, which waits until a call of Ray Client is made: what is wrong with it is raised only then."""

    def waiting(answer: Any) -> Any:
        for ref in answer if isinstance(answer, list) else [answer]:
            if ref is not None:
                ref.binary()
        return wrap(answer)

    return waiting
