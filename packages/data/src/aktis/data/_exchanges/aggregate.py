"""Aggregation: states of blocks and of groups in them, merged to results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import cloudpickle
import pyarrow as pa

from aktis.data._blocks import ITEM, Block, BlockMetadata, concat, from_rows, kind_of, to_batch, to_rows
from aktis.data._blocks.objects import is_object
from aktis.data._blocks.types import ROWS
from aktis.data._exchanges._aggregate_fn import AggregateFn, Reduction, States
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._exchanges._gather import gather, scatter
from aktis.data._exchanges._groups import Groups, clean, find_groups, group_slices
from aktis.data._exchanges._keys import (
    Key,
    KeyColumn,
    call_on_items,
    cast_key,
    common_types,
    is_ordered,
    key_columns,
    missing_column,
    one_chunk,
    ordered,
    plain_type,
    sort_positions,
    values_of,
)
from aktis.data._exchanges._ranges import KeySample, ranges_from_samples, sample_keys
from aktis.data._exchanges._sizes import MIB, SMALL_BYTES, known_sizes, partitions_for
from aktis.data.exceptions import SchemaError, UserFunctionError, user_function_error

_STATE = "state"  # of aggregations in Python: a pickled accumulator


class Aggregation:
    """What to compute, by which keys: turns blocks into states, and states into results.

    A block of states has the keys of its groups in columns ``["key", i]``, and the states in columns
    ``["agg", number of the aggregation, column that it is about, name of the state]`` (names are JSON).
    """

    def __init__(self, keys: Sequence[Key], aggregates: Sequence[AggregateFn], operation: str = "aggregate()") -> None:
        for aggregate in aggregates:
            if not isinstance(aggregate, AggregateFn):
                raise TypeError(
                    f"{operation} takes aggregations such as Sum('x') or an AggregateFn, got {aggregate!r}."
                )
        if not aggregates:
            raise ValueError(f"{operation} needs at least one aggregation, such as Count() or Sum('x').")
        self.keys = tuple(keys)
        self.aggregates = tuple(aggregates)
        self.operation = operation

    @property
    def columns_needed(self) -> tuple[str, ...] | None:
        """The columns that are looked at. None: all, or not known yet."""
        needed: list[str] = []
        for key in self.keys:
            if not isinstance(key.by, str):
                return None
            needed.append(key.by)
        for aggregate in self.aggregates:
            if not isinstance(aggregate, Reduction):
                return None
            if aggregate.needs_values:
                if not isinstance(aggregate.on, str):
                    return None
                needed.append(aggregate.on)
        return tuple(dict.fromkeys(needed))

    # From a block to states

    def states_of(self, block: Block) -> Block:
        """The states of the groups of a block of data: one row for each group, none for a block without rows."""
        if block.num_columns == 0 and block.num_rows == 0:
            return pa.table({})
        groups, keys = find_groups(key_columns(block, self.keys, self.operation), block.num_rows)
        names = [_name("key", i) for i in range(len(keys))]
        columns: list[Any] = [_key_column(key) for key in keys]
        for i, aggregate in enumerate(self.aggregates):
            for column, part in self._partials(aggregate, block, groups, keys):
                for state, array in part.items():
                    names.append(_name("agg", i, column, state))
                    columns.append(array)
        return pa.table(columns, names=names)

    def _partials(
        self, aggregate: AggregateFn, block: Block, groups: Groups, keys: list[KeyColumn]
    ) -> Iterator[tuple[str | None, States]]:
        if not isinstance(aggregate, Reduction):
            yield None, {_STATE: _accumulate(aggregate, block, groups, keys, self.operation)}
            return
        for column, values in self._values(aggregate, block):
            try:
                part = aggregate.partial(values, groups)
            except SchemaError as error:
                where = f"column {column!r}" if column else "the items"
                raise SchemaError(f"{self.operation}: {error} ({where}). Name other columns with on=.") from None
            yield column, part

    def _values(self, aggregate: Reduction, block: Block) -> Iterator[tuple[str | None, pa.Array]]:
        """The values that an aggregation is about: of a column, of all columns, or of the items."""
        if not aggregate.needs_values:
            yield None, pa.nulls(block.num_rows, pa.int8())
        elif isinstance(aggregate.on, str):
            if aggregate.on not in block.column_names:
                raise missing_column(aggregate.on, block, self.operation)
            yield aggregate.on, _plain_values(block, aggregate.on, aggregate)
        elif kind_of(block) == "simple":
            if aggregate.on is None:
                yield None, _plain_values(block, ITEM, aggregate)
            else:
                yield None, _to_array(call_on_items(block, aggregate.on, self.operation))
        elif aggregate.on is not None:
            raise ValueError(
                f"{self.operation}: {aggregate!r} of data with columns takes the name of a column, got a function."
            )
        else:
            used = {key.by for key in self.keys}
            for name in block.column_names:
                if name not in used and name != ROWS:
                    yield name, _plain_values(block, name, aggregate)

    # From states to states

    def merged(self, parts: Sequence[Block]) -> tuple[list[KeyColumn], dict[tuple[int, str | None], States], int]:
        """Keys, states of each aggregation and column, and the number of groups, over all blocks of states."""
        parts = [part for part in parts if part.num_columns]
        keys: list[KeyColumn] = []
        if self.keys and parts:
            found = [self.state_keys(part) for part in parts]
            types = common_types(found, self.operation)
            keys = [_chain([cast_key(row[i], kind) for row in found]) for i, kind in enumerate(types)]
        key_names = {_name("key", i) for i in range(len(self.keys))}
        states = concat([part.drop_columns([n for n in part.column_names if n in key_names]) for part in parts])
        rows = len(keys[0]) if keys else states.num_rows
        groups, keys = find_groups(keys, rows)
        collected: dict[tuple[int, str | None], States] = {}
        for name in states.column_names:
            _, i, column, state = json.loads(name)
            collected.setdefault((i, column), {})[state] = one_chunk(states.column(name))
        for (i, column), part in collected.items():
            aggregate = self.aggregates[i]
            if isinstance(aggregate, Reduction):
                collected[i, column] = aggregate.combine(part, groups)
            else:
                collected[i, column] = {_STATE: _merge(aggregate, part[_STATE], groups, self.operation)}
        return keys, collected, groups.count

    def state_keys(self, part: Block) -> list[KeyColumn]:
        """The keys of a block of states."""
        if part.num_columns == 0:
            return [pa.chunked_array([], pa.null()) for _ in self.keys]
        result: list[KeyColumn] = []
        for i in range(len(self.keys)):
            name = _name("key", i)
            column = part.column(name)
            result.append(ordered(column) if is_ordered(column.type) else values_of(part, name))
        return result

    def merge(self, parts: Sequence[Block]) -> Block:
        """Blocks of states as one."""
        keys, collected, _ = self.merged(parts)
        names = [_name("key", i) for i in range(len(keys))]
        columns: list[Any] = [_key_column(key) for key in keys]
        for (i, column), part in collected.items():
            for state, array in part.items():
                names.append(_name("agg", i, column, state))
                columns.append(array)
        return pa.table(columns, names=names)

    # From states to results

    def results(self, parts: Sequence[Block]) -> Block:
        """One row for each group, in the order of the keys; without keys one row in any case."""
        keys, collected, count = self.merged(parts)
        simple = any(not isinstance(key.by, str) for key in self.keys)
        names: list[str] = []
        columns: list[Any] = []
        for i, key in enumerate(self.keys if keys else ()):
            names.append(key.by if isinstance(key.by, str) else f"key_{i}")
            columns.append(_key_column(keys[i]))
        for i, column in self._in_order(collected):
            aggregate = self.aggregates[i]
            part = collected.get((i, column))
            if part is None or (count == 0 and not self.keys):
                columns.append(pa.array([getattr(aggregate, "empty", None)] * (0 if self.keys else 1)))
            elif isinstance(aggregate, Reduction):
                columns.append(aggregate.finish(part))
            else:
                columns.append(_finalize(aggregate, part[_STATE], self.operation))
            names.append(_result_name(aggregate, column, names))
        block = pa.table(columns, names=names)
        if keys and count > 1:
            block = gather(block, _group_order(keys))
        return _as_tuples(block) if simple else block

    def _in_order(self, collected: dict[tuple[int, str | None], States]) -> list[tuple[int, str | None]]:
        """Which aggregation of which column, in the order of the results."""
        order: list[tuple[int, str | None]] = []
        for i in range(len(self.aggregates)):
            order += [at for at in collected if at[0] == i] or ([(i, None)] if not collected else [])
        return order


def _name(*parts: Any) -> str:
    return json.dumps(parts)


def _result_name(aggregate: AggregateFn, column: str | None, taken: Sequence[str]) -> str:
    """As the aggregation says; ``_2``, ``_3`` ... where that is taken."""
    name = aggregate.name
    if column is not None and isinstance(aggregate, Reduction) and aggregate.on is None:
        name = aggregate.with_column(column).name
    if name not in taken:
        return name
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _chain(columns: Sequence[KeyColumn]) -> KeyColumn:
    if isinstance(columns[0], list):
        return [value for column in columns for value in column]
    chunks = [chunk for column in columns if not isinstance(column, list) for chunk in column.chunks]
    return pa.chunked_array(chunks, type=columns[0].type)


def _key_column(key: KeyColumn) -> Any:
    """A key as a column of a block. Python values come back as they are."""
    if not isinstance(key, list):
        return key
    return from_rows(key).column(ITEM) if key else pa.nulls(0)


def _group_order(keys: list[KeyColumn]) -> Any:
    try:
        return sort_positions(keys, [False] * len(keys))
    except ValueError:  # keys that Python cannot compare: groups are in the order in which they first appear
        return range(len(keys[0]))


def _as_tuples(block: Block) -> Block:
    """Results of simple data: rows are tuples of key and results."""
    rows = [tuple(row.values()) for row in to_rows(block)]
    return from_rows(rows) if rows else pa.table({})


def _plain_values(block: Block, name: str, aggregate: Reduction) -> pa.Array:
    kind = block.column(name).type
    if is_ordered(kind):
        return clean(one_chunk(ordered(block.column(name))))
    if isinstance(kind, pa.BaseExtensionType):
        if is_object(kind) and not aggregate.only_validity:
            return _to_array(values_of(block, name))
        return one_chunk(block.column(name)).storage
    return one_chunk(block.column(name).cast(plain_type(kind)))


def _to_array(values: list[Any]) -> pa.Array:
    try:
        return clean(pa.array(values, from_pandas=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise SchemaError(f"cannot aggregate values that are {kinds}: {error}.") from error


# Aggregations in Python


def _call(aggregate: AggregateFn, step: str, operation: str, key: Any, *args: Any) -> Any:
    try:
        return getattr(aggregate, step)(*args)
    except UserFunctionError:
        raise
    except Exception as error:
        origin = "" if key is None else f"group {key!r}"
        message = f"{operation}: {step} of {aggregate.name!r} raised {type(error).__name__}: {error}"
        message += f" ({origin})" if origin else ""
        raise user_function_error(message, error, operator=operation, function=aggregate.name, origin=origin) from error


def _python_keys(keys: list[KeyColumn], count: int) -> list[Any]:
    if not keys:
        return [None] * count
    lists = [key if isinstance(key, list) else key.to_pylist() for key in keys]
    return lists[0] if len(lists) == 1 else list(zip(*lists))


def _accumulate(
    aggregate: AggregateFn, block: Block, groups: Groups, keys: list[KeyColumn], operation: str
) -> pa.Array:
    order, ranges = group_slices(groups)
    by_group = block if groups.count <= 1 else gather(block, order)
    by_row = aggregate.accumulate_row is not None
    rows = to_rows(by_group) if by_row else []
    states = []
    for key, (start, stop) in zip(_python_keys(keys, groups.count), ranges):
        state = _call(aggregate, "init", operation, key, key)
        if by_row:
            for row in rows[start:stop]:
                state = _call(aggregate, "accumulate_row", operation, key, state, row)
        else:
            part = by_group.slice(start, stop - start)
            batch = to_batch(part, "native" if kind_of(part) != "table" else "pyarrow")
            state = _call(aggregate, "accumulate_block", operation, key, state, batch)
        states.append(cloudpickle.dumps(state))
    return pa.array(states, pa.large_binary())


def _merge(aggregate: AggregateFn, states: pa.Array, groups: Groups, operation: str) -> pa.Array:
    order, ranges = group_slices(groups)
    encoded = states.to_pylist()
    merged = []
    for start, stop in ranges:
        rows = order[start:stop].tolist()
        if len(rows) == 1:
            merged.append(encoded[rows[0]])
            continue
        state = cloudpickle.loads(encoded[rows[0]])
        for row in rows[1:]:
            state = _call(aggregate, "merge", operation, None, state, cloudpickle.loads(encoded[row]))
        merged.append(cloudpickle.dumps(state))
    return pa.array(merged, pa.large_binary())


def _finalize(aggregate: AggregateFn, states: pa.Array, operation: str) -> Any:
    results = [_call(aggregate, "finalize", operation, None, cloudpickle.loads(state)) for state in states.to_pylist()]
    return from_rows([{"result": result} for result in results]).column("result") if results else pa.nulls(0)


class Aggregate(Exchange):
    """Blocks of states (see :class:`Aggregation`) to results: one row for each group, in the order of the keys.

    Partitions are ranges of keys, so equal keys meet in one, and all of the output is in order.

    Args:
        num_partitions: How many tasks. None: by size, and a single one where states are small, as they usually are.
    """

    def __init__(
        self, aggregation: Aggregation, num_partitions: int | None = None, target_bytes: int = 64 * MIB
    ) -> None:
        self.name = "Aggregate"
        self.aggregation = aggregation
        self.needs_sample = bool(aggregation.keys)
        self._num_partitions = num_partitions
        self._target_bytes = target_bytes

    def sample(self, block: Block, *, input: int, index: int) -> KeySample:
        return sample_keys(self.aggregation.state_keys(block), block.num_rows, index)

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        size, keys = known_sizes(inputs), self.aggregation.keys
        wanted = self._num_partitions or partitions_for(size, self._target_bytes)
        if not keys or wanted <= 1 or (size <= SMALL_BYTES and not self._num_partitions):
            return ExchangePlan(1, whole_blocks=True)
        try:
            ranges = ranges_from_samples(
                samples[0], keys, wanted, split_equal=False, operation=self.aggregation.operation
            )
        except SchemaError:
            raise
        except ValueError:  # keys that cannot be compared
            return ExchangePlan(1, whole_blocks=True)
        return ExchangePlan(ranges.num_partitions, ranges)

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        return scatter(block, plan.state.assign(self.aggregation.state_keys(block)), plan.num_partitions)

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        yield self.aggregation.results(parts[0])
