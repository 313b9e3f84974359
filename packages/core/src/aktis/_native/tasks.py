"""Submitting tasks: bindings, leases from the node, results, retries.

::

    submit(args, kwargs) ──► LeasePool.queue ──► Lease.connection ══► worker
                                   ▲                  │ RESULTS, RETURNED (leader)
    node: GRANT, RECALL, LEASE_LOST┘                  ▼
                                        references resolved, lease refilled
"""

from __future__ import annotations

import itertools
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config, exceptions
from aktis._native import pacing, values
from aktis._native import protocol as op
from aktis._native.calls import (
    DISCARD,
    DYNAMIC,
    ONE,
    STREAM,
    Call,
    encode_arguments,
    fail_in_turn,
    fill_slots,
    when_arguments_ready,
)
from aktis._native.leases import Lease, LeasePool
from aktis._native.refs import NativeRef
from aktis._native.streams import Stream
from aktis._serialization import pack_function

if TYPE_CHECKING:
    import inspect

    from aktis._engine import FunctionDescriptor, Submit
    from aktis._native.connection import Connection, Message
    from aktis._native.core import Core
    from aktis._options import TaskOptions

OOM_FIRST_DELAY = 1.0  # seconds before a task that was killed for memory runs again; doubles each time
OOM_LONGEST_DELAY = 60.0


class TaskBinding:
    """A function with its options: what every call of ``f.options(...).remote`` shares."""

    __slots__ = ("client", "flags", "function_id", "max_retries", "name", "options", "parameters", "pool", "retry_exceptions",
                 "wire_options")  # fmt: skip
    repeatable = True

    def __init__(
        self,
        client: TaskClient,
        function_id: int,
        options: TaskOptions,
        pool: LeasePool,
        name: str,
        parameters: tuple[str, ...],
    ) -> None:
        self.client = client
        self.function_id = function_id
        self.options = options
        self.pool = pool
        self.name = name
        self.parameters = parameters  # their names, for messages
        self.max_retries = options.max_retries
        self.retry_exceptions = options.retry_exceptions
        self.flags = result_flags(options.num_returns)
        wire: dict[str, Any] = {}
        if options.name:
            wire["name"] = options.name
        if options.backpressure:
            wire["backpressure"] = options.backpressure
        self.wire_options = wire or None

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        client = self.client
        if not kwargs and self.flags == 1:
            for value in args:
                kind = type(value)
                if kind not in _SCALARS and (kind not in _TEXTS or len(value) > 4096):
                    break
            else:
                counter = next(client.counters)
                core = client.core
                ref = NativeRef(
                    core, counter, 0, self, (op.CALL, counter, self.function_id, args, None, 1, self.wire_options)
                )
                if client.track is not None:
                    client.track(ref)
                pool = self.pool
                pool.queue.append(ref)
                if pool.hungry:
                    pool.dispatch()
                return ref
        return client.submit_call(self, args, kwargs)

    def enqueue(self, record: Any) -> None:
        self.pool.queue.append(record)
        if self.pool.hungry:
            self.pool.dispatch()


_SCALARS = values._SCALARS
_TEXTS = values._TEXTS


def result_flags(num_returns: Any) -> int:
    if num_returns == "streaming":
        return STREAM
    if num_returns == "dynamic":
        return DYNAMIC
    return ONE if num_returns is None else int(num_returns)


class TaskClient:
    """The submitting side of tasks in one process."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.counters = core.counters
        self.pools: dict[Any, LeasePool] = {}
        self._pools_by_id: dict[int, LeasePool] = {}
        self._leases: dict[Any, Lease] = {}
        self._by_connection: dict[Connection, list[Lease]] = {}
        self._functions: dict[int, tuple[Any, ...]] = {}
        self._function_ids = itertools.count(1)
        self._key_ids = itertools.count(1)
        self.cancelled: set[int] = set()
        self.retries: dict[int, int] = {}
        self.oom_retries: dict[int, int] = {}
        self.over: Any = None  # the payload that every further call fails with
        self.track: Any = None  # in workers: notes the children of the running task, for recursive cancels
        core.handlers[op.GRANT] = self._on_grant
        core.handlers[op.DEMAND_FAILED] = self._on_demand_failed
        core.handlers[op.LEASE_LOST] = self._on_lease_lost
        core.handlers[op.RECALL] = self._on_recall
        core.handlers[op.RETURNED] = self._on_returned
        core.close_listeners.append(self._on_connection_closed)

    # binding and submitting -----------------------------------------------------------------
    def bind(self, function: FunctionDescriptor, options: TaskOptions, spec: op.LeaseSpec) -> Submit:
        state = function.engine_state
        if state is None or state[0] is not self:
            blob = pack_function(function.function)
            function_id = next(self._function_ids)
            state = function.engine_state = (self, function_id, blob)
            self._functions[function_id] = (op.FUNCTION, function_id, blob, function.name, 0)
        function_id = state[1]
        if options.max_calls:
            function_id = next(self._function_ids)
            self._functions[function_id] = (op.FUNCTION, function_id, state[2], function.name, options.max_calls)
        binding = TaskBinding(
            self, function_id, options, self._pool(spec), options.name or function.name, names_of(function.signature)
        )
        return binding.submit

    def function_message(self, function_id: int) -> tuple[Any, ...]:
        return self._functions[function_id]

    def _pool(self, spec: op.LeaseSpec) -> LeasePool:
        key = (tuple(sorted(spec.resources.items())), spec.env, repr(spec.strategy), spec.priority, spec.retriable)
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = LeasePool(self, next(self._key_ids), spec)
            self._pools_by_id[pool.key_id] = pool
        return pool

    def submit_call(self, binding: TaskBinding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The general case: references, keywords, big or pickled arguments, several results, generators."""
        core = self.core
        atoms, extra, references, pins = encode_arguments(core, args, kwargs, binding.parameters)
        counter = next(self.counters)
        flags = binding.flags
        message = (op.CALL, counter, binding.function_id, atoms, extra, flags, binding.wire_options)
        call = Call(core, counter, binding, message)
        call.arguments = references
        call.pins = pins
        result = make_results(core, call, flags, binding.options)
        if call.stream is not None:
            call.stream.backpressure = bool(binding.options.backpressure)
        if self.track is not None:
            self.track(call)
        when_arguments_ready(call, self._arguments_ready)
        return result

    def _arguments_ready(self, call: Any) -> None:
        if call.counter in self.cancelled:
            self.cancelled.discard(call.counter)
            return
        if call.arguments:
            failed = fill_slots(call)
            if failed is not None:
                fail_in_turn(call, failed)
                self.core.wake_watchers()
                return
        call.waiting = False
        call.spec.enqueue(call)

    # messages -------------------------------------------------------------------------------
    def _on_grant(self, _: Connection, message: Message) -> None:
        _op, key_id, lease_id, worker_id, address, resources, accelerators = message
        pool = self._pools_by_id[key_id]
        try:
            connection = self.core.connect(address)
        except ConnectionError:
            if self.core.node is not None:
                self.core.node.post((op.LEASE_RETURN, lease_id, False))
            pool.demand = max(0, pool.demand - 1)
            pool.update_demand()
            return
        lease = Lease(pool, lease_id, worker_id, connection)
        self._leases[lease_id] = lease
        self._by_connection.setdefault(connection, []).append(lease)
        connection.owner = lease
        strategy = pool.spec.strategy
        group = (strategy[1], strategy[3]) if strategy[0] == "PG" else None
        connection.out.append((op.LEASED, lease_id, resources, accelerators, group, pool.spec.env))
        pool.growth = max(pool.growth, self.core.info.get("cpus", 2) * 2)
        pool.add_lease(lease)

    def results(self, lease: Lease, message: Message) -> None:
        """RESULTS on a lease's connection: (op, items, seconds spent running them)."""
        _op, items, seconds = message
        pending = lease.pending
        core = self.core
        resolve = core.resolve
        for counter, value in items:
            record = pending.pop(counter, None)
            if record is None:
                continue
            if type(record) is NativeRef and type(value) is not tuple:
                record.hold = record.spec = None
                record.value = value
                record.state = 1
                if record.waiters is not None:
                    resolve(record, value)
            else:
                self._complex_result(lease, record, value)
        pool = lease.pool
        lease.started = monotonic()
        pool.average = pacing.smooth(pool.average, seconds / len(items))
        pool.refill(lease)
        if core.batch_watchers:
            core.wake_watchers()

    def _complex_result(self, lease: Lease, record: Any, value: Any) -> None:
        kind = value[0] if type(value) is tuple else None
        if kind == op.RETIRED:
            value = value[1]
            lease.recalled = True
            kind = value[0] if type(value) is tuple else None
        if kind == op.ERROR and self._retry_after_error(record, value):
            return
        if kind == op.LOST:
            if self._retry_after_loss(record, value[1]):
                return
            value = lost_argument(record)
        self.finish(lease.connection, record, value)

    def finish(self, connection: Connection, record: Any, value: Any) -> None:
        """Resolve a record with a payload; acknowledge references inside it once they are registered."""
        self.retries.pop(record.counter, None)
        self.cancelled.discard(record.counter)
        record.succeed(value)
        if type(record) is NativeRef:
            record.spec = None
        if carries_references(value):
            connection.post_in_pump((op.RECEIVED, [record.counter]))

    def _retry_after_error(self, record: Any, payload: Any) -> bool:
        binding = record.spec
        wanted = getattr(binding, "retry_exceptions", False)
        if not wanted or record.counter in self.cancelled:
            return False
        used = self.retries.get(record.counter, 0)
        if 0 <= binding.max_retries <= used:
            return False
        if wanted is not True:
            error = values.to_exception(payload)
            cause = getattr(error, "cause", None)
            if not isinstance(error, tuple(wanted)) and not isinstance(cause, tuple(wanted)):
                return False
        self.retries[record.counter] = used + 1
        binding.enqueue(record)  # a generator's items that have been seen are dropped when they come again
        return True

    def _retry_after_loss(self, record: Any, lost: list[bytes]) -> bool:
        """Arguments vanished from the store: have their owners make them again, then run the call again."""
        used = self.retries.get(record.counter, 0)
        if used > 10 or not isinstance(record, Call):
            return False
        self.retries[record.counter] = used + 1
        for _, ref in record.arguments:
            payload = ref.value
            if (
                type(payload) is tuple
                and payload[0] == op.SHARED
                and payload[1] in lost
                and self.core.recover is not None
            ):
                self.core.recover(ref, payload[1])
        when_arguments_ready(record, self._arguments_ready)
        return True

    def after_crash(self, pool: LeasePool, record: Any, cause: op.DeathCause, begun: bool) -> None:
        """The worker is gone: run the call again, or fail it with the cause."""
        if record.counter in self.cancelled:
            self.cancelled.discard(record.counter)
            record.fail(
                values.pack_error(
                    exceptions.TaskCancelledError(error_message=f"Task {record.spec.name} was cancelled.")
                )
            )
        elif not begun:
            pool.queue.appendleft(record)
        elif cause.kind == "pg_removed":
            record.fail(values.pack_error(exceptions.TaskPlacementGroupRemoved(cause.text)))
        else:
            binding = record.spec
            limit = binding.max_retries
            used = self.retries.get(record.counter, 0)
            if cause.kind == "oom" and limit != 0:
                self._retry_later(record, cause)
            elif limit < 0 or used < limit:
                self.retries[record.counter] = used + 1
                binding.enqueue(record)
            else:
                self.retries.pop(record.counter, None)
                record.fail(values.pack_error(crash_error(binding.name, cause, used)))
        self.core.wake_watchers()

    def _retry_later(self, record: Any, cause: op.DeathCause) -> None:
        """Running out of memory has a counter of its own, and pauses that grow, for memory to become free."""
        binding = record.spec
        limit = _config.read("TASK_OOM_RETRIES")
        used = self.oom_retries.get(record.counter, 0)
        if 0 <= limit <= used:
            self.oom_retries.pop(record.counter, None)
            record.fail(values.pack_error(crash_error(binding.name, cause, used)))
            return
        self.oom_retries[record.counter] = used + 1
        delay = min(OOM_LONGEST_DELAY, OOM_FIRST_DELAY * 2 ** min(used, 6))
        self.core.pump.call_later(delay, lambda: binding.enqueue(record))

    def _on_demand_failed(self, _: Connection, message: Message) -> None:
        pool = self._pools_by_id.get(message[1])
        if pool is not None:
            pool.fail_queued(message[2], message[3])

    def _on_lease_lost(self, _: Connection, message: Message) -> None:
        lease = self._leases.get(message[1])
        if lease is not None:
            lease.connection.drain()  # results that the worker sent before it died still count
            lease.pool.lost(lease, message[2])

    def _on_recall(self, _: Connection, message: Message) -> None:
        lease = self._leases.get(message[1])
        if lease is not None:
            lease.pool.recall(lease, message[2])

    def _on_returned(self, connection: Connection, message: Message) -> None:
        lease = connection.owner
        if isinstance(lease, Lease):
            lease.pool.take_back(lease, message[1])

    def _on_connection_closed(self, connection: Connection) -> None:
        for lease in self._by_connection.pop(connection, ()):
            lease.pool.connection_lost(lease)

    def forget(self, lease: Lease) -> None:
        self._leases.pop(lease.lease_id, None)
        leases = self._by_connection.get(lease.connection)
        if leases and lease in leases:
            leases.remove(lease)
            if not leases:
                del self._by_connection[lease.connection]

    # cancelling -----------------------------------------------------------------------------
    def cancel(self, record: Any, force: bool, recursive: bool) -> None:
        counter = record.counter
        for lease in list(self._leases.values()):
            if counter in lease.pending:
                self.cancelled.add(counter)
                lease.connection.send_now((op.CANCEL, counter, force, recursive))
                return
        self.cancelled.add(counter)
        record.fail(
            values.pack_error(exceptions.TaskCancelledError(error_message=f"Task {record.spec.name} was cancelled."))
        )
        self.core.wake_watchers()

    def fail_everything(self, payload: Any) -> None:
        """The session ends, or its node is gone: nothing can run any more, now or later."""
        self.over = payload
        for lease in list(self._leases.values()):
            records = list(lease.pending.values())
            lease.pending.clear()
            for record in records:
                record.fail(payload)
        for pool in self._pools_by_id.values():
            pool.refuse(payload)


def names_of(signature: inspect.Signature | None) -> tuple[str, ...]:
    return tuple(signature.parameters) if signature is not None else ()


def crash_error(name: str, cause: op.DeathCause, retries: int) -> exceptions.AktisError:
    again = f" It had been retried {retries} time{'s' * (retries != 1)}." if retries else ""
    text = f"The worker running {name} died: {cause.text.rstrip('.')}.{again}"
    if cause.kind == "oom":
        return exceptions.OutOfMemoryError(text)
    if cause.kind == "node_died":
        return exceptions.NodeDiedError(text)
    return exceptions.WorkerCrashedError(
        text, pid=cause.pid, exit_code=cause.exit_code, signal=cause.signal, log_tail=cause.log_tail
    )


def lost_argument(record: Any) -> tuple[Any, ...]:
    """What a call fails with whose arguments vanish again and again, or are in a place that cannot be filled again."""
    text = (
        f"An argument of {record.spec.name} was lost: its data is no longer in the store, and nobody can make it again."
    )
    return values.pack_error(exceptions.ObjectLostError(message=text))


def carries_references(value: Any) -> bool:
    """Whether a result has references inside, which its sender keeps until we say that we have registered them."""
    if type(value) is not tuple:
        return False
    if value[0] != op.MULTI:
        return value[0] in (op.RICH, op.SHARED) and bool(value[-1])
    return any(type(one) is tuple and one[0] in (op.RICH, op.SHARED) and one[-1] for one in value[1])


def make_results(core: Core, call: Call, flags: int, options: Any) -> Any:
    """Create the references (or the stream) that a call returns, and bind them to it."""
    if flags == DISCARD:
        return None
    if flags in (STREAM, DYNAMIC):
        call.stream = Stream(core, call, dynamic=flags == DYNAMIC)
        return call.stream.public()
    refs = tuple(NativeRef(core, call.counter, index, call, None) for index in range(flags))
    call.refs = refs
    return refs[0] if flags == 1 else list(refs)
