"""Running calls in a worker: order, threads, results, cancelling.

Who runs what
=============
::

    leader (main thread while idle, deputy while a call runs) ── CALL, METHOD ──► inbox
    main thread      ── tasks, and methods of plain actors, one after the other
    group threads    ── methods of threaded actors (see actor_host)
    event loop       ── methods of async actors, on the main thread (see actor_host)
    any of these     ── results ──► connection.results ── one RESULTS message for many short calls

Guarantees
- A finished call's result leaves at once when nothing else is to run, before a call that may be long begins, and
  within two milliseconds in any case (the deputy sends it).
- A call whose arguments hold references is answered only after their owners know about us.
- A call is interrupted (KeyboardInterrupt) only while the user's code of that very call runs.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.call_log import CallLog
from aktis._native.calls import DISCARD, DYNAMIC, ONE, STREAM
from aktis._native.functions import LoadedFunction
from aktis._native.interrupts import guard
from aktis._native.pump import Waiter
from aktis._native.refs import object_id
from aktis._serialization import pack_exception

if TYPE_CHECKING:
    from types import FrameType

    from aktis._native.connection import Connection, Message
    from aktis._native.core import Core

SHORT = 0.001  # seconds: results may wait for calls that are known to be shorter
BATCH = 128  # results in one message at most
_SCALARS = values._SCALARS
_TEXTS = values._TEXTS
_LIMIT = values.INLINE_LIMIT


def end_like_a_program(error: BaseException) -> None:
    """What the interpreter does at the end of a program, for a child that user code forked in a call."""
    code: Any = 0
    if isinstance(error, SystemExit):
        code = error.code
    else:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    os._exit(code or 0)


class Running:
    """A call in execution; also the carrier of the references in its arguments."""

    __slots__ = ("cancelled", "children", "connection", "consumed", "core", "counter", "interruptible",
                 "item_waiter", "most_children", "name", "options", "reply", "unacknowledged")  # fmt: skip

    def __init__(self, core: Core, connection: Connection, counter: int, name: str, options: Any) -> None:
        self.core = core
        self.connection = connection
        self.counter = counter
        self.name = name
        self.options = options
        self.children: list[weakref.ref[Any]] | None = None  # weak: a call may run long, and drop results meanwhile
        self.most_children = 64
        self.cancelled = False
        self.interruptible = False
        self.unacknowledged = 0
        self.reply: Any = None
        self.consumed = 0  # generator items that the consumer has taken
        self.item_waiter: Any = None  # a Waiter; in event loops something to call

    def note_child(self, record: Any) -> None:
        """A call that this one makes, to be cancelled with it."""
        children = self.children
        if children is None:
            children = self.children = []
        elif len(children) >= self.most_children:
            children[:] = [child for child in children if child() is not None]
            self.most_children = 2 * len(children) + 64
        children.append(weakref.ref(record))

    def living_children(self) -> list[Any]:
        found = [child() for child in list(self.children or ())]
        return [child for child in found if child is not None]

    def cancel_on_loop(self) -> bool:
        """Have it cancelled where it runs, if that is an event loop."""
        return False

    def wake_producer(self) -> None:
        """It waits for its consumer: let it look again."""
        waiter = self.item_waiter
        if type(waiter) is Waiter:
            self.core.pump.wake_waiter(waiter)
        elif waiter is not None:
            waiter()

    def borrow_begins(self) -> None:
        self.unacknowledged += 1  # under core.lock

    def borrow_settled(self) -> None:
        with self.core.lock:
            self.unacknowledged -= 1
            reply = self.reply if not self.unacknowledged else None
            if reply is not None:
                self.reply = None
        if reply is not None:
            reply()

    @property
    def task_id(self) -> bytes:
        return object_id(self.connection.peer_id, self.counter, 0)[:16]


current: ContextVar[Running | None] = ContextVar("aktis_current_call", default=None)


IMPORT_PATIENCE = 0.05  # seconds until a cancelled task that imports a module is looked at again


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported. Many (pandas is one) never recover in this process from an import that was cut
    off: later tasks would find them half initialised."""
    frame = frame.f_back if frame is not None else None  # the handler itself
    while frame is not None and frame.f_code.co_filename != __file__:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


class Executor:
    """The executing side of a worker process."""

    def __init__(self, core: Core, log: CallLog, submit_cancel: Callable[[Any, bool, bool], None]) -> None:
        self.core = core
        self.log = log
        self.inbox: deque[tuple[Any, Any]] = deque()
        self.main_call: Running | None = None
        self.calls: dict[tuple[bytes, int], Running] = {}  # running now
        self.host: Any = None  # the actor that this worker has become
        self.lease: tuple[Any, ...] = (None, {}, {}, None, "")
        self.leaving: str | None = None
        self.transit: dict[tuple[Connection, int], list[Any]] = {}
        self.forked = False  # this is a child that user code forked: not a worker
        self.on_lease: Callable[[tuple[Any, ...]], None] = lambda lease: None
        self._submit_cancel = submit_cancel
        self._waiter: Waiter | None = None
        self._dirty: list[Connection] = []
        self._main_thread = threading.get_ident()
        handlers = core.handlers
        handlers[op.CALL] = handlers[op.METHOD] = self._on_call
        handlers[op.FUNCTION] = self._on_function
        handlers[op.LEASED] = self._on_leased
        handlers[op.STEAL] = self._on_steal
        handlers[op.CANCEL] = self._on_cancel
        handlers[op.RECEIVED] = self._on_received
        handlers[op.ACK_ITEMS] = self._on_ack_items
        core.close_listeners.append(self._on_connection_closed)
        core.pump.on_takeover = self.flush_results
        guard.install(self._on_interrupt)

    def speaker(self) -> str:
        """Whose output is written now: the actor, or the function that runs in this thread."""
        if self.host is not None:
            return str(self.host.label)
        call = current.get() or self.main_call
        return call.name.rpartition(".")[2] if call is not None else ""

    # messages (leader) ----------------------------------------------------------------------
    def _on_call(self, connection: Connection, message: Message) -> None:
        self.push(connection, message)

    def push(self, connection: Any, message: Any) -> None:
        self.inbox.append((connection, message))
        waiter = self._waiter
        if waiter is not None:
            self.core.pump.wake_waiter(waiter)

    def _on_function(self, connection: Connection, message: Message) -> None:
        connection.loaded[message[1]] = LoadedFunction(message[2], message[3], message[4])

    def _on_leased(self, _: Connection, message: Message) -> None:
        self.lease = message[1:]
        self.on_lease(self.lease)

    def _on_steal(self, connection: Connection, message: Message) -> None:
        self.give_back(connection, message[1])

    def give_back(self, connection: Connection | None, most: int) -> None:
        """Return calls that have not begun, the last ones first, to the connection they came from."""
        if self.host is not None:
            return
        returned: dict[Connection, list[int]] = {}
        kept = []
        while self.inbox and most > 0:
            try:
                item = self.inbox.pop()
            except IndexError:
                break
            if item[0] is not None and (connection is None or item[0] is connection):
                returned.setdefault(item[0], []).append(item[1][1])
                most -= 1
            else:
                kept.append(item)
        self.inbox.extend(reversed(kept))
        if connection is not None and not returned:
            returned[connection] = []
        for peer, counters in returned.items():
            peer.post((op.RETURNED, counters[::-1]))

    def _on_received(self, connection: Connection, message: Message) -> None:
        for counter in message[1]:
            self.transit.pop((connection, counter), None)

    def _on_ack_items(self, connection: Connection, message: Message) -> None:
        call = self.calls.get((connection.peer_id, message[1]))
        if call is not None:
            call.consumed = message[2]
            call.wake_producer()

    def _on_connection_closed(self, connection: Connection) -> None:
        for key in [key for key in self.transit if key[0] is connection]:
            del self.transit[key]
        for call in list(self.calls.values()):
            if call.connection is connection and self._streams_to_caller(call):
                call.cancelled = True  # nobody will ever take what it makes
                if not call.cancel_on_loop():
                    call.wake_producer()

    @staticmethod
    def _streams_to_caller(call: Running) -> bool:
        """Whether it waits for its consumer, now or sooner or later: then it cannot end without one."""
        return call.item_waiter is not None or (
            isinstance(call.options, dict) and bool(call.options.get("backpressure"))
        )

    # cancelling -----------------------------------------------------------------------------
    def _on_cancel(self, connection: Connection, message: Message) -> None:
        _op, counter, force, recursive = message
        for item in list(self.inbox):
            if item[0] is connection and item[1][1] == counter:
                try:
                    self.inbox.remove(item)
                except ValueError:
                    break  # it has begun
                self.answer_error(
                    connection,
                    counter,
                    exceptions.TaskCancelledError(error_message="The task was cancelled before it ran."),
                )
                return
        call = self.calls.get((connection.peer_id, counter))
        if call is None:
            return
        call.cancelled = True
        if recursive:
            for child in call.living_children():
                self._submit_cancel(child, force, True)
        if force:
            self.flush_results()
            os.kill(os.getpid(), signal.SIGKILL)
        if call.cancel_on_loop():
            pass
        elif call is self.main_call and self.host is None:
            signal.pthread_kill(self._main_thread, signal.SIGINT)
        call.wake_producer()

    def _on_interrupt(self, *_: Any) -> None:
        call = self.main_call
        if call is not None and call.cancelled and call.interruptible:
            if _importing(sys._getframe()):
                again = threading.Timer(IMPORT_PATIENCE, signal.pthread_kill, (self._main_thread, signal.SIGINT))
                again.daemon = True
                again.start()
                return
            call.interruptible = False
            raise KeyboardInterrupt

    # the main loop --------------------------------------------------------------------------
    def run(self) -> None:
        """Run what comes, until told to leave."""
        inbox = self.inbox
        pump = self.core.pump
        while self.leaving is None:
            try:
                connection, message = inbox.popleft()
            except IndexError:
                self.flush_results()
                self._waiter = waiter = Waiter()
                if not inbox and self.leaving is None:
                    pump.wait(waiter)
                self._waiter = None
                continue
            if connection is None:
                message()
            elif message[0] == op.CALL:
                self.run_task(connection, message)
                if connection.blocked:
                    connection.flush_now()  # a large result that did not fit: the socket may have room by now
            elif self.host is not None:
                self.host.run_method(connection, message)
        self.flush_results()

    def leave(self, reason: str) -> None:
        self.leaving = reason
        if self._waiter is not None:
            self.core.pump.wake_waiter(self._waiter)

    def run_task(self, connection: Connection, message: Message) -> None:
        _op, counter, function_id, args, extra, flags, options = message
        loaded = connection.loaded[function_id]
        if connection.results and loaded.average > SHORT:
            self.flush_results()
        call = Running(self.core, connection, counter, loaded.name, options)
        self.main_call = call
        key = (connection.peer_id, counter)
        self.calls[key] = call
        current.set(call)
        began = perf_counter()
        try:
            try:
                function = loaded.function or loaded.load()
                if extra is None:
                    call.interruptible = True
                    value = function(*args)
                else:
                    args, kwargs = self.arguments(call, args, extra)
                    call.interruptible = True
                    value = function(*args, **kwargs)
                if flags < 0:
                    value = self.stream(call, value)
                call.interruptible = False
                if self.forked:
                    raise SystemExit(0)
            except BaseException as error:
                call.interruptible = False
                payload = self.failure(call, error)
            else:
                kind = type(value)
                if flags == ONE and (kind in _SCALARS or (kind in _TEXTS and len(value) <= _LIMIT)):
                    payload = value
                else:
                    payload = self.result(call, value, flags)
        except KeyboardInterrupt:  # arrived just when the call ended
            payload = self.failure(call, KeyboardInterrupt())
        ended = perf_counter()
        self.main_call = None
        current.set(None)
        del self.calls[key]
        seconds = ended - began
        loaded.average += 0.5 * (seconds - loaded.average)
        self.log.note(key, loaded.name, began, seconds, payload)
        if loaded.calls_left > 0:
            loaded.calls_left -= 1
            if not loaded.calls_left:
                payload = (op.RETIRED, payload)
                self.leaving = "it has run its max_calls"
        self.reply(call, payload, seconds)
        if len(connection.results) >= BATCH or ended - connection.first_result > SHORT:
            self.flush_results()

    # arguments and results ------------------------------------------------------------------
    def arguments(self, call: Running, atoms: tuple[Any, ...], extra: Any) -> tuple[Any, dict[str, Any]]:
        """The call's arguments as values. Raises values.Missing for those that have vanished."""
        payload, slots = extra
        core = self.core
        args: Any = atoms
        kwargs: dict[str, Any] = {}
        if payload is not None:
            args, kwargs = values.decode(core, payload, call)
        if slots:
            args = list(args)
            for key, slot in slots:
                value = values.decode(core, slot, call)
                if type(key) is int:
                    args[key] = value
                else:
                    kwargs[key] = value
        return args, kwargs

    def result(self, call: Running, value: Any, flags: int) -> Any:
        """The payload of what a call returned."""
        try:
            if flags == DISCARD:
                return None
            if flags in (ONE, STREAM, DYNAMIC):
                return self._encode(call, value, 0)
            try:
                parts = list(value)
            except TypeError:
                parts = None
            if parts is None or len(parts) != flags:
                got = type(value).__name__ if parts is None else f"{len(parts)} values"
                raise ValueError(f"{call.name} was called with num_returns={flags} but returned {got}.")
            return (op.MULTI, [self._encode(call, part, index) for index, part in enumerate(parts)])
        except Exception as error:
            return self.failure(call, error)

    def _encode(self, call: Running, value: Any, index: int) -> Any:
        payload, refs = values.encode(self.core, value, object_id(call.connection.peer_id, call.counter, index))
        if refs:
            self.transit.setdefault((call.connection, call.counter), []).extend(refs)
        return payload

    def failure(self, call: Running, error: BaseException) -> Any:
        """The payload of what a call raised."""
        if self.forked:
            end_like_a_program(error)
        if isinstance(error, values.Missing):
            return (op.LOST, [error.object_id])
        if isinstance(error, KeyboardInterrupt) and call.cancelled:
            return values.pack_error(
                exceptions.TaskCancelledError(error_message=f"{call.name} was cancelled while it ran.")
            )
        if isinstance(error, SystemExit):
            code = error.code if error.code is not None else 0
            self.leaving = f"sys.exit({code!r}) was called in {call.name}"
            return values.pack_error(exceptions.WorkerCrashedError(f"The worker left: {self.leaving}."))
        actor_id = self.host.actor_id.hex() if self.host is not None else None
        own_repr = self.host.own_repr if self.host is not None else None
        return (
            op.ERROR,
            pack_exception(error, call.name, pid=os.getpid(), actor_repr=own_repr, actor_id=actor_id),
        )

    def answer_error(self, connection: Connection, counter: int, error: Exception) -> None:
        self._ready(connection, counter, values.pack_error(error))
        self.flush_results()

    def reply(self, call: Running, payload: Any, seconds: float) -> None:
        """Queue a call's answer; hold it back while owners do not know yet what it borrowed."""
        if call.unacknowledged:
            with self.core.lock:
                if call.unacknowledged:
                    call.reply = lambda: self._late_reply(call, payload, seconds)
                    return
        connection = call.connection
        if not connection.results:
            connection.first_result = perf_counter()
        connection.busy += seconds
        self._ready(connection, call.counter, payload)

    def _late_reply(self, call: Running, payload: Any, seconds: float) -> None:
        self._ready(call.connection, call.counter, payload)
        self.flush_results()

    def _ready(self, connection: Connection, counter: int, payload: Any) -> None:
        """First the result, then the mark that there is one: another thread may flush at any moment in between."""
        connection.results.append((counter, payload))
        self._dirty.append(connection)

    def flush_results(self) -> None:
        """Send what is finished. From any thread: lists are cut, not swapped, so that appends are never lost."""
        dirty = self._dirty
        while dirty:
            try:
                connection = dirty.pop()
            except IndexError:
                return
            results = connection.results
            count = len(results)
            if count:
                batch = results[:count]
                del results[:count]
                busy, connection.busy = connection.busy, 0.0
                connection.send_now((op.RESULTS, batch, busy))

    # generators -----------------------------------------------------------------------------
    def stream(self, call: Running, generator: Any) -> int:
        """Send what a generator yields, item by item. Returns the number of items."""
        index = 0
        sent = 0.0
        limit = call.options.get("backpressure", 0) if isinstance(call.options, dict) else 0
        try:
            for value in generator:
                payload = self._encode(call, value, index + 1)
                now = perf_counter()
                item = (op.ITEM, call.counter, index, payload)
                if now - sent > SHORT:
                    call.connection.send_now(item)
                else:
                    call.connection.post(item)
                sent = now
                index += 1
                if limit:
                    self.wait_for_consumer(call, index, limit)
                if call.cancelled:
                    raise KeyboardInterrupt
        finally:
            close = getattr(generator, "close", None)
            if close is not None:
                close()
        return index

    def wait_for_consumer(self, call: Running, produced: int, limit: int) -> None:
        while produced - call.consumed >= limit and not call.cancelled:
            call.item_waiter = waiter = Waiter()
            if produced - call.consumed >= limit and not call.cancelled:
                self.core.block(waiter, None)  # our CPUs serve others meanwhile: maybe the very consumer
            call.item_waiter = None
