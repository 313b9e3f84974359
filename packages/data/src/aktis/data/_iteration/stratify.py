"""Splitting rows for testing from rows for training so that both have the same mix of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import Block, BlockMetadata, slice_rows
from aktis.data._exchanges._base import Exchange, ExchangePlan
from aktis.data._iteration.splitting import test_rows
from aktis.data.exceptions import SchemaError


def quotas(counts: np.ndarray[Any, Any], wanted: int) -> np.ndarray[Any, Any]:
    """How many rows of each class are for testing: in proportion, rounded so that the sum is ``wanted`` (the largest
    remainders are rounded up, among equal ones those of larger classes)."""
    ideal = counts * (wanted / max(1, counts.sum()))
    result: np.ndarray[Any, Any] = np.floor(ideal + 1e-9).astype(np.int64)
    order = np.lexsort((-counts, -(ideal - result)))
    result[order[: wanted - result.sum()]] += 1
    return result


class StratifiedSplit(Exchange):
    """Two partitions: rows for training, rows for testing. Of each class the last rows are for testing."""

    name = "StratifiedSplit"
    needs_sample = True

    def __init__(self, column: str, test_size: float) -> None:
        self._column = column
        self._test_size = test_size

    def sample(self, block: Block, *, input: int, index: int) -> Any:
        classes, codes = self._classes(block)
        return classes, np.bincount(codes, minlength=len(classes))

    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        (found,) = samples
        if not any(len(classes) for classes, _ in found):
            test_rows(0, self._test_size)
        values = pa.chunked_array([classes for classes, _ in found if len(classes)])
        encoded = values.combine_chunks().dictionary_encode(null_encoding="encode")
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        counts = np.concatenate([count for classes, count in found if len(classes)])
        totals = np.bincount(codes, weights=counts, minlength=len(encoded.dictionary)).astype(np.int64)
        left = quotas(totals, test_rows(int(counts.sum()), self._test_size))
        tests: list[Any] = [None] * len(found)
        end = len(codes)
        for index in range(len(found) - 1, -1, -1):  # from the last block on: of each class the last rows are taken
            size = len(found[index][0])
            here = codes[end - size : end]
            tests[index] = np.minimum(left[here], counts[end - size : end])
            left[here] -= tests[index]
            end -= size
        return ExchangePlan(2, tests)

    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        classes, codes = self._classes(block)
        if not len(codes):
            return [block, block]
        counts = np.bincount(codes, minlength=len(classes))
        order = np.argsort(codes, kind="stable")
        from_end: np.ndarray[Any, Any] = np.empty(
            len(codes), dtype=np.int64
        )  # 0 for the last row of a class in this block
        from_end[order] = np.cumsum(counts)[codes[order]] - 1 - np.arange(len(codes))
        testing = from_end < plan.state[index][codes]
        return [block.filter(pa.array(~testing)), block.filter(pa.array(testing))]

    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        blocks = [block for block in parts[0] if block.num_rows]
        yield from blocks or [slice_rows(block, 0, 0) for block in parts[0][:1]]

    def _classes(self, block: Block) -> tuple[pa.Array, np.ndarray[Any, Any]]:
        """Distinct values in order of appearance, and the number of its value for each row."""
        if not block.num_rows:
            return pa.nulls(0), np.empty(0, dtype=np.int64)
        if self._column not in block.column_names:
            raise SchemaError(f"stratify: no column {self._column!r}. There are: {', '.join(block.column_names)}")
        try:
            encoded = pc.dictionary_encode(block.column(self._column).combine_chunks(), null_encoding="encode")
        except pa.ArrowNotImplementedError as error:
            kind = block.schema.field(self._column).type
            raise SchemaError(f"stratify: column {self._column!r} holds {kind}, which has no classes") from error
        return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)
