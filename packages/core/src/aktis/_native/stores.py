"""The object store of a driver or worker: created on first use, allocating from the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op

if TYPE_CHECKING:
    from aktis._native.core import Core


class _LazyStore:
    """Most workers never touch the store: its modules are imported when one does."""

    def __init__(self, core: Core, store_dir: str, limits: dict[str, Any]) -> None:
        self._core = core
        self._store_dir = store_dir
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        core = self._core
        if isinstance(core.store, _LazyStore):
            core.store = _open(core, self._store_dir, self._limits)
        return getattr(core.store, name)


def open_store(core: Core, store_dir: str, limits: dict[str, Any]) -> Any:
    return _LazyStore(core, store_dir, limits)


def _open(core: Core, store_dir: str, limits: dict[str, Any]) -> Any:
    from aktis._store.object_store import ObjectStore, allocation_error

    def allocate(size: int, object_id: bytes) -> str:
        pending = core.requests.send(op.STORE_ALLOC, size, object_id)
        assert pending.waiter is not None
        core.pump.wait(pending.waiter)
        if pending.ok:
            return str(pending.value)
        raise pending.value if isinstance(pending.value, BaseException) else allocation_error(pending.value)

    def abandon(object_id: bytes) -> None:
        if core.node is not None:
            core.node.post((op.STORE_FREED, [object_id]))

    spill_dir = limits.get("spill_dir") or f"{core.session_dir}/spill"
    return ObjectStore(store_dir, spill_dir, allocate, abandon=abandon, capacity=limits.get("object_store_memory"))
