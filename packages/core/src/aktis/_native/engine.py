"""The native engine: what the public API calls, in drivers and in workers."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config, exceptions
from aktis._native import handles, narrate, values
from aktis._native import protocol as op
from aktis._native.actor_client import ActorClient, ActorClients
from aktis._native.calls import Call
from aktis._native.connection import Connection, Message
from aktis._native.core import Core
from aktis._native.interrupts import guard
from aktis._native.leases import Lease
from aktis._native.recovery import Recovery
from aktis._native.refs import FAILED, PAYLOAD, PENDING, VALUE, BorrowedRef, NativeRef
from aktis._native.tasks import TaskBinding, TaskClient
from aktis.object_ref import check_unique

if TYPE_CHECKING:
    from aktis._engine import ClassDescriptor, FunctionDescriptor, MethodDescriptor, Submit
    from aktis._native.executor import Executor
    from aktis._options import ActorOptions, MethodOptions, TaskOptions
    from aktis.actor import ActorHandle


class NativeEngine:
    """Implements ``_engine.Engine`` over one process's :class:`Core`."""

    mode = "native"

    def __init__(self, core: Core, facts: dict[str, Any]) -> None:
        self.core = core
        self.facts = facts  # node_id, job_id, worker_id, session_name, session_dir, address, ...
        self.namespace: str = facts["namespace"]
        self.job_id: bytes = facts["job_id"]
        self.executor: Executor | None = None
        self.tasks = TaskClient(core)
        self.actors = ActorClients(core, self.tasks)
        self.recovery = Recovery(core, self.tasks)
        self.say_after: float = _config.read("EXPLAIN_AFTER")
        self.stop_session: Callable[[], None] | None = None  # drivers: end the node
        core.handlers[op.RESULTS] = self._on_results
        core.handlers[op.ITEM] = self._on_item
        core.handlers[op.QUERY] = self._on_query
        core.handlers.setdefault(op.CANCEL, self._on_cancel)
        core.on_node_lost = self._on_node_lost
        core.cancel = self.cancel_record
        core.pump.before_sleep = core.drain_dropped
        watch_forks()

    # messages -------------------------------------------------------------------------------
    def _on_results(self, connection: Connection, message: Message) -> None:
        owner = connection.owner
        if isinstance(owner, Lease):
            self.tasks.results(owner, message)
        elif owner is not None:
            owner.results(connection, message)

    def _on_item(self, connection: Connection, message: Message) -> None:
        _op, counter, index, payload = message
        owner = connection.owner
        call = owner.pending.get(counter) if owner is not None else None
        if call is not None and call.stream is not None:
            call.stream.item(connection, index, payload)
            if self.core.batch_watchers:
                self.core.wake_watchers()

    def _on_cancel(self, _: Connection, message: Message) -> None:
        if isinstance(message[1], bytes):
            ref = self.core.exposed.get(message[1])
            if ref is not None:
                self.cancel(ref, message[2], message[3])

    def _on_query(self, _: Connection, message: Message) -> None:
        _op, request, kind, arguments = message
        try:
            answer = narrate.query(self, kind, arguments or {})
        except Exception as error:
            answer = {"error": repr(error)}
        if self.core.node is not None:
            self.core.node.post((op.ANSWER, request, answer))

    def _on_node_lost(self) -> None:
        error = exceptions.LocalNodeDiedError(
            "The node daemon of this session died; its workers went with it. "
            "Call aktis.shutdown() and aktis.init() to start anew."
        )
        payload = values.pack_error(error)
        self.tasks.fail_everything(payload)
        self.actors.fail_everything(payload)
        for ref in list(self.core.borrowed.values()):
            if ref.state == PENDING:
                self.core.resolve(ref, payload)
        self.core.wake_watchers()

    # tasks ----------------------------------------------------------------------------------
    def bind_task(self, function: FunctionDescriptor, options: TaskOptions) -> Submit:
        if self.executor is not None and options.inherit_group:
            return self._bind_inheriting(function, options)
        return self.tasks.bind(function, options, self._lease_spec(function, options, options.strategy))

    def _bind_inheriting(self, function: FunctionDescriptor, options: TaskOptions) -> Submit:
        """In a worker, the placement group of the lease counts, and it changes from lease to lease."""
        bound: dict[Any, Submit] = {}

        def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            group = self.capturing_group()
            one = bound.get(group)
            if one is None:
                strategy = ("PG", group, -1, True) if group else options.strategy
                one = bound[group] = self.tasks.bind(function, options, self._lease_spec(function, options, strategy))
            return one(args, kwargs)

        return submit

    def capturing_group(self) -> Any:
        """The placement group that children of the running task or actor belong to, or None."""
        if self.executor is None:
            return None
        group = self.facts.get("actor_group") if self.executor.host is not None else self.executor.lease[3]
        return group[0] if group and group[1] else None

    def _lease_spec(self, function: FunctionDescriptor, options: TaskOptions, strategy: Any) -> op.LeaseSpec:
        return op.LeaseSpec(
            job_id=self.job_id,
            resources=dict(options.resources),
            env=self.call_env(options.runtime_env),
            strategy=strategy,
            priority=options.priority,
            name=options.name or function.name,
            retriable=options.max_retries != 0,
        )

    def call_env(self, asked: str) -> str:
        """The runtime environment of a call: what it asks for, over that of the running task, over the job's."""
        inherited: str = self.facts.get("runtime_env", "")
        if not asked:
            return inherited
        from aktis import _runtime_env

        prepared = _runtime_env.canonical_json(json.loads(asked), self.facts["session_dir"])
        return _runtime_env.merge(inherited, prepared)

    def cancel(self, ref: Any, force: bool, recursive: bool) -> None:
        if not isinstance(ref, NativeRef):
            raise TypeError(f"cancel() takes an ObjectRef of this session, not {type(ref).__name__}.")
        if ref.state:
            return
        if type(ref) is BorrowedRef:
            self.core.connect(ref.owner_address).post((op.CANCEL, ref.binary(), force, recursive))
            return
        record: Any = ref.spec if isinstance(ref.spec, Call) else ref
        self.cancel_record(record, force, recursive)

    def cancel_record(self, record: Any, force: bool, recursive: bool) -> None:
        if record is None or record.spec is None or getattr(record, "over", False):
            return
        if isinstance(record.spec, TaskBinding):
            self.tasks.cancel(record, force, recursive)
        else:
            self.actors.cancel(record, force, recursive)

    # objects --------------------------------------------------------------------------------
    def put(self, value: Any) -> NativeRef:
        core = self.core
        ref = NativeRef(core, next(core.counters), 0, None, None)
        if values.is_atom(value):
            ref.value = value
            ref.state = VALUE
            return ref
        payload, refs = values.encode(core, value, ref.binary())
        core.resolve(ref, payload)
        del refs
        return ref

    def get(self, refs: Sequence[Any], timeout: float | None) -> list[Any]:
        deadline = None if timeout is None else monotonic() + timeout
        core = self.core
        results = []
        for ref in refs:
            try:
                state = ref.state
            except AttributeError:
                raise TypeError(f"get() takes ObjectRefs of this session, not {type(ref).__name__}: {ref!r}.") from None
            if ref.core is not core:
                raise exceptions.ObjectLostError(
                    f"{ref!r} belongs to a session that was shut down; its objects went with it."
                )
            if state == VALUE:
                results.append(ref.value)
            else:
                if state == PENDING:
                    self._wait_for(ref, refs, deadline, timeout)
                results.append(self._value(ref, deadline, timeout))
        return results

    def _value(self, ref: NativeRef, deadline: float | None, timeout: float | None) -> Any:
        while True:
            if ref.state == VALUE:
                return ref.value
            if ref.state == PAYLOAD:
                try:
                    return values.decode(self.core, ref.value, ref)
                except values.Missing as missing:
                    self.recovery.recover(ref, missing.object_id)
            if ref.state == FAILED:
                raise values.to_exception(ref.value)
            if ref.state == PENDING:
                self._wait_for(ref, (ref,), deadline, timeout)

    def _wait_for(self, ref: NativeRef, refs: Sequence[Any], deadline: float | None, timeout: float | None) -> None:
        """Wait for ``ref``; raise as soon as any of ``refs`` has failed."""
        several = len(refs) > 1
        say_after = self.say_after
        told = not say_after
        began = monotonic()
        while not ref.state:
            if several:
                for other in refs:
                    if other.state == FAILED:
                        raise values.to_exception(other.value)
            if self.core.closed:
                raise exceptions.AktisSystemError("The session was shut down while this get() waited.")
            limit = deadline
            if not told:
                limit = began + say_after if deadline is None else min(deadline, began + say_after)
            if self.core.wait_for(ref, limit, several):
                continue
            if deadline is not None and monotonic() >= deadline and not ref.state:
                raise exceptions.GetTimeoutError(
                    f"get() waited {timeout} s for {ref!r}. {narrate.explain(self, ref)['sentence']}"
                )
            if not told and monotonic() - began >= say_after:
                told = True
                narrate.say_waiting(self, ref, monotonic() - began)

    def wait(
        self, refs: Sequence[Any], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[Any], list[Any]]:
        check_unique(refs)
        ready = first_ready(refs, num_returns)
        if len(ready) < num_returns and timeout != 0:
            deadline = None if timeout is None else monotonic() + timeout
            self.core.wait_some(refs, num_returns, deadline, first_ready)
            ready = first_ready(refs, num_returns)
        elif timeout == 0 and not ready:
            self.core.pump.flush_all()
        if not ready:
            return [], list(refs)
        if len(ready) == 1:
            index = ready[0]
            return [refs[index]], [*refs[:index], *refs[index + 1 :]]
        chosen = set(ready)
        return [refs[i] for i in ready], [ref for i, ref in enumerate(refs) if i not in chosen]

    def add_done_callback(self, ref: Any, callback: Callable[[], None]) -> None:
        self.core.when_done(ref, callback)
        if not self.core.pump.flushes_by_itself():
            self.core.pump.flush_all()

    def free(self, refs: Sequence[Any]) -> None:
        for ref in refs:
            if ref.state == PAYLOAD and type(ref) is NativeRef:
                error = exceptions.ObjectFreedError(f"{ref!r} was freed by aktis.internal.free().")
                ref.hold = None
                ref.value = values.pack_error(error)
                ref.state = FAILED

    def object_locations(self, refs: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        return {ref: narrate.location(self, ref) for ref in refs}

    # actors ---------------------------------------------------------------------------------
    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle[Any]:
        return handles.create(self, cls, options, args, kwargs)

    def bind_method(self, handle: ActorHandle[Any], method: MethodDescriptor, options: MethodOptions) -> Submit:
        return self.actors.bind(handle._hold, method, options)

    def get_actor(self, name: str, namespace: str | None) -> ActorHandle[Any]:
        return handles.by_name(self, name, namespace or self.namespace)

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.request(
            "list_named_actors", namespace=None if all_namespaces else self.namespace
        )
        return found

    def reduce_handle(self, handle: ActorHandle[Any]) -> tuple[Any, ...]:
        return handles.reduce(self, handle)

    def current_actor(self) -> ActorHandle[Any] | None:
        host = self.executor.host if self.executor is not None else None
        return None if host is None else handles.of_spec(self, host.spec)

    def kill_actor(self, handle: ActorHandle[Any], no_restart: bool) -> None:
        client: ActorClient = handle._hold.client
        client.killed()
        if self.core.node is not None:
            self.core.node.send_now((op.ACTOR_KILL, handle._actor_id, no_restart))

    def act_for_main_thread(self) -> None:
        self.core.acting.main = True

    def exit_actor(self) -> None:
        from aktis._native.actor_host import ActorExit

        raise ActorExit("exit_actor() was called")

    # cluster --------------------------------------------------------------------------------
    def request(self, method: str, **arguments: Any) -> Any:
        self.core.pump.flush_all()
        return self.core.requests.call(op.REQUEST, method, arguments)

    def context(self) -> dict[str, Any]:
        return narrate.context(self)

    def explain(self, ref: Any) -> dict[str, Any]:
        return narrate.explain(self, ref)

    def shutdown(self) -> None:
        """End the session of this driver: nothing that waits waits on."""
        payload = values.pack_error(exceptions.AktisSystemError("The session was shut down."))
        if not self.core.closed:
            self.tasks.fail_everything(payload)
            self.actors.fail_everything(payload)
            self.core.wake_watchers()
        stop = self.stop_session
        if self.executor is None:
            guard.remove()
        self.core.close()
        if stop is not None:
            stop()


@functools.cache
def watch_forks() -> None:
    """Have children that user code forks leave the session. Once per process: hooks cannot be taken back."""
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """A fork in user code: the child has no session. It may start one, and it may end as it likes."""
    from aktis import _session

    engine = _session.current
    if isinstance(engine, NativeEngine):
        _session.current = None
        if engine.executor is not None:
            engine.executor.forked = True
        engine.core.abandon()


def first_ready(refs: Sequence[Any], limit: int) -> list[int]:
    """Positions of the first ``limit`` items that are ready: references, or generators whose next item is."""
    found: list[int] = []
    if limit <= 0:
        return found
    for index, ref in enumerate(refs):
        try:
            is_ready = ref.state
        except AttributeError:
            is_ready = ref._source.ready()
        if is_ready:
            found.append(index)
            if len(found) == limit:
                break
    return found
