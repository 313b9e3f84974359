"""Where the time of an iteration went."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from aktis.util.units import format_seconds


@dataclass(slots=True)
class IterationStats:
    """Seconds, by what was done. Work in the prefetch thread overlaps with the user's, so parts may exceed the total."""

    wait: float = 0.0  # for the execution to make the next block
    get: float = 0.0  # loading blocks from the object store
    next_batch: float = 0.0  # cutting, putting together and shuffling rows
    format: float = 0.0  # conversion to the batch format
    collate: float = 0.0  # in the collate function
    finalize: float = 0.0  # in the finalize function: transfer to the device
    blocked: float = 0.0  # the consumer waited for the next batch
    user: float = 0.0  # in the consumer's own code, between batches
    total: float = 0.0
    first_batch: float = 0.0  # until the first batch was there
    batches: int = 0
    rows: int = 0
    blocks: int = 0

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + perf_counter() - start)

    def __str__(self) -> str:
        if not self.batches:
            return "Iteration: nothing was read"
        rate = self.rows / self.total if self.total else 0.0
        read = f"{self.rows:,} rows in {self.batches:,} batches from {self.blocks:,} blocks"
        lines = [
            f"Iteration: {read}, {format_seconds(self.total)} ({rate:,.0f} rows/s)",
            f"* waiting for the next batch: {format_seconds(self.blocked)} (the first one: {format_seconds(self.first_batch)})",
            f"* in user code: {format_seconds(self.user)}",
            "* making batches, in part while user code ran:",
        ]
        parts = {
            "waiting for blocks": self.wait,
            "loading blocks": self.get,
            "next batch (cut, concatenate, shuffle)": self.next_batch,
            "format": self.format,
            "collate": self.collate,
            "finalize": self.finalize,
        }
        lines += [f"    * {what}: {format_seconds(time)}" for what, time in parts.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class IterationTotals:
    """What all passes over something have come to so far.

    Attributes:
        passes: How many began.
        rows: Rows that were read. Of the pass that goes on, they may be some batches ahead of the consumer.
        batches: Batches that were read.
        waited_seconds: How long the consumer waited for batches, in the passes that have ended.
    """

    passes: int = 0
    rows: int = 0
    batches: int = 0
    waited_seconds: float = 0.0

    def plus(self, stats: IterationStats) -> IterationTotals:
        """With one more pass."""
        return IterationTotals(
            self.passes + 1, self.rows + stats.rows, self.batches + stats.batches, self.waited_seconds + stats.blocked
        )
