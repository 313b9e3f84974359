"""Rows looked up by key: actors that hold sorted parts of a dataset."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import aktis
from aktis.data._blocks import Block, kind_of, slice_rows, to_rows
from aktis.data._iteration.splitting import in_groups
from aktis.util.units import format_seconds

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.dataset import Dataset

__all__ = ["RandomAccessDataset"]

WORKERS = 4


class RandomAccessDataset:
    """Made by :meth:`aktis.data.Dataset.to_random_access_dataset`.

    The blocks stay in the object store, sorted by key. Each actor answers for a range of keys; which one that is the
    asking process knows, so that a lookup is one call.
    """

    def __init__(self, dataset: Dataset, key: str, num_workers: int | None = None) -> None:
        if num_workers is not None and num_workers < 1:
            raise ValueError(f"num_workers is {num_workers}, but must be at least 1")
        schema = dataset._schema()
        if schema is not None and (kind_of(schema) != "table" or key not in schema.names):
            names = ", ".join(schema.names) if kind_of(schema) == "table" else "no named columns"
            raise ValueError(f"no column {key!r} to look up rows by. There are: {names}")
        start = perf_counter()
        handles = [handle for handle in dataset.sort(key)._handles() if handle.num_rows]
        count = max(1, min(num_workers or WORKERS, len(handles)))
        worker: Any = aktis.remote(_Worker).options(num_cpus=0)
        groups = in_groups(len(handles), count)
        self._workers = [worker.remote(key, [_stored(handles[i]) for i in group]) for group in groups]
        self._owner = [number for number, group in enumerate(groups) for _ in group]  # which worker has a block
        bounds: list[list[Any]] = aktis.get([actor.last_keys.remote() for actor in self._workers])
        self._last_keys = [key for part in bounds for key in part]
        while self._last_keys and self._last_keys[-1] is None:
            self._last_keys.pop()  # blocks of null keys, which are at the end and can't be asked for
        self._build_seconds = perf_counter() - start

    def get_async(self, key: Any) -> aktis.ObjectRef[Any]:
        """A reference to the row with this key; to None if there is none."""
        block = self._block_of(key)
        if block is None:
            return aktis.put(None)
        ref: aktis.ObjectRef[Any] = self._workers[self._owner[block]].get.remote(block - self._first(block), key)
        return ref

    def multiget(self, keys: Sequence[Any]) -> list[Any | None]:
        """The rows with these keys, in the same order; None for those that there are not."""
        wanted: dict[int, list[tuple[int, int, Any]]] = {}
        for position, key in enumerate(keys):
            block = self._block_of(key)
            if block is not None:
                wanted.setdefault(self._owner[block], []).append((position, block - self._first(block), key))
        calls = {
            worker: self._workers[worker].multiget.remote([block for _, block, _ in asked], [key for *_, key in asked])
            for worker, asked in wanted.items()
        }
        rows: list[Any | None] = [None] * len(keys)
        for worker, found in zip(calls, aktis.get(list(calls.values()))):
            for (position, _, _), row in zip(wanted[worker], found):
                rows[position] = row
        return rows

    def stats(self) -> str:
        """How the data are spread, and how often and how fast they were accessed."""
        found: list[dict[str, Any]] = aktis.get([actor.stats.remote() for actor in self._workers])
        total = sum(worker["seconds"] for worker in found)
        accesses = [worker["accesses"] for worker in found]
        per_access = total / sum(accesses) if sum(accesses) else 0.0

        def spread(what: str) -> str:
            values = [worker[what] for worker in found]
            return f"{min(values):,} min, {max(values):,} max, {sum(values) / len(values):,.0f} mean"

        return "\n".join(
            [
                "RandomAccessDataset:",
                f"- Build time: {format_seconds(self._build_seconds)}",
                f"- Num workers: {len(found)}",
                f"- Blocks per worker: {spread('blocks')}",
                f"- Bytes per worker: {spread('bytes')}",
                f"- Accesses per worker: {spread('accesses')}",
                f"- Mean access time: {format_seconds(per_access)}",
            ]
        )

    def destroy(self) -> None:
        """End the actors."""
        for actor in self._workers:
            aktis.kill(actor)
        self._workers = []

    def _block_of(self, key: Any) -> int | None:
        """The only block that may have the key (the first, where rows with this key are in several)."""
        if not self._workers:
            raise RuntimeError("this RandomAccessDataset was destroyed")
        try:
            block = bisect_left(self._last_keys, key)
        except TypeError as error:
            kind = type(self._last_keys[0]).__name__
            raise TypeError(f"the key {key!r} cannot be compared with keys of the data, which are {kind}") from error
        return block if block < len(self._last_keys) else None

    def _first(self, block: int) -> int:
        """The first block that the worker of this block has."""
        return self._owner.index(self._owner[block])


def _stored(handle: BlockHandle) -> list[Any]:
    ref, rows = handle.stored()
    return [ref, rows]


class _Worker:
    """An actor that has some successive blocks."""

    def __init__(self, key: str, blocks: list[list[Any]]) -> None:
        self._key = key
        self._blocks = [_load(ref, rows) for ref, rows in blocks]
        self._keys = [_keys_of(block, key) for block in self._blocks]
        self._accesses = 0
        self._seconds = 0.0

    def last_keys(self) -> list[Any]:
        last: list[Any] = [keys[-1] if len(keys) else None for keys in self._keys]
        return [key.item() if hasattr(key, "item") else key for key in last]

    def get(self, block: int, key: Any) -> Any:
        return self.multiget([block], [key])[0]

    def multiget(self, blocks: list[int], keys: list[Any]) -> list[Any | None]:
        start = perf_counter()
        rows = [self._find(block, key) for block, key in zip(blocks, keys)]
        self._accesses += len(keys)
        self._seconds += perf_counter() - start
        return rows

    def _find(self, block: int, key: Any) -> Any | None:
        keys = self._keys[block]
        at = int(np.searchsorted(keys, key))
        if at == len(keys) or keys[at] != key:
            return None
        return to_rows(slice_rows(self._blocks[block], at, at + 1))[0]

    def stats(self) -> dict[str, Any]:
        return {
            "blocks": len(self._blocks),
            "bytes": sum(block.nbytes for block in self._blocks),
            "accesses": self._accesses,
            "seconds": self._seconds,
        }


def _load(ref: aktis.ObjectRef[Block], rows: tuple[int, int] | None) -> Block:
    block = aktis.get(ref)
    return block if rows is None else slice_rows(block, *rows)


def _keys_of(block: Block, key: str) -> Any:
    """The keys of a block, sorted; nulls, which are at the end, are left out."""
    column = block.column(key)
    values = column.slice(0, len(column) - column.null_count).combine_chunks()
    keys = values.to_numpy(zero_copy_only=False)
    return keys.astype("datetime64[us]") if keys.dtype.kind == "M" else keys
