"""Calling actors: one client per actor in each process that has a handle.

::

    PENDING ──ACTOR_STATE alive──► CONNECTED ──connection lost──► WAITING ──alive again──► CONNECTED
                                                                     └──dead──► DEAD

In order per caller: while anything waits in ``queue`` (arguments, the actor itself) later calls queue behind it, unless
the actor allows out-of-order execution. The fast path (plain arguments, connected, nothing queued) takes no lock:
it registers the call first and looks at the connection afterwards.
"""

from __future__ import annotations

import enum
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.calls import ONE, Call, encode_arguments, fill_slots, when_arguments_ready
from aktis._native.interrupts import guard
from aktis._native.refs import NativeRef
from aktis._native.tasks import carries_references, crash_error, lost_argument, make_results, names_of, result_flags

if TYPE_CHECKING:
    from aktis._engine import MethodDescriptor, Submit
    from aktis._native.connection import Connection, Message
    from aktis._native.core import Core
    from aktis._options import MethodOptions

NO_NEWS = 10.0  # seconds without a word of the node after which a broken connection is tried again
_SCALARS = values._SCALARS
_TEXTS = values._TEXTS


class Phase(enum.Enum):
    """Where a client stands."""

    PENDING = "pending"  # the node has not said where the actor is
    CONNECTED = "connected"
    WAITING = "waiting"  # the connection broke, or the actor restarts
    DEAD = "dead"  # for good


class ActorHold:
    """What handles of an actor share. A strong hold of the creator releases the actor when the last copy goes."""

    __slots__ = ("client", "token")

    def __init__(self, client: ActorClient, token: NativeRef | None) -> None:
        self.client = client
        self.token = token  # an object that stands for "somebody has a strong handle"; None in weak handles


class ActorToken(NativeRef):
    """The creator's end of a strong hold: as an object it is counted, lent and borrowed like any other."""

    __slots__ = ("actor_id",)
    actor_id: bytes

    def __del__(self) -> None:
        self.core.dropped_actor(self.actor_id)


class MethodBinding:
    """A method with options through one handle: what its calls share."""

    __slots__ = ("client", "flags", "group", "hold", "max_retries", "name", "options", "parameters", "retry_exceptions",
                 "wire")  # fmt: skip

    repeatable = False  # whether a result may be let go of because it can be made again: an actor has state

    def __init__(self, hold: ActorHold, method: MethodDescriptor, options: MethodOptions, retries: int) -> None:
        self.hold: ActorHold | None = hold
        self.client = hold.client
        self.options = options
        self.name = f"{hold.client.class_name}.{options.name or method.name}"
        self.wire = method.name
        self.group = options.concurrency_group or None
        self.parameters = names_of(method.signature)
        self.flags = result_flags(options.num_returns)
        self.max_retries = retries
        self.retry_exceptions = options.retry_exceptions

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        client = self.client
        if not kwargs and self.flags == 1 and client.fast:
            for value in args:
                kind = type(value)
                if kind not in _SCALARS and (kind not in _TEXTS or len(value) > 4096):
                    break
            else:
                core = client.core
                counter = next(core.counters)
                message = (op.METHOD, counter, self.wire, args, None, 1, self.group)
                ref = NativeRef(core, counter, 0, self, message)
                client.send(ref)
                return ref
        return client.submit_call(self, args, kwargs)

    def enqueue(self, record: Any) -> None:
        self.client.enqueue(record)


class ActorClient:
    """One actor, as this process calls it."""

    def __init__(self, actors: ActorClients, actor_id: bytes, class_name: str) -> None:
        self.actors = actors
        self.core: Core = actors.core
        self.actor_id = actor_id
        self.class_name = class_name
        self.phase = Phase.PENDING
        self.connection: Connection | None = None
        self.pending: dict[int, Any] = {}
        self.orphans: list[Any] = []  # in flight when the connection broke
        self.queue: deque[Any] = deque()
        self.cause: op.DeathCause | None = None
        self.view: op.ActorView | None = None
        self.epoch = -1  # of the incarnation that we connected to last
        self.lost_epoch = -1  # the connection to this incarnation broke: news of it being alive is old
        self.max_pending = -1
        self.max_task_retries = 0
        self.out_of_order = False
        self.fast = True
        self.creation: Any = None  # at the creator: keeps the constructor's arguments alive
        self.rows: Any = None  # the methods as plain data, once a handle was pickled
        self.lock = threading.RLock()

    # submitting -----------------------------------------------------------------------------
    def submit_call(self, binding: MethodBinding, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        core = self.core
        if 0 <= self.max_pending <= len(self.pending) + len(self.queue):
            raise exceptions.PendingCallsLimitExceeded(
                f"{self.class_name} has {len(self.pending) + len(self.queue)} calls pending through this process, "
                f"max_pending_calls={self.max_pending} allows no more. Wait for some, or raise the limit."
            )
        atoms, extra, references, pins = encode_arguments(core, args, kwargs, binding.parameters)
        counter = next(core.counters)
        options = self.actors.wire_options(binding)
        message = (op.METHOD, counter, binding.wire, atoms, extra, binding.flags, options)
        if (
            binding.flags == ONE and not references and not pins
        ):  # nothing to wait for or to keep: the result is the record
            ref = NativeRef(core, counter, 0, binding, message)
            self.send(ref)
            return ref
        call = Call(core, counter, binding, message)
        call.arguments = references
        call.pins = pins
        result = make_results(core, call, binding.flags, binding.options)
        if call.stream is not None:
            call.stream.backpressure = bool(binding.options.backpressure)
        if references and any(not ref.state for _, ref in references):
            call.waiting = 1  # before anybody can see it in the queue
            if not self.out_of_order:
                self.enqueue(call)
            when_arguments_ready(call, self._arguments_ready)
        else:
            self._fill(call)
            self.enqueue(call)
        return result

    def send(self, ref: NativeRef) -> None:
        """Send a call whose result is its record: at once if nothing is in the way."""
        connection = self.connection
        if connection is None or self.queue:
            self.enqueue(ref)
            return
        pending = self.pending
        pending[ref.counter] = ref
        if len(pending) == 1:
            connection.send_now(ref.hold)
        else:
            connection.post(ref.hold)
        if connection.closed:
            self.rescue(ref, connection)

    def _fill(self, call: Call) -> None:
        failed = fill_slots(call) if call.arguments else None
        if failed is not None:
            call.fail(failed)
            self.core.wake_watchers()

    def _arguments_ready(self, call: Any) -> None:
        self._fill(call)
        call.waiting = False
        if self.out_of_order:
            self.enqueue(call)
        else:
            self.advance()

    def enqueue(self, record: Any) -> None:
        with self.lock:
            self.queue.append(record)
        self.advance()

    def advance(self) -> None:
        """Send what can be sent, in order."""
        with guard, self.lock:
            if self.phase is Phase.DEAD:
                records = list(self.queue)
                self.queue.clear()
            else:
                records = []
                connection = self.connection
                while self.queue and connection is not None and not connection.closed:
                    record = self.queue[0]
                    if getattr(record, "waiting", False):
                        break
                    self.queue.popleft()
                    if is_done(record):
                        continue
                    self.pending[record.counter] = record
                    connection.post(record.message)
        if records:
            payload = self.death_payload(call_sent=False)
            for record in records:
                if not is_done(record):
                    again = record.counter in self.actors.retries  # it was sent to an earlier incarnation
                    record.fail(self.death_payload() if again else payload)
            self.core.wake_watchers()

    # state ----------------------------------------------------------------------------------
    def update(self, view: op.ActorView) -> None:
        """News from the node."""
        with self.lock:
            if self.view is not None and view.epoch < self.view.epoch:
                return
            if view.state == "ALIVE" and view.epoch <= self.lost_epoch:
                return
            self.view = view
            if view.state == "ALIVE":
                if self.connection is None or self.connection.address != view.address:
                    self._orphan()  # what is still in flight went to an earlier incarnation
                    self._connect(view.address)
                    self.epoch = view.epoch
            elif view.state == "DEAD":
                self.phase = Phase.DEAD
                self.cause = view.cause
                connection, self.connection = self.connection, None
                if connection is not None:
                    connection.drain()  # results that were sent before the actor died still count
                self._orphan()
            elif view.state == "RESTARTING":
                self.connection = None
                self.phase = Phase.WAITING
                self._orphan()
        if view.state == "DEAD":
            self.creation = None
        if view.state in ("DEAD", "RESTARTING", "ALIVE"):
            self._settle_orphans(view)
        self.advance()

    def _connect(self, address: str) -> None:
        try:
            connection = self.core.connect(address)
        except ConnectionError:
            return  # it died again: the node will say so
        connection.owner = self
        self.connection = connection
        self.phase = Phase.CONNECTED

    def _orphan(self) -> None:
        self.orphans += self.pending.values()
        self.pending.clear()

    def connection_lost(self, connection: Connection) -> None:
        with self.lock:
            if self.connection is not None and self.connection is not connection:
                return  # of an earlier incarnation: the calls in flight now are not concerned
            self.connection = None
            if self.phase is Phase.CONNECTED:
                self.phase = Phase.WAITING
            self._orphan()
            view = self.view
            self.lost_epoch = max(self.lost_epoch, self.epoch)
        if view is not None and view.state == "DEAD":
            self._settle_orphans(view)
        else:
            self.core.pump.call_later(NO_NEWS, lambda: self._try_again(view))

    def _try_again(self, view: op.ActorView | None) -> None:
        """The node has said nothing since the connection broke: the actor may live, and only the stream be gone."""
        with self.lock:
            if self.connection is not None or view is None or self.view is not view or view.state != "ALIVE":
                return
            self.lost_epoch = -1
        self.update(view)
        if self.connection is None:  # it is gone, and no news of that has come: ask
            node = self.core.node
            if node is not None and not node.closed:
                node.post((op.ACTOR_SUBSCRIBE, self.actor_id))

    def killed(self) -> None:
        """This process asked for the actor's end: calls from now on wait for what comes after it."""
        with self.lock:
            connection = self.connection
            if connection is None or self.phase is not Phase.CONNECTED:
                return
            connection.flush_now()
            self.connection = None
            self.phase = Phase.WAITING
            self.lost_epoch = max(self.lost_epoch, self.epoch)

    def rescue(self, record: Any, connection: Connection) -> None:
        """A call was given to a connection that had just closed: it was not sent. Unless it is dealt with, queue it."""
        with self.lock:
            if self.connection is connection or self.pending.pop(record.counter, None) is None:
                return  # the end of the connection is about to be noticed, or has been
        self.enqueue(record)

    def _settle_orphans(self, view: op.ActorView) -> None:
        """Calls that were in flight: again, where the user allowed it, else the documented error."""
        with self.lock:
            orphans, self.orphans = self.orphans, []
        again = []
        for record in orphans:
            used = self.actors.retries.get(record.counter, 0)
            limit = record.spec.max_retries
            if view.state != "DEAD" and record.counter not in self.actors.cancelled and (limit < 0 or used < limit):
                self.actors.retries[record.counter] = used + 1
                again.append(record)
            elif view.state == "DEAD":
                record.fail(self.death_payload())
            else:
                text = (
                    f"Actor {self.class_name} ({self.actor_id.hex()}) died while {record.spec.name} was in flight and is "
                    "restarting. The call may or may not have run. max_task_retries lets such calls run again."
                )
                record.fail(values.pack_error(exceptions.ActorUnavailableError(text)))
        if again:
            with self.lock:
                self.queue.extendleft(reversed(again))
        if orphans:
            self.core.wake_watchers()

    def death_payload(self, call_sent: bool = True) -> Any:
        cause = self.cause or op.DeathCause("crashed", "no reason is known")
        if cause.kind == "init_failed" and cause.error:
            return (op.ERROR, cause.error)
        if cause.kind == "env_failed":
            return values.pack_error(exceptions.RuntimeEnvSetupError(cause.text))
        if cause.kind == "unschedulable":
            return values.pack_error(exceptions.ActorUnschedulableError(cause.text))
        if cause.kind == "pg_removed":
            return values.pack_error(exceptions.ActorPlacementGroupRemoved(cause.text))
        if cause.kind == "oom":
            return values.pack_error(crash_error(self.class_name, cause, 0))
        tail = f"\nLast lines of its log:\n{cause.log_tail.rstrip()}" if cause.log_tail else ""
        text = f"Actor {self.class_name} ({self.actor_id.hex()}) is dead: {cause.text.rstrip('.')}.{tail}"
        died = exceptions.ActorDiedError(text, actor_id=self.actor_id.hex())
        if not call_sent:
            died.call_sent = False
        return values.pack_error(died)

    # results --------------------------------------------------------------------------------
    def results(self, connection: Connection, message: Message) -> None:
        pending = self.pending
        core = self.core
        for counter, value in message[1]:
            record = pending.pop(counter, None)
            if record is None:
                continue
            if type(value) is not tuple and type(record) is NativeRef:
                record.hold = record.spec = None
                record.value = value
                record.state = 1
                if record.waiters is not None:
                    core.resolve(record, value)
            else:
                self._complex_result(connection, record, value)
        if core.batch_watchers:
            core.wake_watchers()

    def _complex_result(self, connection: Connection, record: Any, value: Any) -> None:
        kind = value[0] if type(value) is tuple else None
        tasks = self.actors.tasks
        if kind == op.ERROR and tasks._retry_after_error(record, value):
            return
        if kind == op.LOST:
            if tasks._retry_after_loss(record, value[1]):
                return
            value = lost_argument(record)
        self.actors.retries.pop(record.counter, None)
        record.succeed(value)
        if type(record) is NativeRef:
            record.spec = None
        if carries_references(value):
            connection.post_in_pump((op.RECEIVED, [record.counter]))


def is_done(record: Any) -> bool:
    return bool(record.state if type(record) is NativeRef else record.over)


class ActorClients:
    """All actors that this process knows."""

    def __init__(self, core: Core, tasks: Any) -> None:
        self.core = core
        self.tasks = tasks
        self.clients: dict[bytes, ActorClient] = {}
        self.retries: dict[int, int] = tasks.retries
        self.cancelled: set[int] = tasks.cancelled
        core.handlers[op.ACTOR_STATE] = self._on_state
        core.close_listeners.append(self._on_connection_closed)

    def client(self, actor_id: bytes, class_name: str, subscribe: bool) -> ActorClient:
        with self.core.lock:
            client = self.clients.get(actor_id)
            if client is not None:
                return client
            client = self.clients[actor_id] = ActorClient(self, actor_id, class_name)
        if subscribe and self.core.node is not None:
            self.core.node.post((op.ACTOR_SUBSCRIBE, actor_id))
        return client

    def bind(self, hold: ActorHold, method: MethodDescriptor, options: MethodOptions) -> Submit:
        retries = options.max_task_retries
        if retries is None:
            retries = hold.client.max_task_retries
        return MethodBinding(hold, method, options, retries).submit

    def wire_options(self, binding: MethodBinding) -> Any:
        """The last field of METHOD: None, a concurrency group's name, or a dict when there is more to say."""
        options = binding.options
        if options.backpressure:
            return {"group": options.concurrency_group, "backpressure": options.backpressure}
        return options.concurrency_group or None

    def _on_state(self, _: Connection, message: Message) -> None:
        client = self.clients.get(message[1])
        if client is not None:
            client.update(message[2])

    def _on_connection_closed(self, connection: Connection) -> None:
        client = connection.owner
        if isinstance(client, ActorClient):
            client.connection_lost(connection)

    def cancel(self, record: Any, force: bool, recursive: bool) -> None:
        if force:
            raise ValueError("force=True cannot cancel a call of an actor: use aktis.kill(handle) to end the actor.")
        client: ActorClient = record.spec.client
        self.cancelled.add(record.counter)
        connection = client.connection
        if record.counter in client.pending and connection is not None:
            connection.send_now((op.CANCEL, record.counter, False, recursive))
            return
        name = record.spec.name
        record.fail(
            values.pack_error(
                exceptions.TaskCancelledError(error_message=f"The call of {name} was cancelled before it ran.")
            )
        )
        self.core.wake_watchers()

    def fail_everything(self, payload: Any) -> None:
        for client in self.clients.values():
            with client.lock:
                records = [*client.orphans, *client.pending.values(), *client.queue]
                client.orphans.clear()
                client.pending.clear()
                client.queue.clear()
                client.phase = Phase.DEAD
                client.connection = None
                client.cause = op.DeathCause("node_died", "the node daemon of this session died")
            for record in records:
                if not is_done(record):
                    record.fail(payload)
