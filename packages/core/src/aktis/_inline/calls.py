"""One call, of a task or of a method, from submit to its result.

Life of a call::

    PENDING_ARGS_AVAIL ──► PENDING_NODE_ASSIGNMENT ──► RUNNING ──► FINISHED
            │                 (or the actor's queue)      │  ▲          FAILED
            └──────────── cancelled, argument failed ─────┴──┘ retried
"""

from __future__ import annotations

import asyncio
import bdb
import contextvars
import inspect
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._generators import DynamicObjectRefGenerator, ObjectRefGenerator
from aktis._inline.streams import Stream
from aktis._inline.values import Arguments, Failure, InlineRef, Value
from aktis.exceptions import TaskCancelledError, WorkerCrashedError

if TYPE_CHECKING:
    from aktis._inline.actors import InlineActor
    from aktis._inline.engine import InlineEngine
    from aktis._inline.ledger import Lease

current_call: contextvars.ContextVar[Call | None] = contextvars.ContextVar("aktis_inline_call", default=None)

# Debuggers stop a program with exceptions of their own; those end the driver and not the task.
PASS_THROUGH = (KeyboardInterrupt, bdb.BdbQuit)


class Call:
    """Everything about one call."""

    __slots__ = (
        "__weakref__", "actor", "arguments", "attempt", "cancelled", "children", "counted", "ended", "error", "function",
        "function_name", "group", "is_coroutine", "is_generator", "lease", "max_retries", "missing", "name",
        "num_returns", "options", "parent", "refs", "retry_exceptions", "started", "state", "stream", "submitted",
        "task", "task_id",
    )  # fmt: skip

    def __init__(self, task_id: bytes, name: str, function_name: str, arguments: Arguments, num_returns: Any) -> None:
        self.task_id = task_id
        self.name = name
        self.function_name = function_name
        self.arguments: Arguments | None = arguments
        self.num_returns = num_returns
        self.refs: list[InlineRef] = []
        self.missing = 0  # arguments that are not there yet
        self.state = "PENDING_ARGS_AVAIL"
        self.actor: InlineActor | None = None
        self.group = ""
        self.function: Callable[..., Any] | None = None
        self.is_generator = self.is_coroutine = False
        self.options: Any = None
        self.max_retries = 0
        self.retry_exceptions: Any = False
        self.attempt = 0
        self.parent = current_call.get()
        self.children: weakref.WeakSet[Call] = weakref.WeakSet()
        if self.parent is not None:
            self.parent.children.add(self)
        self.cancelled = False
        self.stream: Stream | None = None
        self.task: Any = None  # the asyncio task, while it runs as one
        self.lease: Lease | None = None
        self.counted: Any = None  # the hold whose pending calls count this one
        self.error = ""
        self.submitted = time.time()
        self.started = self.ended = 0.0

    @property
    def done(self) -> bool:
        return self.state in ("FINISHED", "FAILED")


class Executor:
    """Runs calls, and turns what they do into results."""

    def __init__(self, engine: InlineEngine) -> None:
        self._engine = engine

    # results ---------------------------------------------------------------------------------

    def prepare(self, call: Call) -> Any:
        """Make the references of a new call, and what ``.remote()`` returns."""
        engine, count = self._engine, call.num_returns
        call.refs = [
            InlineRef(engine, call.task_id + index.to_bytes(4, "big"), call, None)
            for index in range(max(count, 1) if isinstance(count, int) else 1)
        ]
        engine.note(call)
        if count == "streaming":
            call.stream = Stream(engine, call, call.refs[0])
            return ObjectRefGenerator(call.stream)
        if count == 0:
            return None
        return call.refs[0] if count in (1, "dynamic") else list(call.refs)

    def succeed(self, call: Call, value: Any) -> None:
        """Store the result(s) of a call that returned."""
        if call.cancelled and call.actor is None:
            self.reject(call, TaskCancelledError(call.task_id.hex()))
            return
        try:
            values = self._split(call, value)
            payloads = [Value(item, f"return value of {call.name}") for item in values]
        except Exception as error:
            self.fail(call, error)
            return
        self._end(call, "FINISHED")
        for ref, payload in zip(call.refs, payloads):
            ref.settle(payload)
        self._forget(call)

    def _split(self, call: Call, value: Any) -> list[Any]:
        count = call.num_returns
        if count in (1, "dynamic", "streaming"):
            return [value]
        if count == 0:
            return [None]
        if not hasattr(value, "__len__") and not hasattr(value, "__iter__"):
            raise ValueError(f"{call.name} has num_returns={count}, but returned one {type(value).__name__}: {value!r}")
        values = list(value)
        if len(values) != count:
            raise ValueError(f"{call.name} has num_returns={count}, but returned {len(values)} values")
        return values

    def fail(self, call: Call, error: BaseException) -> None:
        """The user's code raised: readers get the dual exception with the trimmed traceback."""
        if call.cancelled:
            self.reject(call, TaskCancelledError(call.task_id.hex()))
            return
        actor = call.actor
        failure = Failure(
            error,
            call.name,
            pid=self._engine.pid,
            actor_repr=actor.repr() if actor else None,
            actor_id=actor.actor_id.hex() if actor else None,
        )
        self.settle_failure(call, failure)

    def reject(self, call: Call, error: Exception) -> None:
        """The call ends with an error of Aktis."""
        self.settle_failure(call, Failure(error))

    def settle_failure(self, call: Call, failure: Failure) -> None:
        if call.done:
            return
        call.error = failure.text
        self._end(call, "FAILED")
        if call.stream is not None:
            call.stream.fail(failure)
        for ref in call.refs:
            ref.settle(failure)
        self._forget(call)

    def _end(self, call: Call, state: str) -> None:
        call.state = state
        call.ended = time.time()
        if call.counted is not None:
            call.counted.pending -= 1
            call.counted = None
        if call.lease is not None:
            lease, call.lease = call.lease, None
            self._engine.release(lease)

    def _forget(self, call: Call) -> None:
        call.refs = []
        call.arguments = None
        call.function = None
        call.task = None
        self._engine.scheduler.notify()

    # running ---------------------------------------------------------------------------------

    def run(self, call: Call, on_done: Callable[[], None] = lambda: None) -> None:
        """Run a call of a plain function or generator in this thread. ``on_done``: it has ended, perhaps much later."""
        call.state = "RUNNING"
        call.started = call.started or time.time()
        token = current_call.set(call)
        try:
            while True:
                try:
                    self._run_once(call, on_done)
                    return
                except PASS_THROUGH as error:
                    self.fail(call, error)
                    on_done()
                    raise
                except SystemExit as error:
                    if not self._survives_exit(call, error):
                        on_done()
                        return
                except Exception as error:
                    if not self.retries(call, error):
                        self.fail(call, error)
                        on_done()
                        return
        finally:
            current_call.reset(token)

    def _run_once(self, call: Call, on_done: Callable[[], None]) -> None:
        assert call.arguments is not None and call.function is not None
        args, kwargs = call.arguments.thaw()
        value = call.function(*args, **kwargs)
        if not inspect.isgenerator(value):
            self.succeed(call, value)
        elif call.stream is not None:
            call.stream.attach(value, on_done)
            return
        elif call.num_returns == "dynamic":
            self.succeed(call, self._collect(call, value))
        else:
            self.succeed(call, list(value))
        on_done()

    def _collect(self, call: Call, values: Any) -> DynamicObjectRefGenerator[Any]:
        refs: list[Any] = []
        for value in values:
            refs.append(self.item(call, len(refs) + 1, Value(value, f"item {len(refs)} of {call.name}")))
        return DynamicObjectRefGenerator(refs)

    def item(self, call: Call, index: int, payload: Value | Failure) -> InlineRef:
        """A reference to one value that a generator yielded; number 0 is the whole."""
        return InlineRef(self._engine, call.task_id + index.to_bytes(4, "big"), call, payload)

    def retries(self, call: Call, error: BaseException) -> bool:
        """Whether the call is to run again after this error of the user's code. Counts the attempt."""
        wanted = call.retry_exceptions
        if call.cancelled or not wanted or (wanted is not True and not isinstance(error, wanted)):
            return False
        return self.count_attempt(call)

    @staticmethod
    def count_attempt(call: Call) -> bool:
        if call.max_retries != -1 and call.attempt >= call.max_retries:
            return False
        call.attempt += 1
        return True

    def _survives_exit(self, call: Call, error: SystemExit) -> bool:
        """``sys.exit`` ends the worker process of a task, and the actor of a method."""
        if call.actor is not None:
            call.actor.exited(call, error)
            return False
        if self.count_attempt(call):
            return True
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        self.reject(
            call,
            WorkerCrashedError(f"the worker that ran {call.name} ended itself with exit code {code}", exit_code=code),
        )
        return False

    async def run_async(self, call: Call, on_done: Callable[[], None]) -> None:
        """Run a call on a private loop: coroutines, async generators, and plain methods of async actors."""
        current_call.set(call)  # the task has a context of its own
        call.state = "RUNNING"
        call.started = call.started or time.time()
        call.task = asyncio.current_task()
        try:
            while True:
                try:
                    await self._await_once(call)
                    return
                except asyncio.CancelledError:
                    self.reject(call, TaskCancelledError(call.task_id.hex()))
                    return
                except SystemExit as error:
                    if not self._survives_exit(call, error):
                        return
                except BaseException as error:
                    if not self.retries(call, error):
                        self.fail(call, error)
                        return
        finally:
            on_done()

    async def _await_once(self, call: Call) -> None:
        assert call.arguments is not None and call.function is not None
        args, kwargs = call.arguments.thaw()
        value = call.function(*args, **kwargs)
        if inspect.isasyncgen(value):
            if call.stream is not None:
                await call.stream.feed(value)
                return
            value = await self._gather(call, value)
        elif inspect.isgenerator(value):
            if call.stream is not None:
                await call.stream.feed(_as_async(value))
                return
            value = self._collect(call, value) if call.num_returns == "dynamic" else list(value)
        elif inspect.isawaitable(value):
            value = await value
        self.succeed(call, value)

    async def _gather(self, call: Call, values: Any) -> Any:
        items = [item async for item in values]
        return self._collect(call, items) if call.num_returns == "dynamic" else items


async def _as_async(values: Any) -> Any:
    for value in values:
        yield value
