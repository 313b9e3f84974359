"""The inline engine: tasks and actors run in the driver, one after another, in an order that never varies.

For debugging (``breakpoint()`` in a task just works), for tests, and as the shortest description of what the API means.
Threads: calls run in whichever thread submits or waits; every public method may be called from any of them.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import logging
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from aktis import _session
from aktis._engine import ClassDescriptor, FunctionDescriptor, MethodDescriptor, Submit
from aktis._inline.actors import ActorExit, Hold, InlineActor
from aktis._inline.calls import Call, Executor, current_call
from aktis._inline.control import Control
from aktis._inline.ledger import Lease
from aktis._inline.loops import PrivateLoop
from aktis._inline.scheduler import Scheduler
from aktis._inline.values import Arguments, Failure, InlineRef, Value
from aktis._options import ActorOptions, MethodOptions, TaskOptions
from aktis._serialization import note_reference, pack_function, unpack_function
from aktis.actor import ActorHandle
from aktis.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    AktisSystemError,
    GetTimeoutError,
    ObjectFreedError,
    OutOfBandObjectRefSerializationException,
    PendingCallsLimitExceeded,
    TaskCancelledError,
)
from aktis.object_ref import call_all, check_unique

if TYPE_CHECKING:
    from aktis._settings import InitSettings

_logger = logging.getLogger("aktis.inline")


class InlineEngine:
    """See :class:`aktis._engine.Engine`."""

    mode = "inline"

    def __init__(self, settings: InitSettings) -> None:
        self.settings = settings
        self.namespace = settings.namespace
        self.pid = os.getpid()
        self.process_id = os.urandom(8)
        self.job_id = os.urandom(4).hex()
        self.session_name = f"session_inline_{self.process_id.hex()}"
        self.refs: weakref.WeakValueDictionary[bytes, InlineRef] = weakref.WeakValueDictionary()
        self.actors: dict[bytes, InlineActor] = {}
        self.names: dict[tuple[str, str], InlineActor] = {}
        self.calls: deque[Call] = deque(maxlen=10_000)  # the newest, for the state API
        self.scheduler = Scheduler()
        self.executor = Executor(self)
        self.control = Control(self)
        self.ledger = self.control.ledger
        self.parked: list[Callable[[], None]] = []  # waits for resources
        self.open = True
        self._counter = itertools.count(1)
        self._tickers: weakref.WeakSet[Any] = weakref.WeakSet()

    def check_open(self) -> None:
        if not self.open:
            raise AktisSystemError("this reference belongs to a session that was shut down")

    def new_id(self) -> bytes:
        return self.process_id + next(self._counter).to_bytes(8, "big")

    def new_call(self, name: str, function_name: str, arguments: Arguments, num_returns: Any) -> Call:
        return Call(self.new_id(), name, function_name, arguments, num_returns)

    def note(self, call: Call) -> None:
        self.calls.append(call)

    # tasks -------------------------------------------------------------------------------------

    def bind_task(self, function: FunctionDescriptor, options: TaskOptions) -> Submit:
        copy: list[Callable[..., Any]] = []

        def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not copy:
                copy.append(self._copy_of(function, function.function))
            call = self.new_call(options.name or function.name.rpartition(".")[2], function.name,
                                 Arguments(args, kwargs, function.name), options.num_returns)  # fmt: skip
            call.function = copy[0]
            call.is_coroutine = function.is_coroutine
            call.options = options
            call.max_retries = options.max_retries
            call.retry_exceptions = options.retry_exceptions
            result = self.executor.prepare(call)
            self._await_arguments(call, functools.partial(self._run_task, call))
            self.scheduler.drain()
            return result

        return submit

    def _copy_of(self, descriptor: Any, original: Any) -> Any:
        """What a worker would get: globals as they are at the first call, an error for what cannot be sent."""
        state = descriptor.engine_state
        if not (isinstance(state, tuple) and state[0] is self):
            captured: list[Any] = []
            data = pack_function(original, captured)
            state = descriptor.engine_state = (self, unpack_function(data), captured)
        return state[1]

    def _await_arguments(self, call: Call, go: Callable[[], None]) -> None:
        """``go()`` when the arguments are there: now, or later from the queue."""
        assert call.arguments is not None

        def arrived() -> None:
            call.missing -= 1
            if call.missing == 0:
                self.scheduler.ready.append(go)
                self.scheduler.notify()

        call.missing = 1
        for ref in call.arguments.refs:
            call.missing += 1
            if not ref.when_ready(arrived):
                call.missing -= 1
        call.missing -= 1
        if call.missing == 0:
            go()

    def _run_task(self, call: Call) -> None:
        if call.done or call.arguments is None:
            return
        failed = call.arguments.failed()
        if failed is not None:
            self.executor.settle_failure(call, failed)
            return
        call.state = "PENDING_NODE_ASSIGNMENT"
        strategy = self._strategy(call.options)
        try:
            self.control.check_strategy(strategy, is_task=True)
        except Exception as error:
            self.executor.reject(call, error)  # a node or a placement group that is gone
            return
        call.lease = self.ledger.acquire(call.options.resources, strategy, is_task=True)
        if call.lease is None:
            self._park(f"task {call.name}", call.options.resources, strategy, functools.partial(self._run_task, call))
            return
        if not call.is_coroutine:
            self.executor.run(call)
            return
        loop = PrivateLoop()
        self.scheduler.loops.append(loop)

        def ended() -> None:
            self.scheduler.loops.remove(loop)
            self.scheduler.ready.append(loop.close)

        loop.spawn(lambda: self.executor.run_async(call, ended), contextvars.copy_context())
        loop.spin()

    def _strategy(self, options: TaskOptions | ActorOptions) -> tuple[Any, ...]:
        """The strategy in force: that of the placement group around us, when it captures children."""
        if options.inherit_group:
            lease, captures = self._surroundings()
            if captures and lease is not None and lease.group is not None:
                return ("PG", lease.group.group_id, -1, True)
        return options.strategy

    def _surroundings(self) -> tuple[Lease | None, bool]:
        call = current_call.get()
        while call is not None:
            options = call.actor.options if call.actor else call.options
            lease = call.actor.lease if call.actor else call.lease
            if lease is not None and options is not None:
                strategy = options.strategy
                inherited = options.inherit_group and lease.group is not None
                return lease, inherited or (strategy[0] == "PG" and strategy[3])
            call = call.parent
        return None, False

    def _park(self, who: str, amounts: dict[str, int], strategy: tuple[Any, ...], retry: Callable[[], None]) -> None:
        if not self.ledger.possible(amounts, strategy):
            wanted = {name: amount / 10_000 for name, amount in amounts.items()}
            total = {name: amount / 10_000 for name, amount in self.ledger.total.items()}
            _logger.warning(
                "%s waits for resources that this session will never have: it wants %s of %s", who, wanted, total
            )
        self.parked.append(retry)

    def release(self, lease: Lease) -> None:
        """Resources are free again: whoever waits for some may try."""
        self.ledger.release(lease)
        self.unpark()

    def unpark(self) -> None:
        self.ledger.commit_groups()
        parked, self.parked = self.parked, []
        self.scheduler.ready.extend(parked)
        self.scheduler.notify()

    def loop_of(self, loop: Any) -> PrivateLoop:
        return next(private for private in self.scheduler.loops if private.loop is loop)

    # actors ------------------------------------------------------------------------------------

    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle[Any]:
        key = (options.namespace or self.namespace, options.name)
        if options.name and key in self.names:
            if options.get_if_exists:
                return self.handle_of(self.names[key], strong=not self.names[key].options.detached)
            raise ActorAlreadyExistsError(
                f"an actor named {options.name!r} exists already in namespace {key[0]!r}: choose another name, "
                "or pass get_if_exists=True"
            )
        arguments = Arguments(args, kwargs, cls.name)
        creation = self.new_call(f"{cls.cls.__name__}.__init__", "__init__", arguments, 1)
        parent = current_call.get()
        actor = InlineActor(
            self, self.new_id(), cls, self._copy_of(cls, cls.cls), options, creation, parent.actor if parent else None
        )
        creation.actor = actor
        self.executor.prepare(creation)
        self._keep_outcome(creation)
        self.actors[actor.actor_id] = actor
        if options.name:
            self.names[key] = actor
        handle = self.handle_of(actor, strong=True)
        self._await_arguments(creation, actor.create)
        self.scheduler.drain()
        return handle

    def creation_call(self, actor: InlineActor) -> Call:
        """A call that runs the constructor once more, for a restart."""
        creation = self.new_call(f"{actor.class_name}.__init__", "__init__", Arguments((), {}, ""), 1)
        creation.actor = actor
        self.executor.prepare(creation)
        self._keep_outcome(creation)
        return creation

    def _keep_outcome(self, creation: Call) -> None:
        creation.options = creation.refs[0]  # nobody else holds the reference

    def outcome(self, creation: Call) -> Value | Failure | None:
        ref: InlineRef = creation.options
        return ref._payload

    def acquire_for_actor(self, actor: InlineActor) -> Lease | None:
        strategy = self._strategy(actor.options)
        try:
            self.control.check_strategy(strategy, is_task=False)
        except Exception as error:
            actor.die(Failure(error))
            return None
        options = actor.options
        lease = self.ledger.acquire(options.placement_resources, strategy, False, options.held_resources)
        if lease is None:
            self._park(f"actor {actor.class_name}", options.placement_resources, strategy, actor.create)
        return lease

    def forget_actor(self, actor: InlineActor) -> None:
        key = (actor.namespace, actor.name)
        if actor.name and self.names.get(key) is actor:
            del self.names[key]

    def handle_of(self, actor: InlineActor, strong: bool) -> ActorHandle[Any]:
        hold = Hold(actor, strong)
        return ActorHandle(self, actor.actor_id, actor.class_name, actor.descriptor.methods, hold, weak=not strong)

    def bind_method(self, handle: ActorHandle[Any], method: MethodDescriptor, options: MethodOptions) -> Submit:
        hold: Hold = handle._hold
        actor = hold.actor
        if options.concurrency_group and options.concurrency_group not in actor.options.concurrency_groups:
            raise ValueError(
                f"actor class {actor.class_name} has no concurrency group {options.concurrency_group!r}; "
                f"it has {sorted(actor.options.concurrency_groups) or 'none'}"
            )
        name = f"{actor.class_name}.{method.name}"
        retries = actor.options.max_task_retries if options.max_task_retries is None else options.max_task_retries
        limit = actor.options.max_pending_calls

        def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if 0 <= limit <= hold.pending:
                self.scheduler.drain()
                if limit <= hold.pending:
                    raise PendingCallsLimitExceeded(
                        f"{hold.pending} calls through this handle of {actor.class_name} are pending, and "
                        f"max_pending_calls is {limit}"
                    )
            call = self.new_call(options.name or name, method.name, Arguments(args, kwargs, name), options.num_returns)
            call.actor = actor
            call.options = options
            call.group = options.concurrency_group
            call.max_retries = retries
            call.retry_exceptions = options.retry_exceptions
            call.counted = hold
            hold.pending += 1
            result = self.executor.prepare(call)
            self._await_arguments(call, actor.drain)
            actor.submit(call)
            self.scheduler.drain()
            return result

        return submit

    def reduce_handle(self, handle: ActorHandle[Any]) -> tuple[Any, ...]:
        try:
            note_reference(handle._hold)  # whatever the pickle becomes part of holds the actor
        except OutOfBandObjectRefSerializationException:
            pass
        return _restore_handle, (self.session_name, handle._actor_id, not handle._weak)

    def current_actor(self) -> ActorHandle[Any] | None:
        call = current_call.get()
        return self.handle_of(call.actor, strong=False) if call is not None and call.actor is not None else None

    def get_actor(self, name: str, namespace: str | None) -> ActorHandle[Any]:
        self.scheduler.drain()
        actor = self.names.get((namespace or self.namespace, name))
        if actor is None:
            raise ValueError(f"there is no living actor named {name!r} in namespace {namespace or self.namespace!r}")
        return self.handle_of(actor, strong=False)

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]:
        self.scheduler.drain()
        return [
            {"name": name, "namespace": namespace}
            for namespace, name in self.names
            if all_namespaces or namespace == self.namespace
        ]

    def kill_actor(self, handle: ActorHandle[Any], no_restart: bool) -> None:
        actor: InlineActor = handle._hold.actor
        actor.crash(f"actor {actor.class_name} was killed with aktis.kill()", restart=not no_restart)
        self.scheduler.drain()

    def act_for_main_thread(self) -> None:
        """Inline, nobody waits for a CPU."""

    def exit_actor(self) -> None:
        raise ActorExit(0)

    def cancel(self, ref: Any, force: bool, recursive: bool) -> None:
        self._check_refs([ref])
        call: Call | None = ref._call
        if call is None or call.done:
            return
        if call.actor is not None and force:
            raise ValueError(
                "force=True is not possible for calls of actors' methods: use aktis.kill() to end the actor"
            )
        self._cancel(call, recursive)
        self.scheduler.drain()
        self.scheduler.spin()

    def _cancel(self, call: Call, recursive: bool) -> None:
        if call.done:
            return
        call.cancelled = True
        if recursive:
            for child in list(call.children):
                self._cancel(child, True)
        if call.task is not None:
            self.loop_of(call.task.get_loop()).post(call.task.cancel)
        elif call.stream is not None:
            call.stream.cancel()
        elif call.state != "RUNNING":
            self.executor.reject(call, TaskCancelledError(call.task_id.hex()))

    # objects -----------------------------------------------------------------------------------

    def put(self, value: Any) -> InlineRef:
        return InlineRef(self, self.new_id() + bytes(4), None, Value(value, "value"))

    def _check_refs(self, refs: Sequence[Any]) -> None:
        for ref in refs:
            if getattr(ref, "_engine", self) is not self or not self.open:
                raise AktisSystemError(f"{ref!r} belongs to a session that was shut down")

    def get(self, refs: Sequence[Any], timeout: float | None) -> list[Any]:
        self._check_refs(refs)

        def done() -> bool:
            missing = False
            for ref in refs:
                if isinstance(ref._payload, Failure):
                    return True
                missing = missing or ref._payload is None
            return not missing

        self.scheduler.drain()
        if not self.scheduler.wait_until(done, timeout, lambda: self._stuck(refs)):
            waiting = sum(ref._payload is None for ref in refs)
            first = next(ref for ref in refs if ref._payload is None)
            raise GetTimeoutError(
                f"{waiting} of {len(refs)} values not ready after {timeout} seconds. {self.explain(first)['sentence']}"
            )
        for ref in refs:
            if isinstance(ref._payload, Failure):
                ref._payload.thaw()
        return [ref._payload.thaw() for ref in refs]

    def _stuck(self, refs: Sequence[Any]) -> Exception:
        first = next(ref for ref in refs if not self._is_ready(ref))
        why = self.explain(_reference(first))["sentence"]
        return AktisSystemError(f"this would wait forever, because nothing runs that could end the wait. {why}")

    @staticmethod
    def _is_ready(item: Any) -> bool:
        return item.ready if isinstance(item, InlineRef) else item._source.ready()

    def wait(
        self, refs: Sequence[Any], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[Any], list[Any]]:
        check_unique(refs)
        self._check_refs([_reference(ref) for ref in refs])

        def done() -> bool:
            count = 0
            for ref in refs:
                count += self._is_ready(ref)
                if count >= num_returns:
                    return True
            return False

        self.scheduler.drain()
        self.scheduler.wait_until(done, timeout, lambda: self._stuck(refs))
        ready: list[Any] = []
        rest: list[Any] = []
        for ref in refs:
            (ready if len(ready) < num_returns and self._is_ready(ref) else rest).append(ref)
        return ready, rest

    def add_done_callback(self, ref: Any, callback: Callable[[], None]) -> None:
        self._check_refs([ref])
        if ref.when_ready(callback):
            self.keep_turning()
        else:
            call_all((callback,))

    def keep_turning(self) -> None:
        """Somebody waits on an event loop of the program's own: work from there, until nothing is pending."""
        import asyncio

        loop = asyncio._get_running_loop()
        if loop is None or loop in self._tickers or any(private.loop is loop for private in self.scheduler.loops):
            return
        self._tickers.add(loop)

        def tick() -> None:
            worked = self.open and self.scheduler.step()
            if self.open and any(not call.done for call in self.calls):
                loop.call_later(0 if worked else 0.001, tick)
            else:
                self._tickers.discard(loop)

        loop.call_soon(tick)

    def free(self, refs: Sequence[Any]) -> None:
        self._check_refs(refs)
        for ref in refs:
            if ref.ready:
                ref._payload = Failure(ObjectFreedError(ref.hex()))

    def object_locations(self, refs: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        self._check_refs(refs)
        return {
            ref: {
                "node_ids": [self.control.node_id] if ref.ready else [],
                "object_size": ref._payload.size if ref.ready else 0,
                "did_spill": False,
            }
            for ref in refs
        }

    # the rest ----------------------------------------------------------------------------------

    def request(self, method: str, **arguments: Any) -> Any:
        self.scheduler.drain()
        return self.control.request(method, arguments)

    def context(self) -> dict[str, Any]:
        return self.control.context()

    def explain(self, ref: Any) -> dict[str, Any]:
        return self.control.explain(ref)

    def shutdown(self) -> None:
        self.scheduler.drain()
        notice = ActorDiedError("the session was shut down")
        for actor in list(self.actors.values()):
            actor.die(Failure(notice))
        for stream in list(self.scheduler.streams):
            stream.close()
        for loop in list(self.scheduler.loops):
            loop.close()
        self.open = False
        while self.scheduler.ready:
            work = self.scheduler.ready.popleft()
            if getattr(work, "__self__", None).__class__ is PrivateLoop:
                work()
        self.scheduler.loops.clear()
        self.scheduler.notify()


def _reference(item: Any) -> Any:
    """The reference of an item of ``wait``: itself, or that of a generator's end."""
    return item if isinstance(item, InlineRef) else item._source.completed_ref


def _restore_handle(session_name: str, actor_id: bytes, strong: bool) -> ActorHandle[Any]:
    engine: Any = _session.current
    if engine is None or getattr(engine, "session_name", None) != session_name:
        raise AktisSystemError(f"the handle of actor {actor_id.hex()} belongs to a session that was shut down")
    handle: ActorHandle[Any] = engine.handle_of(engine.actors[actor_id], strong)
    return handle


def start(settings: InitSettings) -> InlineEngine:
    """What ``aktis.init(mode="inline")`` calls."""
    engine = InlineEngine(settings)
    engine.control.started = time.time()
    return engine
