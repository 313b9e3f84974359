"""Joins: rows of two data sets whose keys are equal, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import empty_like, unify_schemas
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._exchanges._gather import blocks_for, cuts, gather, join_pieces, scatter
from aktis.data._exchanges._groups import find_groups
from aktis.data._exchanges._hashing import hash_partitions
from aktis.data._exchanges._keys import Key, KeyColumn, cast_key, common_types, key_columns
from aktis.data._exchanges._sizes import MIB, SMALL_BYTES, known_sizes, partitions_for
from aktis.data.exceptions import SchemaError

Rows: TypeAlias = npt.NDArray[np.int64]

JOIN_TYPES = (
    "inner",
    "left_outer",
    "right_outer",
    "full_outer",
    "left_semi",
    "right_semi",
    "left_anti",
    "right_anti",
)

NONE = -1  # in place of a row number: no row


@dataclass(frozen=True, slots=True)
class _JoinState:
    schemas: tuple[pa.Schema, pa.Schema]
    types: list[pa.DataType | None]  # of the keys, on both sides


class Join(Exchange):
    """Joins two data sets by equality of keys. Null and NaN are equal to nothing.

    Rows of the left side stay in order within a partition, and have their matches in order; rows of the right side without a match
    come after them.

    Args:
        join_type: One of ``JOIN_TYPES``.
        on: Key columns of the left side. They keep their names.
        right_on: Key columns of the right side, which are not in the output (they are equal to the others).
        suffixes: Appended to the names of other columns that both sides have.
        num_partitions: How many tasks. None: by size.
    """

    name = "Join"
    num_inputs = 2

    def __init__(
        self,
        join_type: str,
        on: Sequence[str],
        right_on: Sequence[str] | None = None,
        *,
        suffixes: tuple[str | None, str | None] = (None, None),
        num_partitions: int | None = None,
        target_bytes: int = 64 * MIB,
    ) -> None:
        if join_type not in JOIN_TYPES:
            raise ValueError(f"join_type must be one of {', '.join(map(repr, JOIN_TYPES))}, got {join_type!r}.")
        right_on = on if right_on is None else right_on
        if not on or len(on) != len(right_on):
            raise ValueError(
                f"join() needs as many keys on the right as on the left, got {list(on)} and {list(right_on)}."
            )
        if num_partitions is not None and num_partitions < 1:
            raise ValueError(f"num_partitions must be at least 1, got {num_partitions}.")
        self._type = join_type
        self._keys = (tuple(Key(name) for name in on), tuple(Key(name) for name in right_on))
        self._suffixes = suffixes
        self._num_partitions = num_partitions
        self._target_bytes = target_bytes

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        left, right = (
            unify_schemas([block.schema for block in blocks if block.schema is not None] or [pa.schema([])])
            for blocks in inputs
        )
        state = _JoinState((left, right), self.check(left, right))
        size = known_sizes(inputs)
        wanted = self._num_partitions or (1 if size <= SMALL_BYTES else partitions_for(size, self._target_bytes))
        return ExchangePlan(wanted, state, whole_blocks=wanted == 1)

    def check(self, left: pa.Schema | None, right: pa.Schema | None) -> list[pa.DataType | None]:
        """Types of the keys on both sides. Raises SchemaError if these schemas cannot be joined."""
        left, right = (pa.schema([]) if schema is None else schema for schema in (left, right))
        types = self._key_types(left, right)
        if len(left) and len(right):
            self._names(left, right)
        return types

    def _key_types(self, left: pa.Schema, right: pa.Schema) -> list[pa.DataType | None]:
        sides = []
        for schema, keys, side in ((left, self._keys[0], "left"), (right, self._keys[1], "right")):
            if len(schema) == 0:
                sides.append([pa.chunked_array([], pa.null()) for _ in keys])
                continue
            sides.append(key_columns(empty_like(schema), keys, f"join() of the {side} side"))
        try:
            return common_types(sides, "join()")
        except SchemaError as error:
            pairs = [
                f"{a.by} ({left.field(str(a.by)).type}) and {b.by} ({right.field(str(b.by)).type})"
                for a, b in zip(*self._keys)
            ]
            raise SchemaError(
                f"join(): these keys cannot be compared: {', '.join(pairs)}. Cast one of them first."
            ) from error

    def _columns(self, block: Block, side: int, state: _JoinState) -> list[KeyColumn]:
        columns = key_columns(block, self._keys[side], "join()")
        return [cast_key(column, kind) for column, kind in zip(columns, state.types)]

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        targets = hash_partitions(self._columns(block, input, plan.state), plan.num_partitions)
        return scatter(block, targets, plan.num_partitions)

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        state: _JoinState = plan.state
        sides = [self._side(part, schema, side) for side, (part, schema) in enumerate(zip(parts, state.schemas))]
        keys = [self._columns(block, side, state) for side, block in enumerate(sides)]
        left_rows, right_rows = self._matches(keys, sides)
        width = sum(block.nbytes / max(1, block.num_rows) for block in sides)
        count = blocks_for(int(width * len(left_rows)), len(left_rows), self._target_bytes)
        for start, stop in cuts(len(left_rows), count):
            yield self._assemble(sides, left_rows[start:stop], right_rows[start:stop])

    def _side(self, pieces: Sequence[Block], schema: pa.Schema, side: int) -> Block:
        if any(block.num_columns for block in pieces):
            return join_pieces(pieces)
        # Without rows and without a schema all that is known about a side is the names of its keys.
        return empty_like(schema) if len(schema) else pa.table({str(key.by): pa.nulls(0) for key in self._keys[side]})

    def _matches(self, keys: Sequence[list[KeyColumn]], sides: Sequence[Block]) -> tuple[Rows, Rows]:
        """Row numbers of both sides for each row of the output; NONE where a side has no row."""
        left_codes, right_codes = common_codes(keys, [side.num_rows for side in sides])
        left_rows: Rows = np.arange(len(left_codes))
        right_rows: Rows = np.arange(len(right_codes))
        kind = self._type
        if kind in ("left_semi", "left_anti"):
            found = _in(left_codes, right_codes)
            left_rows = left_rows[found if kind == "left_semi" else ~found]
            return left_rows, np.full(len(left_rows), NONE)
        if kind in ("right_semi", "right_anti"):
            found = _in(right_codes, left_codes)
            right_rows = right_rows[found if kind == "right_semi" else ~found]
            return np.full(len(right_rows), NONE), right_rows
        left_rows, right_rows = equal_pairs(left_codes, right_codes, keep_left=kind in ("left_outer", "full_outer"))
        if kind in ("right_outer", "full_outer"):
            rest = np.flatnonzero(~_in(right_codes, left_codes))
            left_rows = np.concatenate([left_rows, np.full(len(rest), NONE)])
            right_rows = np.concatenate([right_rows, rest])
        return left_rows, right_rows

    def _assemble(self, sides: Sequence[Block], left_rows: Rows, right_rows: Rows) -> Block:
        left, right = sides
        if self._type in ("left_semi", "left_anti"):
            return gather(left, left_rows)
        if self._type in ("right_semi", "right_anti"):
            return gather(right, right_rows)
        left_names, right_names = self._names(left.schema, right.schema)
        mine = gather(left, left_rows)
        right_keys = [str(key.by) for key in self._keys[1]]
        theirs = gather(right.drop_columns(right_keys), right_rows)
        columns = dict(zip(left.column_names, mine.columns))
        if self._type in ("right_outer", "full_outer") and (left_rows < 0).any():
            missing = pa.array(left_rows < 0)
            taken = gather(right.select(right_keys), right_rows)
            for key, column in zip(self._keys[0], taken.columns):
                columns[str(key.by)] = _coalesce(columns[str(key.by)], column, missing)
        names = [*left_names.values(), *right_names.values()]
        return pa.table([*columns.values(), *theirs.columns], names=names)

    def _names(self, left: pa.Schema, right: pa.Schema) -> tuple[dict[str, str], dict[str, str]]:
        """Names in the output of the columns of both sides (without keys of the right)."""
        left_keys = [key.by for key in self._keys[0]]
        right_keys = [key.by for key in self._keys[1]]
        rest = [name for name in right.names if name not in right_keys]
        shared = [name for name in left.names if name in rest]
        left_suffix, right_suffix = (suffix or "" for suffix in self._suffixes)
        mine = {n: n + left_suffix if n in shared and n not in left_keys else n for n in left.names}
        theirs = {n: n + right_suffix if n in shared else n for n in rest}
        result = [*mine.values(), *theirs.values()]
        twice = sorted({name for name in result if result.count(name) > 1})
        if twice and not self._type.endswith(("semi", "anti")):
            raise SchemaError(
                f"join(): both sides have a column {', '.join(map(repr, twice))}. "
                "Give left_suffix= or right_suffix= to tell them apart."
            )
        return mine, theirs


def _coalesce(mine: Any, theirs: Any, missing: pa.Array) -> Any:
    kind = unify_schemas([pa.schema([pa.field("key", c.type)]) for c in (mine, theirs)]).field(0).type
    if isinstance(kind, pa.BaseExtensionType):
        both = pa.chunked_array([*mine.chunks, *theirs.chunks], type=kind)
        rows = np.arange(len(mine))
        return both.take(pa.array(np.where(missing.to_numpy(zero_copy_only=False), rows + len(mine), rows)))
    return pc.if_else(missing, theirs.cast(kind), mine.cast(kind))


def common_codes(keys: Sequence[list[KeyColumn]], rows: Sequence[int]) -> tuple[Rows, Rows]:
    """Numbers that are equal where keys are equal, on both sides. NONE for keys that are null or NaN."""
    both: list[KeyColumn] = []
    usable: npt.NDArray[np.bool_] = np.ones(sum(rows), dtype=bool)
    for left, right in zip(*keys):
        column: KeyColumn
        if isinstance(left, list) and isinstance(right, list):
            column = left + right
            usable &= np.fromiter((value is not None and value == value for value in column), bool, len(column))
        else:
            column = pa.chunked_array([*left.chunks, *right.chunks], type=left.type)
            usable &= np.asarray(pc.is_valid(column).to_numpy(), dtype=bool)
            if pa.types.is_floating(column.type):
                usable &= ~np.asarray(pc.fill_null(pc.is_nan(column), False).to_numpy(), dtype=bool)
        both.append(column)
    groups, _ = find_groups(both, sum(rows))
    codes = np.where(usable, groups.codes, NONE)
    return codes[: rows[0]], codes[rows[0] :]


def _in(codes: Rows, others: Rows) -> npt.NDArray[np.bool_]:
    """Which codes are among the others (NONE never is)."""
    known: npt.NDArray[np.bool_] = np.zeros(int(max(codes.max(initial=NONE), others.max(initial=NONE))) + 2, dtype=bool)
    known[others] = True
    known[NONE] = False  # the last element, which no code reaches
    return known[codes]


def equal_pairs(left: Rows, right: Rows, *, keep_left: bool) -> tuple[Rows, Rows]:
    """All pairs of rows with equal codes, ordered by left and then by right row. ``keep_left``: those without a match, too."""
    order = np.argsort(right, kind="stable")
    counts = np.bincount(right + 1, minlength=int(left.max(initial=NONE)) + 2)
    starts = np.cumsum(counts) - counts  # where the rows of each code begin in ``order``
    counts[0] = 0  # NONE
    matches = counts[left + 1]
    repeats = np.maximum(matches, 1) if keep_left else matches
    left_rows: Rows = np.repeat(np.arange(len(left)), repeats)
    within = np.arange(len(left_rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    if len(order) == 0:
        return left_rows, np.full(len(left_rows), NONE)
    positions = starts[left + 1][left_rows] + within
    right_rows = order[np.minimum(positions, len(order) - 1)]
    return left_rows, np.where(matches[left_rows] > 0, right_rows, NONE)
