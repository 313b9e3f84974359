"""A store with a node in the same process, and object ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aktis._serialization import pack, unpack
from aktis._store.node_side import NodeStore
from aktis._store.object_store import ObjectStore, allocation_error

DRIVER = b"driver--"
WORKER = b"worker--"
_counter = itertools.count(1)


def new_id(owner: bytes = DRIVER) -> bytes:
    return owner + next(_counter).to_bytes(8, "big") + bytes(4)


class Process:
    """A driver or worker: its store, and what it tells the node."""

    def __init__(self, node: NodeStore, process_id: bytes, wait: Callable[[], None] | None = None) -> None:
        self.node = node
        self.process_id = process_id
        self.requests = itertools.count(1)
        self.allocations = 0
        self.store = ObjectStore(
            node.store_dir,
            node.spill_dir,
            self.allocate,
            abandon=lambda object_id: self.told(node.handle_freed(process_id, [object_id])),
            capacity=node.stats()["capacity"],
        )

    def told(self, replies: list[Any]) -> None:
        assert not replies

    def allocate(self, size: int, object_id: bytes) -> str:
        self.allocations += 1
        request = next(self.requests)
        replies = self.node.handle_alloc(self.process_id, request, size, object_id)
        while not replies:
            wait_for_node(self.node)
            replies = self.node.poll()
        ((process_id, answered, ok, value),) = replies
        assert (process_id, answered) == (self.process_id, request)
        if not ok:
            raise allocation_error(value)
        return str(value)

    def put(self, value: Any, owner: bytes | None = None) -> tuple[bytes, str]:
        object_id = new_id(owner or self.process_id)
        name, size = self.store.write(object_id, pack(value))
        self.node.handle_sealed(self.process_id, [(object_id, name, size)])
        return object_id, name

    def get(self, ref: tuple[bytes, str]) -> Any:
        return unpack(*self.store.read(*ref))

    def free(self, ref: tuple[bytes, str]) -> bool:
        kept = self.store.recycle(ref[1], ref[0])
        self.node.handle_freed(self.process_id, [ref[0]])
        return kept


def wait_for_node(node: NodeStore, seconds: float = 5.0) -> None:
    """Until the node wants to be polled."""
    import select

    select.select([node], [], [], min(seconds, node.next_poll() or seconds))


def settle(node: NodeStore) -> list[Any]:
    """Until nothing is being spilled."""
    replies = []
    while node.stats()["spilling"]:
        wait_for_node(node)
        replies += node.poll()
    return replies


def files(path: str | Path) -> set[str]:
    return {entry.name for entry in Path(path).iterdir()}
