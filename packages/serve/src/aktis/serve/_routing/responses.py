"""What ``handle.remote()`` gives: the result of a call that may not have ended, or not even begun."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from time import monotonic
from typing import Any

import aktis
from aktis.exceptions import GetTimeoutError
from aktis.serve._routing.calls import DONE, FAILED, SENT, UNREAD, WAITING, Call
from aktis.serve._routing.streams import StreamCall


def running_loop() -> Any:
    """The event loop that runs on this thread. Without importing asyncio: programs without it are spared that."""
    module = sys.modules.get("asyncio")
    return None if module is None else module._get_running_loop()


class Response:
    """The result of one call of a deployment, as :class:`aktis.serve.DeploymentResponse` documents it."""

    __slots__ = ("__weakref__", "_call")

    def __init__(self, call: Call) -> None:
        self._call = call

    # threads ----------------------------------------------------------------------------------
    def result(self, timeout_s: float | None = None, *, _skip_asyncio_check: bool = False) -> Any:
        """The result; waits for it.

        Args:
            timeout_s: seconds to wait; None: as long as it takes.

        Raises:
            TimeoutError: not there in time. The call goes on; ``cancel()`` ends it.
            RuntimeError: called on the thread of an event loop, which would stand still: ``await`` the response there.
            Exception: what the user's code raised (it is an ``AktisTaskError`` too), and what Serve raises.
        """
        call = self._call
        try:
            if running_loop() is not None and not _skip_asyncio_check and call.state < DONE:
                raise RuntimeError(
                    "response.result() would block the event loop that runs on this thread: use `await response`"
                )
            if timeout_s is None:
                while call.state < DONE:
                    ref = call.ref
                    if call.state is SENT and ref is not None:
                        call.read(ref)
                    else:
                        wait_until(call.when_moved, None)
            else:
                _finish_in_time(call, timeout_s)
            if call.state is FAILED:
                raise call.value
            return call.value if call.value is not UNREAD else aktis.get(call.ref)
        finally:
            del call, self  # the traceback of what is raised has this frame: no cycle through it

    def __aktis_result__(self, timeout: float | None = None) -> Any:
        return self.result(timeout, _skip_asyncio_check=True)

    # event loops ------------------------------------------------------------------------------
    def __await__(self) -> Generator[Any, None, Any]:
        call = self._call
        try:
            while call.state < DONE:
                ref = call.ref
                if call.state is SENT and ref is not None:
                    call.watched = ref
                    try:
                        value = yield from ref.__await__()
                    except Exception as error:
                        call.settle_error(ref, error.with_traceback(None))
                    except BaseException:  # the task is cancelled, or thrown away
                        call.unwatch()
                        raise
                    else:
                        call.settle(ref, value)
                else:
                    yield from until(call.when_moved)
            if call.state is FAILED:
                raise call.value
            return call.value if call.value is not UNREAD else aktis.get(call.ref)
        finally:
            del call, self

    # cancelling -------------------------------------------------------------------------------
    def cancel(self) -> None:
        """Give the call up: if it waits it is never sent; async user code that runs gets a ``CancelledError``.

        Whoever waits for the result gets :class:`~aktis.serve.exceptions.RequestCancelledError`. Synchronous user code cannot be
        interrupted; what it returns is dropped. Does nothing when the call has ended.
        """
        self._call.cancel()

    def cancelled(self) -> bool:
        """Whether :meth:`cancel` came before the end of the call."""
        return self._call.cancelled

    def done(self) -> bool:
        """Whether the outcome is known here."""
        return self._call.state >= DONE

    @property
    def request_id(self) -> str:
        """Id of the request, as in logs."""
        return self._call.meta.request_id

    # references -------------------------------------------------------------------------------
    async def _to_object_ref(self) -> aktis.ObjectRef[Any]:
        """A reference to the result. Waits until a replica has done the call, as only then it is known that it took it."""
        await until_future(self._call.when_finished)
        return self._ref()

    def _to_object_ref_sync(self, _timeout_s: float | None = None) -> aktis.ObjectRef[Any]:
        """As :meth:`_to_object_ref`, for threads."""
        if not wait_until(self._call.when_finished, _timeout_s):
            raise GetTimeoutError(f"the call was not done within {_timeout_s} s")
        return self._ref()

    def _ref(self) -> aktis.ObjectRef[Any]:
        call = self._call
        ref: aktis.ObjectRef[Any] | None = call.ref
        if call.state is FAILED and ref is None:
            raise call.value
        if ref is None:
            raise RuntimeError("in local testing mode there are no references: pass the response itself, or its result")
        return ref

    def __aktis_ref__(self) -> aktis.ObjectRef[Any]:
        """For arguments of tasks and actors."""
        if self._call.state < DONE and running_loop() is not None:
            raise RuntimeError(
                "this response is not done, and waiting for it would block the event loop: pass `await response`, or the "
                "reference that `await response._to_object_ref()` gives"
            )
        return self._to_object_ref_sync()

    def __aktis_pending__(self) -> aktis.ObjectRef[Any]:
        """For ``aktis.wait``: a reference that is ready about when the response is."""
        call = self._call
        while True:
            ref = call.ref
            if ref is not None:
                return ref  # type: ignore[no-any-return]
            if call.state >= DONE:
                return aktis.put(None)
            wait_until(call.when_moved, None)

    # life -------------------------------------------------------------------------------------
    def __del__(self) -> None:
        try:
            call = self._call
            if call.state < DONE:
                call.dropped = True
                # Not here: finalizers run anywhere, with any lock held.
                call.router._watcher.call_soon(call.drop)
        except AttributeError:  # the constructor failed, or the interpreter ends
            pass

    def __reduce__(self) -> Any:
        return _same, (self.__aktis_ref__(),)

    def __repr__(self) -> str:
        call = self._call
        return f"{type(self).__name__}({call.router.id}.{call.meta.method}, {call.state.name.lower()})"


class StreamResponse:
    """The items of one call of a generator, as :class:`aktis.serve.DeploymentResponseGenerator` documents it."""

    __slots__ = ("__weakref__", "_call", "_ended")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._ended = False

    def result(self, *, timeout_s: float | None = None) -> Any:
        """There is no single result: raises TypeError."""
        raise TypeError(
            f"{type(self).__name__} has no single result: use `for item in response`, or `async for` in async code"
        )

    # threads ----------------------------------------------------------------------------------
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        call = self._call
        if running_loop() is not None:
            raise RuntimeError("iterating here would block the event loop that runs on this thread: use `async for`")
        try:
            while not self._ended:
                items = call.ref
                if call.state is WAITING:
                    wait_until(call.when_moved, None)
                elif call.state is FAILED:
                    self._ended = True
                    raise call.value
                elif items is not None:
                    try:
                        found, value = self._take(items, next(items))
                    except StopIteration:
                        self._end(items)
                        continue
                    if found:
                        return value
            raise StopIteration
        finally:
            del call, self

    # event loops ------------------------------------------------------------------------------
    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        try:
            while not self._ended:
                items = call.ref
                if call.state is WAITING:
                    await until_future(call.when_moved)
                elif call.state is FAILED:
                    self._ended = True
                    raise call.value
                elif items is not None:
                    try:
                        found, value = self._take(items, await items.__anext__())
                    except StopAsyncIteration:
                        self._end(items)
                        continue
                    if found:
                        return value
            raise StopAsyncIteration
        finally:
            del call, self

    def _take(self, items: Any, ref: Any) -> tuple[bool, Any]:
        """An item is there: (whether it is one for the user, its value)."""
        call = self._call
        try:
            value = aktis.get(ref)
        except Exception as error:
            if call.failed(items, error.with_traceback(None)):
                return False, None  # it begins again elsewhere
            self._ended = True
            raise
        if call.state is DONE:
            call.given = True
            return True, value
        call.settle(items, value)  # None: the replica has taken it; or a Rejected
        return False, None

    def _end(self, items: Any) -> None:
        self._ended = True
        self._call.ended(items)

    # cancelling -------------------------------------------------------------------------------
    def cancel(self) -> None:
        """Give the call up: the generator in the replica is closed, what it had yielded is dropped."""
        self._call.cancel()

    def close(self) -> None:
        """The same, and iterating ends."""
        self._ended = True
        self._call.cancel()

    async def aclose(self) -> None:
        """The same, for async code."""
        self.close()

    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called before the end."""
        return self._call.cancelled

    @property
    def request_id(self) -> str:
        """Id of the request, as in logs."""
        return self._call.meta.request_id

    def __del__(self) -> None:
        try:
            call = self._call
            if not call.is_over:
                call.router._watcher.call_soon(call.drop)
        except AttributeError:
            pass

    def __reduce__(self) -> Any:
        raise TypeError(
            "a DeploymentResponseGenerator cannot be sent to other processes: iterate over it, and send its items"
        )

    def __repr__(self) -> str:
        call = self._call
        return f"{type(self).__name__}({call.router.id}.{call.meta.method}, {'over' if call.is_over else 'not over'})"


def _same(value: Any) -> Any:
    return value


# Waiting -------------------------------------------------------------------------------------------------------------


def wait_until(register: Callable[[Callable[[], None]], None], timeout: float | None) -> bool:
    """Block the thread until the callback that ``register`` is given is called. False: not within ``timeout`` seconds."""
    gate = threading.Lock()
    gate.acquire()
    register(gate.release)
    return gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


def until(register: Callable[[Callable[[], None]], None]) -> Generator[Any, None, None]:
    """The same for a task of the running loop, which others run on meanwhile."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    owner = threading.get_ident()

    def finish() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        if threading.get_ident() == owner:
            finish()
            return
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the loop was closed while we waited
            pass

    register(wake)
    yield from future.__await__()


async def until_future(register: Callable[[Callable[[], None]], None]) -> None:
    """:func:`until` for ``await``."""
    await _Until(register)


class _Until:
    def __init__(self, register: Callable[[Callable[[], None]], None]) -> None:
        self.register = register

    def __await__(self) -> Generator[Any, None, None]:
        return until(self.register)


def _finish_in_time(call: Call, timeout: float) -> None:
    """Wait until the call has its outcome. GetTimeoutError (a TimeoutError) after ``timeout`` seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise ValueError(f"timeout_s must be a number of seconds that is not negative, or None; got {timeout!r}")
    deadline = monotonic() + timeout
    while call.state < DONE:
        left = max(0.0, deadline - monotonic())
        ref = call.ref
        try:
            if call.state is SENT and ref is not None:
                call.read(ref, left)
                continue
            if wait_until(call.when_moved, left):
                continue
        except GetTimeoutError:
            pass
        if call.state < DONE:
            raise GetTimeoutError(
                f"{call.router.id}.{call.meta.method}() was not done within {timeout} s (it "
                f"{'runs in a replica' if call.state is SENT else 'waits for a replica'}). It goes on; response.cancel() ends it."
            )
