"""The way of data from blocks to the user's loop.

::

    handles ─▶ load ─▶ local shuffle ─▶ chunks ─▶ convert ─▶ │ place ─▶ cut ─▶ finalize ─▶ the user's loop
                                                             │
    with a collate function:        ... ─▶ cut ─▶ collate ─▶ │ finalize ─▶ the user's loop
    └─────────────────── prefetch thread ──────────────────┘   └─────────── the user's thread ──────────┘

What crosses from thread to thread are chunks (many batches at once) or, with a collate function, batches: handing over
costs tens of microseconds, in which a small batch is cut a dozen times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from aktis.data._blocks import Block, slice_rows
from aktis.data._iteration.batcher import Chunk, chunks
from aktis.data._iteration.formats import Format
from aktis.data._iteration.prefetch import prefetched
from aktis.data._iteration.shuffle import local_shuffle
from aktis.data._iteration.stats import IterationStats

if TYPE_CHECKING:
    from types import TracebackType

    from aktis.data._execution.handle import BlockHandle

T = TypeVar("T")


class Handles(Protocol):
    """A running execution: handles of blocks in order. ``close`` may be called from another thread than ``next``."""

    def __iter__(self) -> Iterator[BlockHandle]: ...

    def __next__(self) -> BlockHandle: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class BatchSpec:
    """What was asked for. Checked when it is made, before anything is executed."""

    batch_size: int | None = 256
    drop_last: bool = False
    prefetch_batches: int = 1
    prefetch_blocks: int = 0
    shuffle_buffer: int | None = None
    shuffle_seed: int | None = None
    steady_shuffle: bool = False  # the random order does not depend on how rows are cut into blocks
    shuffled_skip: int = 0  # rows at the beginning of what the shuffle gives that are left out

    def __post_init__(self) -> None:
        _check_count("batch_size", self.batch_size, least=1, none="whole blocks")
        _check_count("prefetch_batches", self.prefetch_batches, least=0)
        _check_count("prefetch_blocks", self.prefetch_blocks, least=0)
        _check_count("local_shuffle_buffer_size", self.shuffle_buffer, least=1, none="no shuffle")
        if self.shuffle_buffer is not None and self.batch_size is None:
            raise ValueError("a local shuffle needs a batch_size: None, which means whole blocks, cannot be shuffled")

    def batches_of(self, rows: int | None) -> int | None:
        """How many batches so many rows make; None: that is not known."""
        if rows is None or self.batch_size is None:
            return None
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)


def _check_count(name: str, value: Any, *, least: int, none: str = "") -> None:
    if value is None and none:
        return
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, but must be an int{f' (or None: {none})' if none else ''}")
    if value < least:
        raise ValueError(f"{name} is {value}, but must be at least {least}{f' (or None: {none})' if none else ''}")


class Batches(Generic[T]):
    """What ``iter_batches`` and its like give. Each ``for`` loop over it is a new pass; ``next()`` works, too, on a pass of
    its own, which a following ``for`` goes on with."""

    def __init__(self, start: Callable[[], Iterator[T]]) -> None:
        self._start = start
        self._begun: Iterator[T] | None = None

    def __iter__(self) -> Iterator[T]:
        begun, self._begun = self._begun, None
        return self._start() if begun is None else begun

    def __next__(self) -> T:
        if self._begun is None:
            self._begun = self._start()
        return next(self._begun)

    def close(self) -> None:
        """End the pass that ``next()`` began, and free what it holds."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Batches[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def iterate(
    open_handles: Callable[[], Handles],
    spec: BatchSpec,
    form: Format,
    stats: IterationStats,
    *,
    collate: Callable[[Any], Any] | None = None,
    finalize: Callable[[Any], Any] | None = None,
) -> Iterator[Any]:
    """One pass: yields batches. Closing the generator ends threads and execution.

    Args:
        open_handles: starts the execution.
        form: of the batches.
        stats: filled while the pass goes on.
        collate: applied to each batch, in the prefetch thread.
        finalize: applied to each batch after that, in the thread of the consumer.
    """
    began = perf_counter()
    handles = open_handles()
    try:
        made = _converted(batch_blocks(handles, spec, stats), spec, form, stats)
        if collate is not None:
            batches = _ahead(_collated(made, form, collate, stats), spec, handles)
        else:
            batches = _cut(_ahead(made, spec, handles, weigh=_batches_of), form, stats)
        yield from _timed(batches, finalize, stats, began)
    finally:
        handles.close()


def load_blocks(handles: Handles, stats: IterationStats, prefetch: int = 0) -> Iterator[Block]:
    """The blocks of a running execution, in order; ``prefetch`` of them are loaded ahead of time."""
    loaded = _load(handles, stats)
    return prefetched(loaded, prefetch, stop=handles.close, name="aktis-data-load") if prefetch else loaded


def _load(handles: Handles, stats: IterationStats) -> Iterator[Block]:
    while True:
        start = perf_counter()
        handle = next(handles, None)
        waited = perf_counter()
        stats.wait += waited - start
        if handle is None:
            return
        block = handle.load()
        del handle  # the reference is not needed while the block is used: the store may free what nobody maps
        stats.get += perf_counter() - waited
        stats.blocks += 1
        yield block


def batch_blocks(handles: Handles, spec: BatchSpec, stats: IterationStats) -> Iterator[Block]:
    """The blocks that batches are cut from: loaded, and shuffled if that was asked for."""
    blocks = load_blocks(handles, stats, spec.prefetch_blocks)
    if spec.shuffle_buffer is None or spec.batch_size is None:
        return blocks
    shuffled = local_shuffle(
        blocks, spec.shuffle_buffer, spec.batch_size, seed=spec.shuffle_seed, steady=spec.steady_shuffle
    )
    return _without_first(shuffled, spec.shuffled_skip) if spec.shuffled_skip else shuffled


def _without_first(blocks: Iterator[Block], rows: int) -> Iterator[Block]:
    for block in blocks:
        if rows < block.num_rows:
            yield slice_rows(block, rows, block.num_rows)
        rows -= min(rows, block.num_rows)


def _converted(
    blocks: Iterator[Block], spec: BatchSpec, form: Format, stats: IterationStats
) -> Iterator[tuple[Chunk, Any]]:
    source = chunks(blocks, spec.batch_size, drop_last=spec.drop_last)
    while True:
        start, elsewhere = perf_counter(), stats.wait + stats.get
        chunk = next(source, None)
        cut = perf_counter()
        stats.next_batch += max(0.0, cut - start - (stats.wait + stats.get - elsewhere))
        if chunk is None:
            return
        made = form.convert(chunk.block, chunk.num_batches)
        stats.format += perf_counter() - cut
        yield chunk, made


def _batches_of(item: tuple[Chunk, Any]) -> int:
    return item[0].num_batches


def _ahead(
    source: Iterator[T], spec: BatchSpec, handles: Handles, weigh: Callable[[T], int] | None = None
) -> Iterator[T]:
    if not spec.prefetch_batches:
        return source
    return prefetched(source, spec.prefetch_batches, weigh=weigh, stop=handles.close)


def _cut(made: Iterator[tuple[Chunk, Any]], form: Format, stats: IterationStats) -> Iterator[Any]:
    for chunk, converted in made:
        rows = chunk.block.num_rows
        stats.batches += chunk.num_batches
        stats.rows += rows
        start = perf_counter()
        converted = form.place(converted)
        stats.finalize += perf_counter() - start
        if rows <= chunk.batch_rows:
            yield converted
        else:
            yield from form.cut(converted, rows, chunk.batch_rows)


def _collated(
    made: Iterator[tuple[Chunk, Any]], form: Format, collate: Callable[[Any], Any], stats: IterationStats
) -> Iterator[Any]:
    for batch in _cut(made, form, stats):
        start = perf_counter()
        result = collate(batch)
        stats.collate += perf_counter() - start
        yield result


def _timed(
    batches: Iterator[Any], finalize: Callable[[Any], Any] | None, stats: IterationStats, began: float
) -> Iterator[Any]:
    """Batches to the consumer: counts the time on both sides of the ``yield``."""
    blocked = user = finalizing = 0.0
    start = perf_counter()
    stats.blocked += start - began  # what opening took
    try:
        for batch in batches:
            have = perf_counter()
            blocked += have - start
            if not stats.first_batch:
                stats.first_batch = have - began
            if finalize is not None:
                batch = finalize(batch)
                now = perf_counter()
                finalizing += now - have
                have = now
            yield batch
            del batch
            start = perf_counter()
            user += start - have
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
        stats.blocked += blocked
        stats.user += user
        stats.finalize += finalizing
        stats.total += perf_counter() - began
