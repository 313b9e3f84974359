"""The node's side of the object store, as messages: allocation, sealing, freeing."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op
from aktis._node.connections import Message, Peer

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

PERIOD = 0.05
"""Seconds between looks while the store has work of its own under way (spilling, waiting allocations)."""


class Objects:
    """Between processes and :class:`aktis._store.node_side.NodeStore`, which is made when somebody first stores something."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._store: Any = None
        self._timer: Any = None

    @property
    def store(self) -> Any:
        """The store, created on first use."""
        if self._store is None:
            from aktis._store.node_side import NodeStore

            capacity = self.daemon.capacity.get("object_store_memory", 0) // 10_000
            self._store = NodeStore(self.daemon.store_dir, self.daemon.spill_dir, capacity)
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

    def stats(self) -> dict[str, Any]:
        """Figures for ``aktis memory``."""
        if self._store is None:
            return {"capacity": self.daemon.capacity.get("object_store_memory", 0) // 10_000, "used": 0, "objects": 0}
        return dict(self._store.stats())

    def close(self) -> None:
        """End what the store has under way."""
        if self._store is not None and hasattr(self._store, "close"):
            self._store.close()

    def _answer(self, replies: Any) -> None:
        for process_id, request, ok, value in replies or ():
            peer = self.daemon.processes.get(process_id)
            if peer is not None:
                peer.send(op.REPLY, request, ok, value)
        if self._timer is None:
            self._timer = self.daemon.loop.call_later(PERIOD, self._poll)

    def _poll(self) -> None:
        self._timer = None
        replies = self._store.poll(monotonic())
        if replies or self._store.stats().get("busy"):
            self._answer(replies)
