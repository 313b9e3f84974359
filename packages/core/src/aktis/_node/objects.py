"""The node's side of the object store, as messages: allocation, sealing, freeing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op
from aktis._node.connections import Message, Peer

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon
    from aktis._store.node_side import NodeStore


class Objects:
    """Between processes and :class:`aktis._store.node_side.NodeStore`, which is made when somebody first stores something."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._store: NodeStore | None = None
        self._timer: Any = None
        self._dirty = False

    @property
    def store(self) -> NodeStore:
        """The store, created on first use."""
        if self._store is None:
            from aktis._store.node_side import NodeStore

            self._store = NodeStore(self.daemon.store_dir, self.daemon.spill_dir, self._capacity())
            self.daemon.loop.register(self._store.fileno(), lambda _: self._poll())
        return self._store

    def on_alloc(self, peer: Peer, message: Message) -> None:
        """STORE_ALLOC request, size, object_id."""
        _, request, size, object_id = message
        self._answer(self.store.handle_alloc(peer.process_id, request, size, object_id))

    def on_sealed(self, peer: Peer, message: Message) -> None:
        """STORE_SEALED [(object_id, segment, size)]."""
        self._answer(self.store.handle_sealed(peer.process_id, message[1]))

    def on_freed(self, peer: Peer, message: Message) -> None:
        """STORE_FREED [object_id]."""
        self._answer(self.store.handle_freed(peer.process_id, message[1]))

    def process_gone(self, process_id: bytes) -> None:
        """What the process owned is free."""
        if self._store is not None:
            self._answer(self._store.process_gone(process_id))

    def settle(self) -> None:
        """At the end of a round: plan the next look."""
        if not self._dirty or self._store is None:
            return
        self._dirty = False
        if self._timer is not None:
            self._timer.cancelled = True
            self._timer = None
        pause = self._store.next_poll()
        if pause is not None:
            self._timer = self.daemon.loop.call_later(pause, self._poll)

    def stats(self) -> dict[str, Any]:
        """Figures for ``aktis memory``."""
        if self._store is None:
            return {"capacity": self._capacity(), "used": 0, "objects": 0}
        return dict(self._store.stats())

    def rows(self) -> list[dict[str, Any]]:
        """What is in the store."""
        return self._store.objects() if self._store is not None else []

    def close(self) -> None:
        """End what the store has under way."""
        if self._store is not None:
            self._store.close()

    def _capacity(self) -> int:
        return self.daemon.capacity.get("object_store_memory", 0) // 10_000

    def _poll(self) -> None:
        if self._store is not None:
            self._answer(self._store.poll())

    def _answer(self, replies: list[tuple[bytes, int, bool, Any]]) -> None:
        self._dirty = True
        for process_id, request, ok, value in replies:
            peer = self.daemon.processes.get(process_id)
            if peer is not None:
                peer.send(op.REPLY, request, ok, value)
