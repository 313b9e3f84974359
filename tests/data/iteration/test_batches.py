"""From blocks to batches: sizes, order, shuffling, threads. Blocks come from lists here, not from an execution."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.iteration.helpers import Source, numbers, threads

from aktis.data._blocks import ITEM
from aktis.data._iteration.batcher import chunks
from aktis.data._iteration.shuffle import local_shuffle


def tables(batches: Any) -> list[list[int]]:
    return [batch.column("x").to_pylist() for batch in batches]


sizes = st.lists(st.integers(0, 40), max_size=12)


@settings(max_examples=150, deadline=None)
@given(sizes, st.integers(1, 50), st.booleans(), st.sampled_from([0, 100, 1 << 20]))
def test_batches_have_their_size_and_all_rows_in_order(sizes: list[int], size: int, drop: bool, chunk: int) -> None:
    batches = [
        part.block.slice(a, part.batch_rows).column("x").to_pylist()
        for part in chunks(numbers(sizes), size, drop_last=drop, chunk_bytes=chunk)
        for a in range(0, part.block.num_rows, part.batch_rows)
    ]
    rows = list(range(sum(sizes)))
    expected = [rows[i : i + size] for i in range(0, len(rows), size)]
    if drop and expected and len(expected[-1]) < size:
        expected.pop()
    assert batches == expected


def test_rows_within_a_block_are_not_copied() -> None:
    (block,) = numbers([1000])
    start = block.column("x").chunk(0).buffers()[1].address
    for part in chunks([block], 64):
        piece = part.block.column("x").chunk(0)
        assert piece.buffers()[1].address == start


def test_whole_blocks_without_the_empty_ones() -> None:
    batches = Source(numbers([3, 0, 5, 1])).iter_batches(batch_size=None, batch_format="pyarrow")
    assert tables(batches) == [[0, 1, 2], [3, 4, 5, 6, 7], [8]]


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(1, 40), st.integers(1, 20), st.integers(0, 5))
def test_a_local_shuffle_keeps_all_rows_and_its_buffer(sizes: list[int], buffer: int, batch: int, seed: int) -> None:
    read = 0

    def blocks() -> Iterator[pa.Table]:
        nonlocal read
        for block in numbers(sizes):
            read += block.num_rows
            yield block

    seen: list[int] = []
    pieces = list[int]()
    for block in local_shuffle(blocks(), buffer, batch, seed=seed):
        seen += block.column("x").to_pylist()
        pieces.append(block.num_rows)
        if len(seen) < sum(sizes):
            assert read - len(seen) >= buffer  # rows that the last batch was drawn beside
    assert sorted(seen) == list(range(sum(sizes)))
    assert all(rows % batch == 0 for rows in pieces[:-1])
    again = [
        x for block in local_shuffle(numbers(sizes), buffer, batch, seed=seed) for x in block.column("x").to_pylist()
    ]
    assert seen == again


def test_a_local_shuffle_leaves_the_generators_of_the_process_alone() -> None:
    np.random.seed(1)
    random.seed(1)
    before = np.random.get_state()[1].tolist(), random.getstate()
    source = Source(numbers([100]))
    shuffled = list(source.iter_batches(batch_size=10, local_shuffle_buffer_size=30, local_shuffle_seed=3))
    assert len(shuffled) == 10 and shuffled[0]["x"].tolist() != list(range(10))
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before
    other = list(source.iter_batches(batch_size=10, local_shuffle_buffer_size=30, local_shuffle_seed=4))
    assert [b["x"].tolist() for b in other] != [b["x"].tolist() for b in shuffled]


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_formats(prefetch: int) -> None:
    source = Source(numbers([7, 6]))
    frames = list(source.iter_batches(batch_size=5, prefetch_batches=prefetch))
    assert [type(frame) for frame in frames] == [pd.DataFrame] * 3
    assert [len(frame) for frame in frames] == [5, 5, 3]
    assert all(list(frame.index) == list(range(len(frame))) for frame in frames)
    arrays = list(
        source.iter_batches(batch_size=5, batch_format="numpy", prefetch_batches=prefetch, prefetch_blocks=prefetch)
    )
    assert [batch["x"].tolist() for batch in arrays] == [frame["x"].tolist() for frame in frames]
    assert list(source.iter_batches(batch_size=5, batch_format="pyarrow"))[1] == pa.table(
        {"x": range(5, 10), "y": [i / 2 for i in range(5, 10)]}
    )
    polars = pytest.importorskip("polars")
    assert isinstance(next(source.iter_batches(batch_format="polars")), polars.DataFrame)


def test_strings_that_repeat_themselves() -> None:
    words = ["a", None, "bcd", "", "ä"] * 2000
    for column in (pa.chunked_array([words]), pa.chunked_array([words[:7000], words[7000:]])):
        batches = Source([pa.table({"s": column})]).iter_batches(batch_size=3000, batch_format="numpy")
        assert [word for batch in batches for word in batch["s"]] == words


def test_simple_data_comes_as_lists() -> None:
    source = Source([pa.table({ITEM: [1, 2, 3]}), pa.table({ITEM: [4, 5]})])
    assert list(source.iter_batches(batch_size=2)) == [[1, 2], [3, 4], [5]]
    assert list(source.iter_rows()) == [1, 2, 3, 4, 5]


def test_batches_do_not_share_memory_that_can_be_written() -> None:
    (block,) = numbers([800])
    for batch_format in ("pandas", "numpy"):
        for size in (800, 400, 3):
            for batch in Source([block]).iter_batches(batch_size=size, batch_format=batch_format):
                total = batch["x"].sum()
                batch["x"] *= 2
                if batch_format == "pandas":
                    batch.loc[0, "y"] = -1.0
                assert batch["x"].sum() == 2 * total
    assert block.column("x").to_pylist() == list(range(800)) and block.column("y")[0].as_py() == 0.0


def test_rows() -> None:
    source = Source(numbers([2, 0, 1]))
    rows = source.iter_rows(prefetch_blocks=1)
    assert next(rows) == {"x": 0, "y": 0.0}
    assert list(rows) == [{"x": 1, "y": 0.5}, {"x": 2, "y": 1.0}]
    assert len(list(rows)) == 3  # a new pass
    assert [p.closed for p in source.passes] == [1, 1]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_leaving_early_ends_everything(prefetch: int) -> None:
    source = Source(numbers([10] * 100))
    for batch in source.iter_batches(batch_size=10, prefetch_batches=prefetch):
        assert batch["x"][0] == 0
        break
    (only,) = source.passes
    assert only.closed >= 1 and only.given <= 6
    assert threads() == []
    batches = source.iter_batches(batch_size=3, prefetch_batches=prefetch, prefetch_blocks=1)
    next(batches)
    batches.close()
    with source.iter_batches(batch_size=3) as batches:
        next(batches)
    assert [p.closed >= 1 for p in source.passes] == [True] * 3
    assert threads() == []


def test_an_iterator_that_is_dropped_ends_everything() -> None:
    source = Source(numbers([10] * 100))
    batches = iter(source.iter_batches(batch_size=10, prefetch_batches=2))
    next(batches)
    del batches
    assert threads() == [] and source.passes[0].closed >= 1


@pytest.mark.parametrize("prefetch", [0, 2])
def test_errors_come_in_place_with_their_traceback(prefetch: int) -> None:
    source = Source([*numbers([10]), OSError("gone")])
    seen = []
    with pytest.raises(OSError, match="gone") as caught:
        for batch in source.iter_batches(batch_size=5, prefetch_batches=prefetch):
            seen.append(len(batch))
    assert seen == [5, 5]
    assert any(entry.name == "load" for entry in caught.traceback)
    assert threads() == []


def test_collate_runs_ahead_and_finalize_in_the_loop() -> None:
    where: dict[str, set[int]] = {"collate": set(), "finalize": set()}

    def collate(batch: pa.Table) -> int:
        where["collate"].add(threading.get_ident())
        return batch.num_rows

    def finalize(rows: int) -> str:
        where["finalize"].add(threading.get_ident())
        return f"{rows} rows"

    batches = Source(numbers([5, 5])).iter_batches(
        batch_size=4, batch_format="pyarrow", _collate_fn=collate, _finalize_fn=finalize
    )
    assert list(batches) == ["4 rows", "4 rows", "2 rows"]
    assert where["finalize"] == {threading.get_ident()} and where["finalize"].isdisjoint(where["collate"])


def test_what_a_collate_function_raises_is_what_one_sees() -> None:
    def collate(batch: Any) -> Any:
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing") as caught:
        list(Source(numbers([5])).iter_batches(_collate_fn=collate))
    assert caught.traceback[-1].name == "collate"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5, but must be an int"),
        ({"batch_format": "csv"}, "batch_format is 'csv', but must be one of"),
        ({"prefetch_batches": -1}, "prefetch_batches is -1"),
        ({"batch_size": None, "local_shuffle_buffer_size": 10}, "needs a batch_size"),
        ({"local_shuffle_buffer_size": 0}, "local_shuffle_buffer_size is 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(arguments: dict[str, Any], message: str) -> None:
    source = Source(numbers([5]))
    with pytest.raises((ValueError, TypeError), match=message):
        source.iter_batches(**arguments)
    assert source.passes == []


def test_statistics() -> None:
    source = Source(numbers([10, 10]))
    for _ in source.iter_batches(batch_size=8):
        pass
    stats = source._iteration_stats
    assert stats is not None and (stats.rows, stats.batches, stats.blocks) == (20, 3, 2)
    assert stats.total >= stats.user >= 0
    assert "20 rows in 3 batches from 2 blocks" in str(stats)
