"""Batches of map_batches: runs of them are converted at once, which nobody must notice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aktis.data as data
from aktis.data._blocks import from_batch, to_batch
from aktis.data._transforms import map_batches
from aktis.data._transforms.map_batches import batches_of, runs


def blocks_of(lengths: list[int]) -> list[pa.Table]:
    bounds = np.cumsum([0, *lengths])
    return [pa.table({"x": np.arange(start, stop)}) for start, stop in zip(bounds, bounds[1:])]


@given(lengths=st.lists(st.integers(0, 20), max_size=8), size=st.integers(1, 12), run_bytes=st.integers(1, 300))
def test_runs_are_whole_batches_but_for_the_end(lengths: list[int], size: int, run_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_batches, "RUN_BYTES", run_bytes)
        found = list(runs(iter(blocks_of(lengths)), size))
    assert all(run.num_rows % size == 0 for run in found[:-1])
    assert all(run.num_rows for run in found)
    assert [x for run in found for x in run["x"].to_pylist()] == list(range(sum(lengths)))
    batches = [b for run in found for b in batches_of(run, size, "numpy", copy=True)]
    assert [len(b["x"]) for b in batches] == [size] * (sum(lengths) // size) + [r for r in [sum(lengths) % size] if r]


@pytest.mark.parametrize("batch_format", ["pandas", "numpy", "pyarrow", "polars", "default"])
def test_batches_of_a_run_are_those_of_its_pieces(batch_format: str) -> None:
    if batch_format == "polars":
        pytest.importorskip("polars")
    block = from_batch(pd.DataFrame({"a": np.arange(10), "b": list("abcdefghij"), "c": [1.5, None] * 5}))
    for copy in (True, False):
        found = [from_batch(batch) for batch in batches_of(block, 4, batch_format, copy=copy)]
        alone = [from_batch(to_batch(block.slice(i, 4), batch_format)) for i in (0, 4, 8)]
        assert [piece.num_rows for piece in found] == [4, 4, 2]
        assert [str(piece.to_pydict()) for piece in found] == [str(piece.to_pydict()) for piece in alone]


def test_rows_of_a_frame_count_from_zero_and_are_its_own() -> None:
    block = from_batch({"a": np.arange(10), "t": np.arange(20.0).reshape(10, 2)})
    first, second, _ = batches_of(block, 4, "pandas", copy=True)
    assert list(second.index) == [0, 1, 2, 3]
    first.loc[0, "a"] = 100
    second["a"] += 1
    second["new"] = 1
    assert list(first["a"]) == [100, 1, 2, 3]
    assert list(second["a"]) == [5, 6, 7, 8]
    assert block["a"].to_pylist() == list(range(10))


def test_arrays_of_a_run_can_be_written_to() -> None:
    block = from_batch({"a": np.arange(10), "t": np.arange(20.0).reshape(10, 2)})
    first, second, _ = batches_of(block, 4, "numpy", copy=True)
    first["a"][:] = -1
    first["t"][:] = -1
    assert second["a"].tolist() == [4, 5, 6, 7]
    assert block["a"].to_pylist() == list(range(10))


def test_items_and_tensors_come_in_batches(context: Any) -> None:
    context.enable_local_execution = True
    assert data.from_items(list("abcdefg"), parallelism=1).map_batches(
        lambda batch: [batch], batch_size=3
    ).take_all() == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    shapes = data.range_tensor(5, shape=(2,), parallelism=1).map_batches(lambda batch: [batch.shape], batch_size=3)
    assert [tuple(shape) for shape in shapes.take_all()] == [(3, 2), (2, 2)]


def test_a_function_that_joins_batches_gets_those_of_a_run_in_one(context: Any) -> None:
    class Sizes:
        __joins_batches__ = True

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            return {"x": batch["x"], "size": np.full(len(batch["x"]), len(batch["x"]))}

    context.enable_local_execution = True
    rows = data.from_arrow(pa.table({"x": range(1000)}))
    joined = rows.map_batches(Sizes(), batch_size=10, batch_format="numpy").to_pandas()
    assert list(joined["x"]) == list(range(1000))
    assert set(joined["size"]) == {1000}
    assert set(rows.map_batches(Sizes(), batch_size=None, batch_format="numpy").to_pandas()["size"]) == {1000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_batches, "RUN_BYTES", 8 * 300)  # the bound on memory is that of runs
        bounded = rows.map_batches(Sizes(), batch_size=100, batch_format="numpy").to_pandas()
    assert set(bounded["size"]) == {300, 100}
