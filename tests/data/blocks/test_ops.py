"""Slices, sizes, concatenation, and cutting a stream of blocks to size."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import (
    OutputBuffer,
    compact,
    concat,
    empty_like,
    from_batch,
    from_rows,
    metadata_of,
    size_bytes,
    slice_rows,
    take_rows,
    to_rows,
    trimmed,
)
from aktis.data._blocks.ops import _take_wide
from aktis.data.exceptions import SchemaError


def _block(rows: int) -> pa.Table:
    """Columns of every sort."""
    return from_rows(
        [
            {
                "int": i,
                "text": "x" * (i % 7),
                "hole": None if i % 3 else i,
                "list": list(range(i % 4)),
                "object": {i},
                "tensor": np.full((2, 2), i),
                "ragged": np.full(i % 3, i),
                "struct": {"a": i, "b": [i]},
            }
            for i in range(rows)
        ]
    )


BLOCK = _block(40).append_column("category", pa.array(["a", "b", None, "c"] * 10).dictionary_encode())


def _owned(block: pa.Table) -> int:
    return int(block.get_total_buffer_size())


def test_compact_lets_go_of_what_is_not_seen() -> None:
    big = concat([BLOCK] * 100)
    for piece in (big.slice(1000, 5), BLOCK.slice(7, 2), big.slice(0, 0)):
        small = compact(piece)
        assert small.schema == BLOCK.schema
        assert str(to_rows(small)) == str(to_rows(piece))
        assert _owned(small) < 20_000
        assert len(pickle.dumps(small)) < 20_000


def test_compact_of_a_long_slice() -> None:
    block = from_batch({"x": np.arange(100_000), "s": np.array(["abc"] * 100_000, object)})
    piece = compact(block.slice(50_000, 30_000))
    assert _owned(piece) <= 1.1 * size_bytes(piece) + 4096
    assert piece.equals(block.slice(50_000, 30_000))


def test_compact_does_nothing_where_there_is_nothing_to_gain() -> None:
    assert compact(BLOCK) is BLOCK
    assert compact(pa.table({})).num_columns == 0
    empty = empty_like(BLOCK.schema)
    assert compact(empty).schema == BLOCK.schema


def test_compact_joins_tiny_chunks() -> None:
    block = concat([BLOCK.slice(i, 1) for i in range(40)])
    small = compact(block)
    assert max(column.num_chunks for column in small.columns) == 1
    assert str(to_rows(small)) == str(to_rows(BLOCK))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 45), st.integers(0, 45)), min_size=1, max_size=4), st.data())
def test_slices_and_takes_are_those_of_lists(cuts: list[tuple[int, int]], data: Any) -> None:
    rows = [str(row) for row in to_rows(BLOCK)]
    pieces = [slice_rows(BLOCK, start, stop) for start, stop in cuts]
    expected = [row for start, stop in cuts for row in rows[start : max(start, stop)]]
    joined = concat(pieces)
    assert [str(row) for row in to_rows(joined)] == expected
    if data.draw(st.booleans()):
        joined = pickle.loads(pickle.dumps(compact(joined)))
        assert [str(row) for row in to_rows(joined)] == expected
    if expected:
        positions = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=10))
        taken = take_rows(joined, positions)
        assert [str(row) for row in to_rows(taken)] == [expected[i] for i in positions]
        assert taken.schema == BLOCK.schema
    mask = pa.array([i % 2 == 0 for i in range(len(expected))], pa.bool_())
    assert [str(row) for row in to_rows(joined.filter(mask))] == expected[::2]


def test_take_accepts_what_arrow_and_numpy_make() -> None:
    block = from_rows([3, 1, 2])
    assert to_rows(take_rows(block, pc.sort_indices(block.column(0)))) == [1, 2, 3]
    assert to_rows(take_rows(block, np.array([2, 0], np.uint8))) == [2, 3]
    assert to_rows(take_rows(block, [])) == []


def test_take_with_large_offsets() -> None:
    taken = _take_wide(BLOCK, pa.array([5, 0, 39]))
    assert taken.schema.field("text").type == pa.large_string()
    assert taken.schema.field("object").type == BLOCK.schema.field("object").type
    assert str(to_rows(taken)) == str(to_rows(take_rows(BLOCK, [5, 0, 39])))
    assert str(to_rows(concat([taken, BLOCK]))) == str(to_rows(taken) + to_rows(BLOCK))


@pytest.mark.slow
def test_take_of_more_text_than_small_offsets_reach() -> None:
    block = pa.table({"s": pa.chunked_array([pa.array(["x" * (1 << 20)])] * 4), "n": [1, 2, 3, 4]})
    taken = take_rows(block, np.repeat(np.arange(4), 513))
    assert taken.num_rows == 2052
    assert pc.sum(pc.binary_length(taken.column("s"))).as_py() == 2052 << 20


def test_sizes_are_those_of_the_rows_that_are_seen() -> None:
    block = from_batch({"x": np.arange(1000), "y": np.zeros(1000, np.int8)})
    assert size_bytes(block) == 9000
    assert size_bytes(block.slice(10, 100)) == 900
    objects = from_rows([{"o": {"k": b"x" * 1000, 5: i}} for i in range(10)])
    assert 10_000 < size_bytes(objects) < 12_000
    assert 1_000 < size_bytes(objects.slice(3, 1)) < 1_200
    assert size_bytes(pa.table({})) == 0


def test_metadata() -> None:
    metadata = metadata_of(BLOCK, files=["a.parquet"], origin="a.parquet, rows 0 to 39")
    assert metadata.num_rows == 40
    assert metadata.size_bytes == size_bytes(BLOCK)
    assert metadata.schema == BLOCK.schema
    assert pickle.loads(pickle.dumps(metadata)) == metadata


def test_concat_of_nothing_and_of_blocks_without_schema() -> None:
    nothing = pa.table({})
    assert concat([]).num_rows == 0
    assert concat([nothing, nothing]).num_columns == 0
    assert concat([nothing, BLOCK, nothing]) is BLOCK
    assert concat([empty_like(BLOCK.schema), nothing]).schema == BLOCK.schema


def test_concat_says_what_does_not_fit() -> None:
    with pytest.raises(SchemaError, match="column 'x' is int64 in some blocks and string in others"):
        concat([from_rows([{"x": 1}]), from_rows([{"x": "a"}])])


# ---- OutputBuffer


def _through(target: int, blocks: list[pa.Table]) -> list[pa.Table]:
    buffer = OutputBuffer(target)
    return [out for block in blocks for out in buffer.add(block)] + list(buffer.flush())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=12), st.integers(8, 200))
def test_blocks_are_cut_and_merged_to_size(sizes: list[int], target: int) -> None:
    numbers = iter(range(10_000))
    blocks = [from_batch({"x": np.array([next(numbers) for _ in range(size)], np.int64)}) for size in sizes]
    out = _through(target, blocks)
    assert [row["x"] for block in out for row in to_rows(block)] == list(range(sum(sizes)))
    assert all(size_bytes(block) <= 1.5 * target + 8 for block in out)
    assert all(block.num_rows for block in out) or (len(out) == 1 and not sum(sizes))
    assert bool(out) == bool(blocks)
    assert all(block.schema == blocks[0].schema for block in out)
    for a, b in zip(out, out[1:]):  # nothing that would have fitted stays apart
        assert size_bytes(a) + size_bytes(b) > target / 2


def test_rows_of_unequal_size_are_cut_between_rows() -> None:
    block = from_rows([{"s": "x" * (100_000 if i == 50 else 10)} for i in range(100)])
    out = _through(20_000, [block])
    assert sum(b.num_rows for b in out) == 100
    assert sum(size_bytes(b) > 30_000 for b in out) == 1
    assert min(b.num_rows for b in out if size_bytes(b) > 30_000) < 25


def test_the_schema_survives_a_stream_without_rows() -> None:
    schema = pa.schema([("x", pa.int64())])
    assert _through(100, []) == []
    assert [b.schema for b in _through(100, [pa.table({}), empty_like(schema), pa.table({})])] == [schema]
    assert [b.num_columns for b in _through(100, [pa.table({})])] == [0]
    full = from_rows([{"x": 1}])
    assert [b.num_rows for b in _through(100, [empty_like(schema), full, empty_like(schema)])] == [1]


def test_small_blocks_of_different_types_are_merged() -> None:
    out = _through(1000, [from_rows([1]), from_rows([2.5]), from_rows(["x"])])
    assert [to_rows(block) for block in out] == [[1, 2.5, "x"]]


def test_what_is_sent_of_numbers_is_trimmed_without_a_copy() -> None:
    whole = pa.table(
        {
            "f": np.arange(1000, dtype=np.float32),
            "i": np.arange(1000),
            "t": pa.array(range(1000), pa.timestamp("us")),
            "h": np.arange(1000).astype(np.float16),
        }
    )
    piece = whole.slice(300, 50)
    sent = trimmed(piece)
    assert sent.equals(piece)
    assert _owned(sent) == sent.nbytes
    assert sent["i"].chunk(0).buffers()[1].address == whole["i"].chunk(0).buffers()[1].address + 8 * 300
    assert len(pickle.dumps(sent)) < 3000
    assert trimmed(whole.slice(1000)).num_rows == 0


@pytest.mark.parametrize(
    "column",
    [["a"] * 1000, [None, 1] * 500, [True, False] * 500, [[1]] * 1000, pa.chunked_array([[1] * 600, [2] * 400])],
)
def test_what_is_sent_of_other_columns_is_compact(column: Any) -> None:
    piece = pa.table({"x": column, "y": range(1000)}).slice(500, 200)
    sent = trimmed(piece)
    assert sent.equals(piece)
    assert _owned(sent) <= sent.nbytes * 1.1 + 4096
    assert trimmed(pa.table({})).num_columns == 0
