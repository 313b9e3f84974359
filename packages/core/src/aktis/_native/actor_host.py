"""A worker that has become an actor: its instance, and where its methods run.

Plain actors run methods on the main thread in the order they came. Threaded actors have a queue and threads per group.
Async actors run an event loop on the main thread; the loop leads the pump, so that a call needs no thread hand-off
(see :mod:`aktis._native.loop_calls`).
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.calls import ONE
from aktis._native.executor import Executor, Running, current, end_like_a_program
from aktis._serialization import pack_exception, unpack_exception, unpack_function

if TYPE_CHECKING:
    from aktis._native.connection import Connection, Message
    from aktis._native.loop_calls import LoopCalls

DEFAULT_GROUP = ""


class ActorExit(BaseException):
    """Raised by exit_actor(): ends the actor after this call. Not an Exception, so that user code does not catch it."""


class ActorHost:
    """The instance of an actor and everything that runs in it."""

    def __init__(self, executor: Executor, spec: op.ActorSpec, epoch: int) -> None:
        self.executor = executor
        self.core = executor.core
        self.spec = spec
        self.actor_id = spec.actor_id
        self.epoch = epoch
        self.instance: Any = None
        self._label = spec.class_name.rpartition(".")[2]
        self._has_repr = False
        self.methods: dict[str, Callable[..., Any]] = {}
        options = spec.options
        self.is_async: bool = options["is_async"]
        self.limits: dict[str, int] = {DEFAULT_GROUP: options["max_concurrency"], **options["concurrency_groups"]}
        self.method_groups: dict[str, str] = options["method_groups"]
        self.threaded = not self.is_async and (self.limits[DEFAULT_GROUP] > 1 or len(self.limits) > 1)
        self._queues: dict[str, Any] = {}
        self._active = 0
        self._idle = threading.Condition()
        self._on_loop: LoopCalls | None = None
        self._content: dict[str, Any] = {}  # of the specification's payload, until the constructor has run
        self._terminating = False

    @property
    def label(self) -> str:
        """What is in front of its output: what its ``__repr__`` says by now."""
        if self._has_repr:
            try:
                self._label = repr(self.instance)
            except Exception:  # in the middle of a change: what it said before will do
                pass
        return self._label

    @property
    def own_repr(self) -> str | None:
        """What its ``__repr__`` says; None if it has none of its own."""
        return self.label if self._has_repr else None

    # start ----------------------------------------------------------------------------------
    def start(self) -> None:
        """Run the constructor on the main thread, then serve."""
        if self.is_async:
            self._serve_async()
            return
        if not self._construct():
            return
        if self.threaded:
            self._start_threads()
        self.announce()

    def _load_class(self) -> Any:
        if not self._content:
            content = pickle.loads(self.spec.payload)
            content["cls"] = unpack_function(content["cls"])
            self._content = content
        return self._content["cls"]

    def _construct(self) -> bool:
        call = Running(self.core, self.core.node, 0, f"{self.spec.class_name}.__init__", None)  # type: ignore[arg-type]
        current.set(call)
        try:
            cls = self._load_class()
            content, self._content = self._content, {}
            args, kwargs = self.executor.arguments(call, content["atoms"], content["extra"] or (None, ()))
            self.instance = cls(*args, **kwargs)
            if any("__repr__" in vars(cls) for cls in type(self.instance).__mro__[:-1]):
                self._label = repr(self.instance)
                self._has_repr = True
        except BaseException as error:
            self._report_failure(error)
            return False
        finally:
            current.set(None)
        return True

    def _report_failure(self, error: BaseException) -> None:
        text = (
            f"Actor {self.spec.class_name} ({self.actor_id.hex()}) died because its constructor raised "
            f"{type(error).__name__}: {error}"
        )
        cause = unpack_exception(pack_exception(error, f"{self.spec.class_name}.__init__", pid=os.getpid()))
        died = exceptions.ActorDiedError(text, actor_id=self.actor_id.hex(), actor_init_failed=True, cause=cause)
        assert self.core.node is not None
        self.core.node.send_now((op.ACTOR_FAILED, self.actor_id, self.epoch, pack_exception(died)))
        self.executor.leave("its constructor failed")

    def announce(self) -> None:
        assert self.core.node is not None
        self.core.node.send_now((op.ACTOR_READY, self.actor_id, self.epoch, self.own_repr or ""))

    # methods --------------------------------------------------------------------------------
    def method(self, name: str) -> Callable[..., Any]:
        found = self.methods.get(name)
        if found is None:
            if name == "__aktis_ready__":
                found = lambda: True  # noqa: E731
            elif name == "__aktis_call__":
                found = self._call_function
            elif name == "__aktis_terminate__":
                found = self._terminate_call
            else:
                found = getattr(self.instance, name)
            self.methods[name] = found
        return found

    def _call_function(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(self.instance, *args, **kwargs)

    def _terminate_call(self) -> None:
        raise ActorExit("it was asked to terminate")

    def run_method(self, connection: Connection, message: Message) -> None:
        """Run one method call here and now: on the main thread, or on a group's thread."""
        _op, counter, name, args, extra, flags, options = message
        executor = self.executor
        call = Running(self.core, connection, counter, name, options)
        key = (connection.peer_id, counter)
        executor.calls[key] = call
        if not self.threaded:
            executor.main_call = call
        current.set(call)
        began = perf_counter()
        try:
            function = self.methods.get(name) or self.method(name)
            if extra is None:
                value = function(*args)
            else:
                args, kwargs = executor.arguments(call, args, extra)
                value = function(*args, **kwargs)
            if flags < 0:
                value = executor.stream(call, value)
            if call.cancelled:
                raise KeyboardInterrupt
            if executor.forked:
                raise SystemExit(0)
        except BaseException as error:
            payload = self.failure(call, error)
        else:
            kind = type(value)
            if flags == ONE and kind in values._SCALARS:
                payload = value
            else:
                payload = executor.result(call, value, flags)
        seconds = perf_counter() - began
        current.set(None)
        del executor.calls[key]
        executor.log.note(key, f"{self.spec.class_name}.{name}", began, seconds, payload)
        executor.reply(call, payload, seconds)
        if self.threaded:
            executor.flush_results()
            return
        executor.main_call = None
        if not executor.inbox or began + seconds - connection.first_result > 0.001 or seconds > 0.001:
            executor.flush_results()

    def failure(self, call: Running, error: BaseException) -> Any:
        if self.executor.forked:
            end_like_a_program(error)
        if isinstance(error, (ActorExit, SystemExit)):
            reason = str(error) if isinstance(error, ActorExit) else f"sys.exit({error.code!r})"
            self._exit(reason)
            text = f"Actor {self.spec.class_name} ({self.actor_id.hex()}) has exited: {reason}."
            return values.pack_error(exceptions.ActorDiedError(text, actor_id=self.actor_id.hex()))
        return self.executor.failure(call, error)

    # threads --------------------------------------------------------------------------------
    def _start_threads(self) -> None:
        import queue

        self._queues = {group: queue.SimpleQueue() for group in self.limits}
        for group, limit in self.limits.items():
            for number in range(limit):
                name = f"{self.spec.class_name}-{group or 'default'}-{number}"
                threading.Thread(target=self._thread, args=(self._queues[group],), name=name, daemon=True).start()
        self.core.handlers[op.METHOD] = self._on_threaded_call

    def group_of(self, message: Message) -> str:
        options = message[6]
        group = options.get("group") if isinstance(options, dict) else options
        return group or self.method_groups.get(message[2], DEFAULT_GROUP)

    def _on_threaded_call(self, connection: Connection, message: Message) -> None:
        if message[2] == "__aktis_terminate__":
            self.executor.push(None, lambda: self._finish_threads(connection, message))
            return
        with self._idle:
            self._active += 1
        queue = self._queues.get(self.group_of(message))
        if queue is None:
            self.unknown_group(connection, message)
            return
        queue.put((connection, message))

    def unknown_group(self, connection: Connection, message: Message) -> None:
        known = ", ".join(sorted(group for group in self.limits if group)) or "none"
        error = ValueError(
            f"{self.spec.class_name} has no concurrency group {self.group_of(message)!r}; it has: {known}."
        )
        payload = (op.ERROR, pack_exception(error, message[2]))
        self.executor.reply(Running(self.core, connection, message[1], message[2], None), payload, 0.0)
        self.executor.flush_results()

    def _thread(self, queue: Any) -> None:
        while True:
            connection, message = queue.get()
            self.run_method(connection, message)
            with self._idle:
                self._active -= 1
                if not self._active:
                    self._idle.notify_all()

    def _finish_threads(self, connection: Connection | None, message: Message | None) -> None:
        with self._idle:
            self._idle.wait_for(lambda: not self._active)
        self._exit("all its handles are gone" if message is None else "it was asked to terminate")
        if connection is not None and message is not None:
            call = Running(self.core, connection, message[1], message[2], None)
            self.executor.reply(call, self.failure(call, ActorExit("it was asked to terminate")), 0.0)

    # event loop -----------------------------------------------------------------------------
    def _serve_async(self) -> None:
        import asyncio

        from aktis._native.loop_calls import LoopCalls, new_event_loop

        try:
            loop = new_event_loop(self._load_class())
        except BaseException as error:
            self._report_failure(error)
            return
        asyncio.set_event_loop(loop)
        self._on_loop = LoopCalls(self, loop)
        self._on_loop.serve(self._construct)

    def terminated(self, connection: Connection | None, message: Message | None) -> None:
        """Nothing runs on the loop any more, and that was asked for: by a call, or by the node."""
        reason = "all its handles are gone" if message is None else "it was asked to terminate"
        if connection is not None and message is not None:
            call = Running(self.core, connection, message[1], message[2], None)
            self.executor.reply(call, self.failure(call, ActorExit(reason)), 0.0)
            self.executor.flush_results()
        else:
            self._exit(reason)

    # end ------------------------------------------------------------------------------------
    def terminate(self) -> None:
        """The node says that all handles are gone: finish what is queued, then leave. Runs in the leader."""
        if self.is_async:
            if self._on_loop is not None:
                self._on_loop.loop.call_soon_threadsafe(self._on_loop.terminate, None, None)
        elif self.threaded:
            self.executor.push(None, lambda: self._finish_threads(None, None))
        else:
            self.executor.push(None, lambda: self._exit("all its handles are gone"))

    def _exit(self, reason: str) -> None:
        """Leave; the node is told first, so that the end counts as planned."""
        if self._terminating:
            return
        self._terminating = True
        self.executor.flush_results()
        self.core.drain_output()  # results first: the node's word that we are gone ends the callers' wait for them
        if self.core.node is not None:
            self.core.node.send_now((op.ACTOR_EXITING, self.actor_id, self.epoch, reason))
        self.executor.leave(reason)
        if self._on_loop is not None:
            self._on_loop.leave()
