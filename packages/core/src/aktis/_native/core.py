"""The runtime of one process: its connections, the objects it owns or borrows, and waiting for them.

Threads: anything may be called from any thread; handlers (``_on_*``) run in the pump's leader.
Locks: ``lock`` guards waiters, lent and borrowed objects; it is never held while sending, unpickling or calling user code.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from time import monotonic, sleep
from typing import Any
from weakref import WeakValueDictionary

from aktis import exceptions
from aktis._asyncio import Announcement
from aktis._native import lineage, values
from aktis._native import protocol as op
from aktis._native.connection import Connection, Message
from aktis._native.loop_lead import lead_from
from aktis._native.pump import Pump, Waiter
from aktis._native.refs import FAILED, PAYLOAD, PENDING, VALUE, BorrowedRef, NativeRef, StoreToken
from aktis._native.requests import Requests
from aktis.object_ref import call_all


class Core:
    """What every driver and worker of the native engine has once."""

    def __init__(self, kind: str, session_dir: str, process_id: bytes | None = None) -> None:
        self.kind = kind
        self.session_dir = session_dir
        self.process_id = process_id or os.urandom(8)
        self.address = f"unix:{session_dir}/p-{self.process_id.hex()}.sock"
        self.counters = itertools.count(1)
        self.lock = threading.Lock()
        self.pump = Pump(f"aktis-{kind}")
        self.closed = False
        self.node_died = False
        self.info: dict[str, Any] = {}
        self.store: Any = None
        # objects
        self.exposed: WeakValueDictionary[bytes, NativeRef] = WeakValueDictionary()
        self.lent: dict[bytes, tuple[NativeRef, dict[Connection, int]]] = {}
        self.borrowed: WeakValueDictionary[bytes, BorrowedRef] = WeakValueDictionary()
        self.unacknowledged: dict[bytes, list[Any]] = {}  # borrowed id -> carriers kept until the owner knows
        self._dropped: deque[tuple[int, Any, str]] = deque()
        self._drain_scheduled = False
        self.batch_watchers: list[Waiter] = []  # threads in wait(), woken after every batch of results
        self.failure_watchers: list[Waiter] = []  # threads in get() of several, woken by any failure
        # connections
        self.peers: dict[str, Connection] = {}
        self.handlers: dict[int, Callable[[Connection, Message], None]] = {
            op.BORROW: self._on_borrow,
            op.BORROWED: self._on_borrowed,
            op.RELEASE: self._on_release,
            op.FETCH: self._on_fetch,
            op.VALUE: self._on_value,
        }
        self.connections: set[Connection] = set()  # to other processes, those that have not said who they are included
        self.close_listeners: list[Callable[[Connection], None]] = []
        self._listener: socket.socket | None = None
        self.node: Connection | None = None
        self.requests = Requests(self)
        self.on_blocked: Callable[[bool], None] | None = None
        self.acting = threading.local()  # ``.main``: this thread does the work of the main thread
        self.on_node_lost: Callable[[], None] | None = None
        self.cancel: Callable[[Any, bool, bool], None] | None = None
        self.recover: Callable[[NativeRef, bytes], bool] | None = None

    # connections ----------------------------------------------------------------------------
    def listen(self) -> None:
        path = self.address.removeprefix("unix:")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(256)
        listener.setblocking(False)
        self._listener = listener
        self.pump.register(listener.fileno(), self._on_accept)

    def _on_accept(self, _: int) -> None:
        assert self._listener is not None
        while True:
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, OSError):
                return
            self.connections.add(Connection(self.pump, sock, self.on_messages, self._on_close))

    def attach_node(self, sock: socket.socket, hello: dict[str, Any]) -> None:
        self.node = Connection(self.pump, sock, self.on_messages, self._on_node_close)
        self.node.send_now(
            (op.HELLO, op.PROTOCOL_VERSION, self.kind, self.process_id, os.getpid(), self.address, hello)
        )

    def connect(self, address: str) -> Connection:
        """The connection to a process, opened when there is none. Raises ConnectionError when it is gone."""
        connection = self.peers.get(address)
        if connection is not None and not connection.closed:
            return connection
        scheme, _, path = address.partition(":")
        if scheme != "unix":
            raise ConnectionError(f"Cannot reach {address!r}: this version speaks unix: addresses only.")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            raise ConnectionError(f"The process at {address} is gone ({error.strerror}).") from error
        connection = Connection(self.pump, sock, self.on_messages, self._on_close)
        self.connections.add(connection)
        connection.address = address
        # It may call us over this connection, too, and then it need not say HELLO.
        connection.peer_id = bytes.fromhex(os.path.basename(path).removeprefix("p-").removesuffix(".sock"))
        connection.out.append(
            (op.HELLO, op.PROTOCOL_VERSION, self.kind, self.process_id, os.getpid(), self.address, None)
        )
        with self.lock:
            other = self.peers.setdefault(address, connection)
        if other is not connection and other.closed:
            self.peers[address] = other = connection
        return other

    def on_messages(self, connection: Connection, messages: list[Message]) -> None:
        handlers = self.handlers
        for message in messages:
            handler = handlers.get(message[0])
            if handler is not None:
                handler(connection, message)
            elif message[0] == op.HELLO:
                connection.peer_id = message[3]
                connection.address = message[5]
                self.peers.setdefault(message[5], connection)

    def _on_close(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self.peers.get(connection.address) is connection:
            del self.peers[connection.address]
        with self.lock:
            gone = [key for key, (_, holders) in self.lent.items() if holders.pop(connection, None)]
            released = [self.lent.pop(key) for key in gone if not self.lent[key][1]]
        del released
        for ref in list(self.borrowed.values()):
            if ref.owner_address == connection.address and ref.state == PENDING:
                self.resolve(
                    ref,
                    values.pack_error(
                        exceptions.OwnerDiedError(f"The owner of ObjectRef({ref.hex()}) died ({connection.address}).")
                    ),
                )
        for key, carriers in list(self.unacknowledged.items()):
            if carriers and carriers[0] == connection.address:
                self._acknowledge(key)
        for listener in self.close_listeners:
            listener(connection)
        self.wake_watchers()

    def _on_node_close(self, _: Connection) -> None:
        if self.closed:
            return
        self.node_died = True
        self.requests.fail_all("The node daemon died.")
        if self.on_node_lost is not None:
            self.on_node_lost()
        self.wake_watchers()

    # resolving ------------------------------------------------------------------------------
    def resolve(self, ref: NativeRef, value: Any) -> None:
        """Give a reference its value (an atom or a payload tuple). In the leader, or before anyone else has the reference."""
        if type(value) is not tuple:
            ref.hold = None
            ref.value = value
            ref.state = VALUE
        else:
            kind = value[0]
            if kind == op.ERROR:
                ref.hold = None
                ref.value = value
                ref.state = FAILED
                for waiter in self.failure_watchers:
                    self.pump.wake_waiter(waiter)
            elif kind == op.ATOM:
                ref.hold = None
                ref.value = value[1]
                ref.state = VALUE
            else:
                ref.hold = self._hold(ref, value)
                ref.value = value
                ref.state = PAYLOAD
        if ref.waiters is not None:
            with self.lock:
                waiters, ref.waiters = ref.waiters, None
            call_all(waiters or ())

    def _hold(self, ref: NativeRef, payload: tuple[Any, ...]) -> Any:
        """What must live as long as the value: references inside it, its place in the store, its lineage."""
        kind = payload[0]
        if kind == op.PICKLE:
            return None
        hold: list[Any] = [self.restore(key, address, ref) for key, address in payload[-1]]
        if kind == op.SHARED and type(ref) is NativeRef:
            hold.append(StoreToken(self, payload[1], payload[2]))
            recipe = lineage.of_result(ref)
            if recipe is not None:
                hold.append(recipe)  # always the last one
        return hold

    def wake_watchers(self) -> None:
        for waiter in self.batch_watchers:
            self.pump.wake_waiter(waiter)

    def when_done(self, ref: NativeRef, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the reference is resolved: at once if it is, else in the leader."""
        if ref.state == PENDING:
            if type(ref) is BorrowedRef:
                self.fetch(ref)
            with self.lock:
                if ref.waiters is None:
                    ref.waiters = []
                ref.waiters.append(callback)
                if ref.state == PENDING:
                    return
                waiters, ref.waiters = ref.waiters, None
            call_all(waiters)
            return
        call_all((callback,))

    def await_done(self, ref: NativeRef) -> Generator[Any, None, None]:
        """Wait in the running event loop until a reference is resolved."""
        announcement = Announcement()
        inbox = announcement.inbox
        pump = self.pump
        lead = pump.loop_lead
        if lead is None or lead.inbox is not inbox:
            lead = lead_from(pump, inbox, announcement.get_loop())
        self.when_done(ref, announcement)
        if lead is None:
            pump.flush_all()
            yield from announcement.__await__()
            return
        lead.waiting += 1
        try:
            yield from announcement.__await__()
        finally:
            lead.waiting -= 1

    # get and wait ---------------------------------------------------------------------------
    def wait_for(self, ref: NativeRef, deadline: float | None, others: bool) -> bool:
        """Wait until ``ref`` is resolved (or, with ``others``, anything fails). False at the deadline."""
        waiter = Waiter()
        self.when_done(ref, lambda: self.pump.wake_waiter(waiter))
        if others:
            self.failure_watchers.append(waiter)
        try:
            return self.block(waiter, deadline)
        finally:
            if others:
                self.failure_watchers.remove(waiter)

    def block(self, waiter: Waiter, deadline: float | None) -> bool:
        """Wait; tell the node when it takes longer than a moment, so that our CPUs serve others meanwhile."""
        if self.on_blocked is None:
            return self.pump.wait(waiter, None if deadline is None else max(0.0, deadline - monotonic()))
        first = 0.001 if deadline is None else min(0.001, max(0.0, deadline - monotonic()))
        if self.pump.wait(waiter, first):
            return True
        self.on_blocked(True)
        try:
            return self.pump.wait(waiter, None if deadline is None else max(0.0, deadline - monotonic()))
        finally:
            self.on_blocked(False)

    def wait_some(
        self, refs: Sequence[Any], count: int, deadline: float | None, ready: Callable[[Sequence[Any], int], list[int]]
    ) -> None:
        """Return when ``ready(refs, count)`` finds ``count`` of them, or at the deadline.

        Looks again after every batch of results, instead of registering with each reference: waiting for one of many
        again and again costs a scan, not a registration per reference.
        """
        for ref in refs:
            if type(ref) is BorrowedRef and ref.state == PENDING:
                self.fetch(ref)
        waiter = Waiter()
        self.batch_watchers.append(waiter)
        try:
            while len(ready(refs, count)) < count and not self.node_died and not self.closed:
                if not self.block(waiter, deadline):
                    return
                waiter.ready = False
        finally:
            self.batch_watchers.remove(waiter)

    # exposing, lending, borrowing -----------------------------------------------------------
    def expose(self, ref: NativeRef) -> bytes:
        """The reference is about to be seen by others: make it findable by id."""
        key = ref.binary()
        if type(ref) is not BorrowedRef:
            self.exposed[key] = ref
        return key

    def restore(self, key: bytes, owner_address: str, carrier: Any = None) -> NativeRef:
        """The one reference object of this process for an id that came from outside."""
        if key[:8] == self.process_id:
            known = self.exposed.get(key)
            if known is None:
                lost = NativeRef(self, int.from_bytes(key[8:16], "big"), int.from_bytes(key[16:], "big"), None, None)
                error = exceptions.ObjectLostError(f"ObjectRef({key.hex()}) has been freed by its owner, this process.")
                self.resolve(lost, values.pack_error(error))
                return lost
            return known
        if carrier is None:
            carrier = values.current_carrier()
        with self.lock:
            ref = self.borrowed.get(key)
            if ref is not None:
                if key in self.unacknowledged:
                    self._add_carrier(key, carrier)
                return ref
            ref = BorrowedRef(self, key, owner_address)
            self.borrowed[key] = ref
            self.unacknowledged.setdefault(key, [owner_address])
            self._add_carrier(key, carrier)
        try:
            self.connect(owner_address).post((op.BORROW, key))
        except ConnectionError as error:
            self._acknowledge(key)
            self.resolve(ref, values.pack_error(exceptions.OwnerDiedError(f"ObjectRef({key.hex()}): {error}")))
        return ref

    def _add_carrier(self, key: bytes, carrier: Any) -> None:
        if carrier is not None:
            self.unacknowledged[key].append(carrier)
            enter = getattr(carrier, "borrow_begins", None)
            if enter is not None:
                enter()

    def _acknowledge(self, key: bytes) -> None:
        with self.lock:
            carriers = self.unacknowledged.pop(key, ())
        for carrier in carriers:
            leave = getattr(carrier, "borrow_settled", None)
            if leave is not None:
                leave()

    def _on_borrow(self, connection: Connection, message: Message) -> None:
        key = message[1]
        ref = self.exposed.get(key)
        if ref is not None:
            with self.lock:
                _, holders = self.lent.setdefault(key, (ref, {}))
                holders[connection] = holders.get(connection, 0) + 1
        connection.post_in_pump((op.BORROWED, key, ref is not None))

    def _on_borrowed(self, _: Connection, message: Message) -> None:
        key, known = message[1], message[2]
        ref = self.borrowed.get(key)
        if not known and ref is not None:
            error = exceptions.ObjectLostError(f"ObjectRef({key.hex()}) is unknown to its owner: it was freed.")
            self.resolve(ref, values.pack_error(error))
        self._acknowledge(key)

    def _on_release(self, connection: Connection, message: Message) -> None:
        with self.lock:
            entry = self.lent.get(message[1])
            if entry is None:
                return
            holders = entry[1]
            count = holders.get(connection, 0) - 1
            if count > 0:
                holders[connection] = count
            else:
                holders.pop(connection, None)
                if not holders:
                    del self.lent[message[1]]

    def fetch(self, ref: BorrowedRef) -> None:
        """Ask the owner for the value, once."""
        if ref.fetching:
            return
        ref.fetching = True
        try:
            self.connect(ref.owner_address).post((op.FETCH, ref.binary()))
        except ConnectionError as error:
            self.resolve(ref, values.pack_error(exceptions.OwnerDiedError(f"ObjectRef({ref.hex()}): {error}")))

    def _on_fetch(self, connection: Connection, message: Message) -> None:
        key = message[1]
        ref = self.exposed.get(key)
        if ref is None:
            error = exceptions.ObjectLostError(f"ObjectRef({key.hex()}) is unknown to its owner: it was freed.")
            connection.post_in_pump((op.VALUE, key, values.pack_error(error)))
            return

        def answer(ref: NativeRef = ref) -> None:
            connection.post((op.VALUE, key, ref.value))

        if len(message) > 2 and self.recover is not None and ref.state == PAYLOAD and not self.store_has(ref.value):
            self.recover(ref, ref.value[1])  # the borrower could not find it in the store
        self.when_done(ref, answer)

    def store_has(self, payload: Any) -> bool:
        if payload[0] != op.SHARED:
            return True
        try:
            self.store.read(payload[1], payload[2])
        except Exception:
            return False
        return True

    def _on_value(self, _: Connection, message: Message) -> None:
        ref = self.borrowed.get(message[1])
        if ref is not None:
            ref.fetching = False
            self.resolve(ref, message[2])
            self.wake_watchers()

    # finalizers: they may run anywhere, so they only append ------------------------------------
    def dropped_borrow(self, key: bytes, owner_address: str) -> None:
        self._drop(0, key, owner_address)

    def dropped_object(self, key: bytes, segment: str) -> None:
        self._drop(1, key, segment)

    def dropped_actor(self, actor_id: bytes) -> None:
        self._drop(2, actor_id, "")

    def dropped_stream(self, stream: Any) -> None:
        self._drop(3, stream, "")

    def _drop(self, what: int, key: Any, where: str) -> None:
        if self.closed:
            return
        self._dropped.append((what, key, where))
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self.pump.wake()

    def drain_dropped(self, *_: Any) -> None:
        """Act on what finalizers queued. Runs in the leader before it sleeps, and before large puts."""
        if not self._drain_scheduled:
            return
        self._drain_scheduled = False
        freed: list[bytes] = []
        while self._dropped:
            what, key, where = self._dropped.popleft()
            if what == 0:
                self._release_borrow(key, where)
            elif what == 1:
                self.store.recycle(where, key)
                freed.append(key)
            elif what == 2:
                if self.node is not None:
                    self.node.post((op.ACTOR_RELEASE, key))
            elif not key.ended and self.cancel is not None:
                self.cancel(key.call, False, True)
        if freed and self.node is not None:
            self.node.post((op.STORE_FREED, freed))

    def _release_borrow(self, key: bytes, address: str) -> None:
        connection = self.peers.get(address)
        if connection is not None and not connection.closed:
            connection.post((op.RELEASE, key))

    # end ------------------------------------------------------------------------------------
    def abandon(self) -> None:
        """In a forked child: the parent's streams are not ours. Closed here, they still end when the parent does."""
        self.closed = True
        for connection in [*self.connections, *([self.node] if self.node is not None else [])]:
            connection.closed = True
            connection.sock.close()
        if self._listener is not None:
            self._listener.close()
        self.pump.abandon()

    def drain_output(self, seconds: float = 5.0) -> None:
        """Wait, within reason, until everything that was said has left this process."""
        deadline = monotonic() + seconds
        connections = [*self.peers.values(), *([self.node] if self.node is not None else [])]
        while monotonic() < deadline:
            busy = [one for one in connections if not one.closed and (one.out or one.blocked)]
            if not busy:
                return
            for one in busy:
                one.flush_now()
            sleep(0.001)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        for connection in [*self.peers.values(), *([self.node] if self.node else [])]:
            connection.flush_now()
        self.pump.stop()
        for connection in [*self.connections, *([self.node] if self.node else [])]:
            connection.closed = True
            connection.sock.close()
        if self._listener is not None:
            self._listener.close()
            try:
                os.unlink(self.address.removeprefix("unix:"))
            except OSError:
                pass
        self.peers.clear()
        self.requests.fail_all("The session has ended.")
