"""Bringing rows with equal keys together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._exchanges._gather import gather, join_pieces, scatter
from aktis.data._exchanges._groups import clean, find_groups
from aktis.data._exchanges._hashing import hash_partitions
from aktis.data._exchanges._keys import (
    Key,
    KeyColumn,
    is_nan,
    key_columns,
    nan_mask,
    one_chunk,
    sort_positions,
)
from aktis.data._exchanges._ranges import KeySample, ranges_from_samples, sample_keys
from aktis.data._exchanges._sizes import MIB, SMALL_BYTES, known_sizes, partitions_for
from aktis.data.exceptions import SchemaError


class GroupRows(Exchange):
    """Rows with equal keys end up next to each other, in one block. Groups are in the order of their keys, the group of None and
    NaN last; rows of a group stay in order.

    Partitions are ranges of keys where keys can be compared, else by hash.

    Args:
        keys: What to group by. None: all rows are one group.
        num_partitions: How many tasks, and blocks. None: by size.
    """

    preserves_rows = True

    def __init__(
        self,
        keys: Sequence[Key],
        num_partitions: int | None = None,
        *,
        name: str = "GroupBy",
        target_bytes: int = 64 * MIB,
    ) -> None:
        self.name = name
        self._keys = tuple(keys)
        self._num_partitions = num_partitions
        self._target_bytes = target_bytes
        self.needs_sample = bool(keys)
        names = [key.by for key in keys if isinstance(key.by, str)]
        self.columns_needed = tuple(names) if len(names) == len(self._keys) else None

    def _columns(self, block: Block) -> list[KeyColumn]:
        return [without_nan(column) for column in key_columns(block, self._keys, "groupby()")]

    def sample(self, block: Block, *, input: int, index: int) -> KeySample:
        return sample_keys(self._columns(block), block.num_rows, index)

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        size = known_sizes(inputs)
        wanted = self._num_partitions or (1 if size <= SMALL_BYTES else partitions_for(size, self._target_bytes))
        if not self._keys or wanted == 1:
            return ExchangePlan(1, whole_blocks=True)
        try:
            ranges = ranges_from_samples(samples[0], self._keys, wanted, split_equal=False, operation="groupby()")
        except SchemaError:
            raise
        except ValueError:  # keys that cannot be compared
            return ExchangePlan(wanted)
        return ExchangePlan(ranges.num_partitions, ranges)

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        columns = self._columns(block)
        if plan.state is None:
            targets = hash_partitions(columns, plan.num_partitions)
        else:
            targets = plan.state.assign(columns)
        return scatter(block, targets, plan.num_partitions)

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        block = join_pieces(parts[0])
        if not self._keys or block.num_rows < 2:
            yield block
            return
        groups, keys = find_groups(self._columns(block), block.num_rows)
        codes = group_ranks(keys)[groups.codes]
        yield gather(block, np.argsort(codes, kind="stable"))


def without_nan(column: KeyColumn) -> KeyColumn:
    """NaN as null: as keys of groups they are the same."""
    if isinstance(column, list):
        return [None if is_nan(value) else value for value in column]
    return column if nan_mask(column) is None else pa.chunked_array([clean(one_chunk(column))])


def group_ranks(keys: Sequence[KeyColumn]) -> Any:
    """The place of each group in the order of keys; in the order in which they appear, if they cannot be compared."""
    count = len(keys[0])
    try:
        order = sort_positions(keys, [False] * len(keys))
    except ValueError:
        return np.arange(count)
    ranks: Any = np.empty(count, dtype=np.int64)
    ranks[order] = np.arange(count)
    return ranks
