"""Calls in local testing mode: the same face as calls of replicas, over a future of the application's loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from typing import Any, NoReturn

from aktis import ObjectRef
from aktis.serve._routing.calls import DONE, FAILED, WAITING, Call, cancel_children, fire
from aktis.serve._routing.responses import running_loop, until_future, wait_until
from aktis.serve.exceptions import RequestCancelledError
from aktis.serve.handle import DeploymentResponseGenerator

_END = object()


class LocalCall(Call):
    """A call that is WAITING until it has its outcome."""

    __slots__ = ("future",)

    future: Future[Any]

    def go(self, again: bool = False) -> None:
        self.future = asyncio.run_coroutine_threadsafe(self._run(), self.router.loop)  # type: ignore[attr-defined]
        if self.state is not WAITING:  # cancelled meanwhile
            self.future.cancel()

    async def _run(self) -> None:
        try:
            args = [await value if isinstance(value, ObjectRef) else value for value in self.args]
            kwargs = {key: await value if isinstance(value, ObjectRef) else value for key, value in self.kwargs.items()}
            value = await self.router.call(self.meta, tuple(args), kwargs)  # type: ignore[attr-defined]
        except asyncio.CancelledError:
            self.finish(FAILED, RequestCancelledError(self.meta.request_id))
        except BaseException as error:
            self.finish(FAILED, error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        else:
            self.finish(DONE, value)

    def as_argument(self) -> Any:
        return self.value

    def cancel(self) -> bool:
        if not super().cancel():
            return False
        future = getattr(self, "future", None)
        if future is not None:
            future.cancel()
        cancel_children(self.meta.call_id)
        return True

    def drop(self) -> None:
        self.dropped = True

    def notice_end(self) -> None:
        """It always is noticed."""


class LocalStreamCall(LocalCall):
    """A call of a generator: ``items`` is the generator, which runs on the application's loop when somebody asks for an item."""

    __slots__ = ("is_over", "items")

    def go(self, again: bool = False) -> None:
        self.is_over = False
        self.items = self.router.stream(self.meta, self.args, self.kwargs)  # type: ignore[attr-defined]
        self.state = DONE
        fire(self.moved)

    def next(self) -> Future[Any]:
        """A future of the next item."""
        self.future = asyncio.run_coroutine_threadsafe(self._next(), self.router.loop)  # type: ignore[attr-defined]
        return self.future

    async def _next(self) -> Any:
        self.router.enter_context(self.meta)  # type: ignore[attr-defined]  # each item is made in a task of its own
        return await anext(self.items, _END)

    def cancel(self) -> bool:
        if self.state is WAITING:
            return super().cancel()
        if self.is_over or self.cancelled:
            return False
        self.cancelled = True
        self.over()
        future = getattr(self, "future", None)
        if future is not None and future.cancel():
            return True
        asyncio.run_coroutine_threadsafe(self.items.aclose(), self.router.loop)  # type: ignore[attr-defined]
        return True

    def drop(self) -> None:
        self.cancel()

    def over(self) -> None:
        """Nothing more will come."""
        self.is_over = True
        self._clean_up()


class LocalStream(DeploymentResponseGenerator):
    """The items of a generator in this process."""

    __slots__ = ()

    _call: Any

    def __next__(self) -> Any:
        if running_loop() is not None:
            raise RuntimeError("iterating here would block the event loop that runs on this thread: use `async for`")
        self._check()
        wait_until(self._call.when_moved, None)
        self._check()
        try:
            return self._given(self._call.next().result(), StopIteration)
        except CancelledError:
            self._cancelled()
        except Exception:
            self._end_now()
            raise

    async def __anext__(self) -> Any:
        if self._ended:
            raise StopAsyncIteration
        await until_future(self._call.when_moved)
        self._check()
        future = self._call.next()
        try:
            return self._given(await asyncio.wrap_future(future), StopAsyncIteration)
        except asyncio.CancelledError:
            if self._call.cancelled:
                self._cancelled()
            raise
        except Exception:
            self._end_now()
            raise

    def _check(self) -> None:
        if self._ended:
            raise StopIteration
        if self._call.cancelled:
            self._cancelled()
        if self._call.state is FAILED:
            self._ended = True
            raise self._call.value

    def _cancelled(self) -> NoReturn:
        self._ended = True
        raise RequestCancelledError(self._call.meta.request_id)

    def _given(self, item: Any, end: type[Exception]) -> Any:
        if item is _END:
            raise end
        return item

    def _end_now(self) -> None:
        self._ended = True
        self._call.over()
