"""Runs exchanges and rearrangements on lists of blocks, as an executor would, in this process."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from aktis.data._blocks import Block, from_rows, metadata_of, slice_rows, to_rows
from aktis.data._exchanges._base import Exchange, Rearrangement


def run_exchange(exchange: Exchange, *inputs: Sequence[Block], early: bool = False) -> list[Block]:
    """The output blocks. Everything that would travel between processes is pickled on its way."""
    exchange = pickle.loads(pickle.dumps(exchange)) if picklable(exchange) else exchange
    metadata = [[metadata_of(block) for block in blocks] for blocks in inputs]
    samples: list[list[Any]] = [[] for _ in inputs]
    if exchange.needs_sample:
        samples = [
            [exchange.sample(block, input=i, index=j) for j, block in enumerate(blocks)]
            for i, blocks in enumerate(inputs)
        ]
    plan = None
    if early:
        plan = exchange.early_plan(len(inputs[0]), sum(m.size_bytes or 0 for m in metadata[0]))
        assert plan is not None
    if plan is None:
        plan = exchange.plan(metadata, samples)
    plan = pickle.loads(pickle.dumps(plan)) if picklable(plan) else plan
    if plan.whole_blocks:
        assert plan.num_partitions == 1
        return list(exchange.combine([list(blocks) for blocks in inputs], plan, partition=0))
    pieces: list[list[list[Block]]] = []
    for i, blocks in enumerate(inputs):
        cut = [exchange.partition(block, plan, input=i, index=j) for j, block in enumerate(blocks)]
        assert all(len(parts) == plan.num_partitions for parts in cut)
        for block, parts in zip(blocks, cut):
            assert sum(part.num_rows for part in parts) <= block.num_rows or block.num_columns == 0
        pieces.append(cut)
    output: list[Block] = []
    for p in range(plan.num_partitions):
        parts = [[block_parts[p] for block_parts in cut] for cut in pieces]
        output += exchange.combine(parts, plan, partition=p)
    return output


def run_rearrangement(rearrangement: Rearrangement, *inputs: Sequence[Block]) -> list[Block]:
    """The output blocks."""
    output = []
    for recipe in rearrangement.recipes([[metadata_of(block) for block in blocks] for blocks in inputs]):
        pieces = [slice_rows(inputs[p.input][p.block], p.start, p.stop) for p in recipe]
        whole = len(recipe) == 1 and pieces[0].num_rows == inputs[recipe[0].input][recipe[0].block].num_rows
        output.append(
            pieces[0] if whole and not rearrangement.always_combine else rearrangement.combine(pieces, recipe)
        )
    return output


def picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # lambdas need cloudpickle, which the executor has
        return False
    return True


def rows_of(blocks: Sequence[Block]) -> list[Any]:
    return [row for block in blocks for row in to_rows(block)]


def column_of(blocks: Sequence[Block], name: str) -> list[Any]:
    return [value for block in blocks if name in block.column_names for value in block.column(name).to_pylist()]


def split(table: pa.Table, sizes: Sequence[int]) -> list[Block]:
    """The table, cut into blocks of these lengths; the last one has what is left."""
    blocks, start = [], 0
    for size in sizes:
        blocks.append(table.slice(start, size))
        start += size
    return [*blocks, table.slice(start)]


def items(*blocks: Sequence[Any]) -> list[Block]:
    return [from_rows(list(block)) for block in blocks]
