"""Sources in memory that take over what the optimizer gives them, and an interpreter of plans that has no executor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from aktis.data._blocks import metadata_of
from aktis.data._execution.handle import BlockHandle
from aktis.data._plan.logical import (
    Exchanged,
    Filter,
    InputBlocks,
    Limit,
    LogicalOperator,
    Map,
    Project,
    Read,
    Rearranged,
    Union,
)
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.filter_expr import FilterTransform
from aktis.data._transforms.project import ProjectTransform
from aktis.data.context import DatasetContext
from aktis.data.datasource._base import Reader, ReadTask


@dataclass(frozen=True, eq=False)
class MemoryReader(Reader):
    """Blocks in memory. ``can``: what it takes over."""

    blocks: tuple[pa.Table, ...]
    can: frozenset[str] = frozenset(["columns", "filter", "limit", "schema", "count"])
    columns: tuple[str, ...] | None = None
    predicate: Any = None
    limit: int | None = None
    files: tuple[str, ...] = ()

    def schema(self) -> pa.Schema | None:
        if "schema" not in self.can:
            return None
        schema = self.blocks[0].schema
        return schema if self.columns is None else pa.schema([schema.field(name) for name in self.columns])

    def count_rows(self) -> int | None:
        known = "count" in self.can and self.predicate is None
        return sum(block.num_rows for block in self.blocks) if known else None

    def estimate_inmemory_data_size(self) -> int | None:
        return sum(block.nbytes for block in self.blocks)

    def input_files(self) -> list[str]:
        return list(self.files)

    def with_columns(self, columns: list[str]) -> MemoryReader | None:
        return replace(self, columns=tuple(columns)) if "columns" in self.can else None

    def with_filter(self, predicate: Any) -> MemoryReader | None:
        if "filter" not in self.can or self.limit is not None:
            return None
        return replace(self, predicate=predicate if self.predicate is None else self.predicate & predicate)

    def with_limit(self, rows: int) -> MemoryReader | None:
        return replace(self, limit=rows) if "limit" in self.can else None

    def describe(self) -> str:
        parts = [f"columns={list(self.columns)}"] if self.columns is not None else []
        parts += [f"filter={self.predicate}"] if self.predicate is not None else []
        return ", ".join(parts + ([f"limit={self.limit}"] if self.limit is not None else []))

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        return [ReadTask(lambda b=block: [self.scan(b)], metadata_of(block)) for block in self.blocks]

    def scan(self, block: pa.Table) -> pa.Table:
        if self.predicate is not None:
            block = block.filter(self.predicate)
        if self.columns is not None:
            block = block.select(list(self.columns))
        return block if self.limit is None else block.slice(0, min(self.limit, block.num_rows))


def read(*blocks: pa.Table, without: str = "", label: str = "ReadMemory") -> Read:
    can = MemoryReader(()).can - set(without.split())
    return Read(reader=MemoryReader(blocks, can), label=label)


def in_memory(*blocks: pa.Table) -> InputBlocks:
    return InputBlocks(handles=tuple(BlockHandle(block, metadata_of(block)) for block in blocks))


@dataclass
class Doubled(Transform):
    """A function of rows that nobody can look into."""

    name: str = "Map(double)"
    columns_needed: tuple[str, ...] | None = None
    seen: list[int] = field(default_factory=list)

    def __call__(self, blocks: Iterator[pa.Table], task: TaskContext) -> Iterator[pa.Table]:
        for block in blocks:
            self.seen.append(block.num_rows)
            if "a" in block.column_names:
                doubled = pa.array([None if v is None else 2 * v for v in block["a"].to_pylist()], pa.int64())
                block = block.set_column(block.column_names.index("a"), "a", doubled)
            yield block


def over(child: LogicalOperator, kind: type[LogicalOperator], **fields: Any) -> Any:
    return kind(inputs=(child,), **fields)


def execute(node: LogicalOperator) -> list[pa.Table]:
    """The blocks that come out, by the plainest means."""
    inputs = [execute(child) for child in node.inputs]
    if isinstance(node, InputBlocks):
        return [handle.load() for handle in node.handles]
    if isinstance(node, Read):
        return [block for task in node.reader.get_read_tasks(-1) for block in task()]
    if isinstance(node, Project):
        return _apply(ProjectTransform.of(node), inputs[0])
    if isinstance(node, Filter):
        return _apply(FilterTransform(node.predicate), inputs[0])
    if isinstance(node, Map):
        return _apply(node.transform, inputs[0])
    if isinstance(node, Limit):
        return _first(inputs[0], node.limit)
    if isinstance(node, Union):
        return [block for blocks in inputs for block in blocks]
    metadata = [[metadata_of(block) for block in blocks] for blocks in inputs]
    if isinstance(node, Rearranged):
        result = []
        for recipe in node.rearrangement.recipes(metadata):
            pieces = [inputs[p.input][p.block].slice(p.start, p.stop - p.start) for p in recipe]
            result.append(node.rearrangement.combine(pieces, recipe))
        return result
    assert isinstance(node, Exchanged)
    exchange = node.exchange
    samples = [[exchange.sample(b, input=i, index=j) for j, b in enumerate(blocks)] for i, blocks in enumerate(inputs)]
    plan = exchange.plan(metadata, samples if exchange.needs_sample else [[] for _ in inputs])
    if plan.whole_blocks:
        return list(exchange.combine(inputs, plan, partition=0))
    parts = [[exchange.partition(b, plan, input=i, index=j) for j, b in enumerate(bs)] for i, bs in enumerate(inputs)]
    return [
        block
        for number in range(plan.num_partitions)
        for block in exchange.combine([[p[number] for p in side] for side in parts], plan, partition=number)
    ]


def rows(node: LogicalOperator) -> list[dict[str, Any]]:
    return [row for block in execute(node) for row in block.to_pylist()]


def column_orders(node: LogicalOperator) -> set[tuple[str, ...]]:
    return {tuple(block.column_names) for block in execute(node) if block.num_rows}


def _apply(transform: Transform, blocks: list[pa.Table]) -> list[pa.Table]:
    context = DatasetContext()
    return [
        out
        for i, block in enumerate(blocks)
        for out in transform(iter([block]), TaskContext(transform.name, i, context))
    ]


def _first(blocks: list[pa.Table], limit: int) -> list[pa.Table]:
    result = []
    for block in blocks:
        result.append(block.slice(0, min(limit, block.num_rows)))  # tables without columns do not check
        limit -= result[-1].num_rows
    return result


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)
