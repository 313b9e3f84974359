"""Iterators that share one execution: the consumers' side of :mod:`aktis.data._iteration.coordinator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aktis
from aktis.data._blocks import Block
from aktis.data._iteration.coordinator import Coordinator
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.meeting import Consumer
from aktis.data.iterator import DatasetIterator

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle


def split_stream(dataset: Any, n: int, equal: bool, locality_hints: Sequence[Any] | None) -> list[DatasetIterator]:
    """``n`` iterators over a dataset. See :meth:`aktis.data.Dataset.streaming_split`."""
    actor_class: Any = aktis.remote(Coordinator)
    # Each consumer has at most one call that waits, and one that tells of its leaving.
    coordinator = actor_class.options(num_cpus=0, max_concurrency=2 * n + 2, name=None).remote(
        dataset, n, equal, locality_hints is not None, dataset._context.split_timeout_s
    )
    return [SplitIterator(coordinator, part, n) for part in range(n)]


class SplitIterator(DatasetIterator):
    """One of the iterators of :meth:`aktis.data.Dataset.streaming_split`."""

    def __init__(self, coordinator: Any, part: int, n: int) -> None:
        self._coordinator = coordinator
        self._part = part
        self._n = n

    def _open(self) -> Handles:
        return _PartOfStream(self._coordinator, self._part)

    def _sample(self) -> Block | None:
        block: Block | None = aktis.get(self._coordinator.sample.remote())
        return block

    def stats(self) -> str:
        text = str(aktis.get(self._coordinator.stats.remote()))
        return text if self._iteration_stats is None else f"{text}\n\n{self._iteration_stats}"

    def schema(self) -> Any:
        return aktis.get(self._coordinator.schema.remote())

    @property
    def world_size(self) -> int:
        """How many iterators share the execution."""
        return self._n

    def __repr__(self) -> str:
        return f"DatasetIterator(part {self._part} of {self._n} of a streaming_split)"


class _PartOfStream:
    """One epoch of one consumer. ``close`` may be called from any thread."""

    def __init__(self, coordinator: Any, part: int) -> None:
        self._coordinator = coordinator
        self._part = part
        self._over = False
        self._epoch: int = aktis.get(coordinator.begin.remote(part, Consumer.here()))

    def __iter__(self) -> _PartOfStream:
        return self

    def __next__(self) -> BlockHandle:
        if self._over:
            raise StopIteration
        handle: BlockHandle | None = aktis.get(self._coordinator.next.remote(self._part, self._epoch))
        if handle is None:
            self._over = True
            raise StopIteration
        return handle

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._coordinator.leave.remote(self._part, self._epoch)
