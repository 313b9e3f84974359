"""Sorting: sampled range partitioning, then a sort within each partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._exchanges._gather import gather_in_blocks, in_blocks, join_pieces, scatter
from aktis.data._exchanges._keys import Key, cast_key, common_types, key_columns, sort_positions
from aktis.data._exchanges._ranges import (
    KeySample,
    Ranges,
    ranges_from_boundaries,
    ranges_from_samples,
    sample_keys,
)
from aktis.data._exchanges._sizes import MIB, SMALL_BYTES, known_sizes, partitions_for


@dataclass(frozen=True, slots=True)
class _SortState:
    types: list[pa.DataType | None]  # of the keys, over all blocks
    ranges: Ranges | None = None


class Sort(Exchange):
    """Rows in the order of their keys. Stable in both directions; NaN and then null come last.

    Args:
        keys: What to sort by, the most significant first.
        boundaries: Values of the first key (or tuples of several keys) at which output blocks begin. None: found by
            sampling, for blocks of about equal size.
        use_polars: Let Polars sort single keys of numbers, where it is installed.
        target_bytes: Size of a partition, and about that of a block.
    """

    needs_sample = True
    preserves_rows = True

    def __init__(
        self,
        keys: Sequence[Key],
        *,
        boundaries: Sequence[Any] | None = None,
        use_polars: bool = True,
        target_bytes: int = 64 * MIB,
    ) -> None:
        self.name = "Sort"
        self._keys = tuple(keys)
        names = [key.by for key in keys if isinstance(key.by, str)]
        self.columns_needed = tuple(names) if len(names) == len(self._keys) else None
        self._descending = [key.descending for key in keys]
        self._boundaries = list(boundaries) if boundaries else None
        self._use_polars = use_polars
        self._target_bytes = target_bytes

    @property
    def keys(self) -> tuple[Key, ...]:
        """What rows are sorted by."""
        return self._keys

    def sample(self, block: Block, *, input: int, index: int) -> KeySample:
        return sample_keys(key_columns(block, self._keys, "sort"), block.num_rows, index)

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        used = [sample.columns for sample in samples[0] if sample.rows] or [sample.columns for sample in samples[0][:1]]
        types = common_types(used, "sort") if used else [pa.null()] * len(self._keys)
        if self._boundaries is not None:
            ranges = ranges_from_boundaries(self._boundaries, self._keys, types)
            return ExchangePlan(ranges.num_partitions, _SortState(types, ranges))
        size = known_sizes(inputs)
        if size <= SMALL_BYTES or len(inputs[0]) <= 1:
            return ExchangePlan(1, _SortState(types), whole_blocks=True)
        wanted = partitions_for(size, self._target_bytes)
        ranges = ranges_from_samples(samples[0], self._keys, wanted, split_equal=True, operation="sort")
        return ExchangePlan(ranges.num_partitions, _SortState(types, ranges))

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        ranges: Ranges = plan.state.ranges
        targets = ranges.assign(key_columns(block, self._keys, "sort"), index=index)
        return scatter(block, targets, plan.num_partitions)

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        state: _SortState = plan.state
        block = join_pieces(parts[0])
        # With given boundaries there is one block for each range, whatever its size.
        target = self._target_bytes if self._boundaries is None else 1 << 62
        if state.ranges is not None and state.ranges.is_constant(partition):
            yield from in_blocks(block, target)
            return
        columns = [cast_key(column, kind) for column, kind in zip(key_columns(block, self._keys, "sort"), state.types)]
        order = sort_positions(columns, self._descending, use_polars=self._use_polars)
        yield from gather_in_blocks(block, order, target)
