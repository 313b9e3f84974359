from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aktis._store.node_side import NodeStore


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., NodeStore]]:
    """Nodes with a store in shared memory where there is some."""
    made: list[NodeStore] = []
    base = Path("/dev/shm") / f"aktis-test-{os.getpid()}" if os.access("/dev/shm", os.W_OK) else tmp_path / "store"

    def make(capacity: int = 64 << 20, **options) -> NodeStore:
        node = NodeStore(f"{base}-{len(made)}", str(tmp_path / f"spill-{len(made)}"), capacity, **options)
        made.append(node)
        return node

    yield make
    for node in made:
        node._ledger.validate()
        node.close()
        assert not os.path.exists(node.store_dir)
