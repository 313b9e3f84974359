"""The calls of an async actor, on its event loop.

::

    loop: pump readable ──► turn: read ──► begin calls, go on with tasks whose references came ──► send results
    other threads (deputy, threads in get) that happen to read ── LoopCall ──► inbox ──► one wake-up, then the same turn

Guarantees
- User code runs on the loop's thread only, never while this thread leads the pump: it may block in ``get``.
- A call's coroutine takes its first step in the turn that reads the call, inside its own task and context. One that
  never suspends has its answer sent at the end of that turn.
- At most ``limit`` calls of a concurrency group run; the others wait in the order in which they came.
- A cancelled call that has not begun never begins; one that runs gets a CancelledError at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from aktis._asyncio import Announcement, inbox_of
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.calls import ONE
from aktis._native.executor import SHORT, Running, current
from aktis._native.loop_lead import LoopLead
from aktis._native.pump import LOOP_NAP, SPIN

if TYPE_CHECKING:
    from aktis._native.actor_host import ActorHost
    from aktis._native.connection import Connection, Message

_SCALARS = values._SCALARS
_EAGER = sys.version_info >= (3, 12)
EVENT_LOOP = "__aktis_event_loop__"
"""A static method of an actor class of this name makes the event loop that its methods run on."""
LATER = "__aktis_later__"
"""What has a method of this name is, as the value of a call, one whose result comes later and takes no task to wait for. The
method is given ``answer(value, error)``, to be called on the loop, once; ``cancel()`` of the same object must call it soon."""


def new_event_loop(cls: type) -> asyncio.AbstractEventLoop:
    """The loop that an actor class wants. Raises TypeError when its method gives something else."""
    make = getattr(cls, EVENT_LOOP, None)
    if make is None:
        return asyncio.new_event_loop()
    loop = make()
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(f"{cls.__qualname__}.{EVENT_LOOP}() must return an event loop, it returned {loop!r}")
    return loop


class LoopCall(Running):
    """A call of an async actor, from its arrival to its answer."""

    __slots__ = ("began", "group", "key", "message", "side", "task")

    def __init__(self, side: LoopCalls, connection: Connection, message: Message, group: str) -> None:
        super().__init__(side.core, connection, message[1], message[2], message[6])
        self.side = side
        self.message: Message | None = message
        self.group = group
        self.key = (connection.peer_id, message[1])
        self.task: Any = None  # or what else can be cancelled
        self.began = 0.0

    def step(self) -> None:
        self.side.admit(self)

    def cancel_on_loop(self) -> bool:
        """In the leader: have it cancelled on the loop."""
        self.side.loop.call_soon_threadsafe(self.side.cancel, self)
        return True


class LoopCalls(LoopLead):
    """The event loop of an async actor, and what runs on it."""

    nap = LOOP_NAP

    def __init__(self, host: ActorHost, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(host.core.pump, inbox_of(loop), loop)
        self.host = host
        self.core = host.core
        self.executor = host.executor
        self.loop = loop
        self.stop = asyncio.Event()
        self._limits = host.limits
        self._running: dict[str, int] = dict.fromkeys(host.limits, 0)
        self._waiting: dict[str, deque[LoopCall]] = {group: deque() for group in host.limits}
        self._busy = 0  # calls that run
        self._answered = False  # in the turn that read what was answered: calls that take longer come better in batches
        self._spin_until = 0.0  # when to stop looking for further calls; 0 while not looking
        self._spinning = False  # the loop was asked to call _spin
        self._captured: tuple[Any, ...] = ()
        self._names: dict[str, str] = {}

    def serve(self, construct: Callable[[], bool]) -> None:
        """Construct the actor on the loop, then run what comes until :meth:`end`."""
        try:
            self.loop.run_until_complete(self._main(construct))
        finally:
            self.executor.flush_results()

    async def _main(self, construct: Callable[[], bool]) -> None:
        if not construct():
            return
        self.core.handlers[op.METHOD] = self._on_call
        lead = self.pump.loop_lead
        if lead is not None:  # the constructor has awaited references, in its way
            lead.end()
        self.begin()
        self.host.announce()
        self.pump.flush_all()
        await self.stop.wait()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                await asyncio.wait([task], timeout=5.0)
        self.loop.remove_reader(self.pump.fileno())

    def leave(self) -> None:
        """From any thread: leave the loop once its tasks have ended."""
        self.loop.call_soon_threadsafe(self.stop.set)

    # turns ----------------------------------------------------------------------------------
    def on_readable(self) -> None:
        if self.turn(self.read) and self._spin_until:  # a loop that reads before it calls what it was asked to
            self._spin_until = 0.0
            self.pump.spun(True)
        self.idle()

    def flush(self) -> None:
        self.executor.flush_results()
        self.pump.flush_all()

    def idle(self) -> None:
        """The caller has its answer and may ask again at once: look for a moment before the loop goes to sleep."""
        answered, self._answered = self._answered, False
        if answered and not self._spin_until and self.pump.may_spin():
            self._spin_until = perf_counter() + SPIN
            if not self._spinning:
                self._spinning = True
                self.loop.call_soon(self._spin)

    def _spin(self) -> None:
        self._spinning = False
        if not self._spin_until:
            return
        found = self.turn(self.read)
        if not found and perf_counter() < self._spin_until:
            self._spinning = True
            self.loop.call_soon(self._spin)
        else:
            self._spin_until = 0.0
            self.pump.spun(found)
            self.idle()

    # calls ----------------------------------------------------------------------------------
    def _on_call(self, connection: Connection, message: Message) -> None:
        """In the leader, whatever thread that is."""
        host = self.host
        group = host.group_of(message)
        if group not in self._limits:
            host.unknown_group(connection, message)
            return
        if message[2] == "__aktis_terminate__":
            self.loop.call_soon_threadsafe(self.terminate, connection, message)
            return
        call = LoopCall(self, connection, message, group)
        self.executor.calls[call.key] = call
        self.inbox.put(call)

    def admit(self, call: LoopCall) -> None:
        """Begin a call, if its group has room."""
        group = call.group
        if call.cancelled:
            self._answer_cancelled(call)
        elif self._running[group] >= self._limits[group]:
            self._waiting[group].append(call)
        else:
            self._running[group] += 1
            self._busy += 1
            contextvars.copy_context().run(self._begin, call)

    def _begin(self, call: LoopCall) -> None:
        """In the call's context."""
        message, call.message = call.message, None
        assert message is not None
        _op, _counter, name, args, extra, flags, _options = message
        current.set(call)
        host = self.host
        call.began = perf_counter()
        try:
            kwargs: dict[str, Any] = {}
            if extra is not None:
                args, kwargs = self.executor.arguments(call, args, extra)
            value = (host.methods.get(name) or host.method(name))(*args, **kwargs)
            if type(value) is CoroutineType:
                self._start_task(call, self._await(call, value, flags))
                return
            later = getattr(type(value), LATER, None)
            if later is not None and flags >= 0:
                call.task = value
                later(value, partial(self._answer_later, call, flags))
                return
            if inspect.isawaitable(value):
                self._start_task(call, self._await(call, value, flags))
                return
            if flags < 0:
                if hasattr(value, "__aiter__"):
                    self._start_task(call, self._await(call, self._stream(call, value), flags))
                    return
                value = self.executor.stream(call, value)
        except BaseException as error:
            payload = host.failure(call, error)
        else:
            if flags == ONE and type(value) in _SCALARS:
                payload = value
            else:
                payload = self.executor.result(call, value, flags)
        self._finish(call, payload)

    async def _await(self, call: LoopCall, awaitable: Any, flags: int) -> None:
        """The body of a call's task."""
        if _EAGER:
            call.task = asyncio.current_task()
        try:
            value = await awaitable
            if flags < 0 and hasattr(value, "__aiter__"):  # a coroutine that returned an asynchronous generator
                value = await self._stream(call, value)
            elif flags < 0 and not isinstance(value, int):
                value = self.executor.stream(call, value)
        except asyncio.CancelledError as error:
            payload = self.host.failure(call, KeyboardInterrupt() if call.cancelled else error)
        except BaseException as error:
            payload = self.host.failure(call, error)
        else:
            if flags == ONE and type(value) in _SCALARS:
                payload = value
            else:
                payload = self.executor.result(call, value, flags)
        self._finish(call, payload)

    def _answer_later(self, call: LoopCall, flags: int, value: Any, error: BaseException | None) -> None:
        """What a value with :data:`LATER` calls."""
        if error is None and flags == ONE and type(value) in _SCALARS:
            self._finish(call, value)
        else:
            contextvars.copy_context().run(self._finish_later, call, flags, value, error)

    def _finish_later(self, call: LoopCall, flags: int, value: Any, error: BaseException | None) -> None:
        current.set(call)
        if error is None:
            payload = self.executor.result(call, value, flags)
        elif call.cancelled and isinstance(error, asyncio.CancelledError):
            payload = self.host.failure(call, KeyboardInterrupt())
        else:
            payload = self.host.failure(call, error)
        self._finish(call, payload)

    def _start_task(self, call: LoopCall, body: Coroutine[Any, Any, None]) -> None:
        """Make a task and let it take its first step now, not in the loop's next turn.

        Python 3.12 has that. Before, a task asks its loop for its first step by ``call_soon``, and here it gets it.
        """
        loop = self.loop
        if loop.get_task_factory() is not None:
            call.task = loop.create_task(body)
            return
        if _EAGER:
            call.task = asyncio.Task(body, loop=loop, eager_start=True)  # type: ignore[call-arg]
            return
        loop.call_soon = self._capture  # type: ignore[method-assign, assignment]
        try:
            call.task = asyncio.Task(body, loop=loop)
        finally:
            del loop.call_soon
        (step, *args), context = self._captured
        self._captured = ()
        context.run(step, *args)

    def _capture(self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> None:
        self._captured = (callback, *args), context or contextvars.copy_context()

    def _finish(self, call: LoopCall, payload: Any) -> None:
        seconds = perf_counter() - call.began
        executor = self.executor
        del executor.calls[call.key]
        name = call.name
        full_name = self._names.get(name)
        if full_name is None:
            full_name = self._names[name] = f"{self.host.spec.class_name}.{name}"
        executor.log.note(call.key, full_name, call.began, seconds, payload)
        executor.reply(call, payload, 0.0)
        self._release(call.group)
        if self.pump.turning:
            self._answered = True
        else:
            self.wake()

    def _release(self, group: str) -> None:
        self._running[group] -= 1
        self._busy -= 1
        waiting = self._waiting[group]
        if waiting:
            self.inbox.put(waiting.popleft())

    # cancelling -----------------------------------------------------------------------------
    def cancel(self, call: LoopCall) -> None:
        if call.task is not None:
            call.task.cancel()
            return
        try:
            self._waiting[call.group].remove(call)
        except ValueError:
            return  # it is in the inbox: it will be looked at
        self._answer_cancelled(call)

    def _answer_cancelled(self, call: LoopCall) -> None:
        self.executor.calls.pop(call.key, None)
        self.executor.reply(call, self.host.failure(call, KeyboardInterrupt()), 0.0)
        if not self.pump.turning:
            self.wake()

    # generators -----------------------------------------------------------------------------
    async def _stream(self, call: LoopCall, generator: Any) -> int:
        """Send what an asynchronous generator yields. Returns the number of items."""
        index = 0
        limit = call.options.get("backpressure", 0) if isinstance(call.options, dict) else 0
        connection = call.connection
        encode = self.executor._encode
        sent = 0.0
        async for value in generator:
            payload = value if type(value) in _SCALARS else encode(call, value, index + 1)
            now = perf_counter()
            item = (op.ITEM, call.counter, index, payload)
            if now - sent > SHORT:  # it comes slowly, and may block the loop before the next: it must not wait for that
                connection.send_now(item)
            else:
                connection.post(item)
            sent = now
            index += 1
            while limit and index - call.consumed >= limit and not call.cancelled:
                call.item_waiter = announcement = Announcement()
                if index - call.consumed < limit:
                    break
                await announcement
            if call.cancelled:
                await generator.aclose()
                raise KeyboardInterrupt
        return index

    # end ------------------------------------------------------------------------------------
    def terminate(self, connection: Connection | None, message: Message | None) -> None:
        """On the loop: end once nothing runs and nothing waits."""
        self.loop.create_task(self._terminate(connection, message))

    async def _terminate(self, connection: Connection | None, message: Message | None) -> None:
        while self._busy or self.inbox.items:
            await asyncio.sleep(0.001)
        self.host.terminated(connection, message)
