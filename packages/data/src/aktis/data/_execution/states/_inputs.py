"""What waits to become tasks: items, and the actors of a pool."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from aktis.data._execution.states._base import OperatorState

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._plan.logical import Compute
    from aktis.data.datasource._base import ReadTask


class Items:
    """The inputs of tasks: one per read task, per block, or per bundle of blocks with ``min_rows`` rows."""

    def __init__(
        self,
        state: OperatorState,
        reads: Sequence[ReadTask] | None,
        min_rows: int | None,
        *,
        whole_blocks: bool = False,  # of bundles: no block is cut
    ) -> None:
        self._state = state
        self._reads = deque(reads or ())
        self._min_rows = min_rows
        self._whole_blocks = whole_blocks
        self._blocks: deque[list[BlockHandle]] = deque()
        self._bundle: list[BlockHandle] = []
        self._bundle_rows = 0
        self.counted = True  # False: the blocks are a source's, and in memory whether they wait here or not

    def add(self, handle: BlockHandle) -> None:
        if self.counted:
            self._state.held += handle.size_bytes
        if self._min_rows is None:
            self._blocks.append([handle])
            return
        self._bundle.append(handle.put_anew() if self._whole_blocks else handle)
        self._bundle_rows += handle.num_rows
        if self._whole_blocks and self._bundle_rows >= self._min_rows:
            self.flush()
        elif self._bundle_rows >= self._min_rows:
            extra = self._bundle_rows % self._min_rows  # whole batches only: the rest begins the next bundle
            last = self._bundle.pop()
            cut = last.num_rows - extra
            self._bundle.append(last.slice(0, cut))
            self.flush()
            if extra:
                self._bundle, self._bundle_rows = [last.slice(cut, last.num_rows)], extra

    def flush(self) -> None:
        """The input has ended: the last bundle is as big as it is."""
        if self._bundle:
            self._blocks.append(self._bundle)
            self._bundle, self._bundle_rows = [], 0

    def __len__(self) -> int:
        return len(self._reads) + len(self._blocks)

    def next_size(self) -> int:
        """Bytes of the next item: in memory here if blocks, as estimated if a read task."""
        if self._reads:
            return self._reads[0].metadata.size_bytes or 0
        return sum(handle.size_bytes for handle in self._blocks[0]) if self._blocks else 0

    def upcoming(self, count: int) -> list[BlockHandle]:
        """The blocks of the next items."""
        return [handle for handles in islice(self._blocks, count) for handle in handles]

    def pop(self) -> tuple[ReadTask | None, list[BlockHandle]]:
        if self._reads:
            return self._reads.popleft(), []
        handles = self._blocks.popleft()
        if self.counted:
            self._state.held -= sum(handle.size_bytes for handle in handles)
        return None, handles

    def empty(self) -> bool:
        return not self._reads and not self._blocks and not self._bundle

    def clear(self) -> None:
        self._reads.clear()
        self._blocks.clear()
        self._bundle = []


class Actors:
    """A pool: who is ready, how busy each is, and whether another one would help."""

    def __init__(self, compute: Compute) -> None:
        assert compute.pool_size is not None
        self.least, self.most = compute.pool_size
        self.initial = max(self.least, compute.initial_size or 0)
        self.depth = compute.tasks_per_actor
        self.load: dict[int, int] = {}  # ready actors: tasks in flight
        self.starting: set[int] = set()
        self._next_id = 0

    def grow(self, queued: int) -> list[int]:
        """Ids of actors to start now."""
        have = len(self.load) + len(self.starting)
        if have < self.initial:
            count = self.initial - have
        elif queued and not self.starting and (self.most is None or have < self.most) and self._busy():
            count = 1
        else:
            return []
        ids = list(range(self._next_id, self._next_id + count))
        self._next_id += count
        self.starting.update(ids)
        return ids

    def _busy(self) -> bool:
        return bool(self.load) and all(load >= self.depth for load in self.load.values())

    def free(self) -> int | None:
        """The least busy actor that has room."""
        best = min(self.load, key=lambda actor: self.load[actor], default=None)
        return best if best is not None and self.load[best] < self.depth else None

    def idle(self) -> list[int]:
        """Actors without work."""
        return [actor for actor, load in self.load.items() if load == 0]
