"""A block that is somewhere: in the object store, or right here in the driver."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Union

import pyarrow as pa

import aktis
from aktis.data._blocks.types import Block, BlockMetadata


@dataclass(frozen=True, slots=True, eq=False)
class BlockHandle:
    """``where`` is a table (data that the driver has) or a reference to one. ``rows`` shows only some of its rows."""

    where: Union[Block, aktis.ObjectRef[Block]]
    metadata: BlockMetadata  # of the rows that are shown
    rows: tuple[int, int] | None = None  # (start, stop)
    _put: list[Any] = field(default_factory=list, repr=False)  # the session, and the reference that was put there

    def load(self) -> Block:
        """The block. Raises what made the reference fail."""
        block = self.where if isinstance(self.where, pa.Table) else aktis.get(self.where)
        return block if self.rows is None else block.slice(self.rows[0], self.rows[1] - self.rows[0])

    def stored(self) -> tuple[aktis.ObjectRef[Block], tuple[int, int] | None]:
        """A reference, put into the object store once per session where need be, and the rows of it that are shown."""
        if not isinstance(self.where, pa.Table):
            return self.where, self.rows
        if not self.is_stored:
            from aktis.data._blocks import trimmed

            self._put[:] = aktis.get_runtime_context().get_job_id(), aktis.put(trimmed(self.load()))
        return self._put[1], None

    @property
    def is_stored(self) -> bool:
        """Whether it is in the object store of this session."""
        if not isinstance(self.where, pa.Table):
            return True
        return bool(self._put) and self._put[0] == aktis.get_runtime_context().get_job_id()

    def put_anew(self) -> BlockHandle:
        """The same, but what is put into the store for it leaves the store with it, as with a slice.

        The store is then no larger than what is worked on, and its memory is warm.
        """
        return self if self.is_stored else BlockHandle(self.where, self.metadata, self.rows)

    def ref(self) -> aktis.ObjectRef[Block]:
        """A reference to exactly this block."""
        ref, rows = self.stored()
        if rows is None:
            return ref
        from aktis.data._blocks import trimmed

        return aktis.put(trimmed(self.load()))

    def slice(self, start: int, stop: int) -> BlockHandle:
        """Rows ``start`` to ``stop`` of what is shown, without touching the data."""
        total = self.num_rows
        if start <= 0 and stop >= total:
            return self
        offset = self.rows[0] if self.rows else 0
        count = max(0, stop - start)
        size = self.size_bytes * count // total if total else 0
        metadata = replace(self.metadata, num_rows=count, size_bytes=size, exec_stats=None)
        return BlockHandle(self.where, metadata, (offset + start, offset + start + count))

    @property
    def num_rows(self) -> int:
        """Rows that are shown."""
        return self.metadata.num_rows or 0

    @property
    def size_bytes(self) -> int:
        """Bytes in memory (of a slice: its share)."""
        return self.metadata.size_bytes or 0
