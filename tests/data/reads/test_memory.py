"""Datasets of what is in memory, and of numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aktis
import aktis.data
from aktis.data._blocks import kind_of, to_rows

from .helpers import read_all, reader_of, table_of, task_blocks


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, preload=["pyarrow.dataset", "pandas"])
    yield
    aktis.shutdown()


@pytest.mark.parametrize("tasks", [1, 3, 10, 25])
def test_range(tasks: int) -> None:
    dataset = aktis.data.range(10, parallelism=tasks)
    blocks = task_blocks(reader_of(dataset), tasks)
    assert len(blocks) == min(tasks, 10)
    assert to_rows(read_all(reader_of(dataset), tasks)) == list(range(10))
    assert kind_of(blocks[0][0]) == "simple"


def test_range_knows_itself() -> None:
    reader = reader_of(aktis.data.range(1000))
    assert (reader.count_rows(), reader.estimate_inmemory_data_size()) == (1000, 8000)
    assert read_all(reader.with_limit(7)).num_rows == 7
    assert read_all(reader.with_columns([])).num_rows == 1000
    assert reader.with_columns(["x"]) is None
    assert sum(task.get_metadata().num_rows for task in reader.get_read_tasks(-1)) == 1000
    assert reader.get_read_tasks(2)[1].get_metadata().origin == "rows 500 to 999"


def test_empty_range() -> None:
    table = table_of(aktis.data.range(0))
    assert table.num_rows == 0
    assert kind_of(table) == "simple"


def test_range_table_and_tensor() -> None:
    assert table_of(aktis.data.range_table(3)).to_pydict() == {"value": [0, 1, 2]}
    assert table_of(aktis.data.range_arrow(3)).to_pydict() == {"value": [0, 1, 2]}
    table = table_of(aktis.data.range_tensor(3, shape=(2, 2)))
    assert kind_of(table) == "tensor"
    np.testing.assert_array_equal(table.column(0).combine_chunks().to_numpy_ndarray()[2], np.full((2, 2), 2))


@pytest.mark.parametrize("n", [-1, 1.5, "3", True])
def test_range_needs_a_number(n: object) -> None:
    with pytest.raises((TypeError, ValueError), match="n is"):
        aktis.data.range(n)  # type: ignore[arg-type]


def test_range_tensor_needs_a_shape() -> None:
    with pytest.raises(ValueError, match="shape is a tuple of positive integers"):
        aktis.data.range_tensor(3, shape=(0,))


def test_long_ranges_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aktis.data.DatasetContext.get_current(), "target_max_block_size", 8000)
    (blocks,) = task_blocks(reader_of(aktis.data.range(10_000)), 1)
    assert [block.num_rows for block in blocks] == [1000] * 10


def test_random_rows_are_the_same_when_made_again() -> None:
    from aktis.data.datasource import RandomIntRowDatasource

    reader = RandomIntRowDatasource().create_reader(n=100, num_columns=2)
    first = read_all(reader, 3)
    assert first.equals(read_all(reader, 3))
    assert first.column_names == ["c_0", "c_1"]
    assert read_all(reader.with_columns(["c_1"]), 3)["c_1"].equals(first["c_1"])
    assert len(set(first["c_0"].to_pylist())) == 100


def test_items() -> None:
    dataset = aktis.data.from_items([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    assert table_of(dataset).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    assert to_rows(table_of(aktis.data.from_items(["a", "b"]))) == ["a", "b"]
    assert kind_of(table_of(aktis.data.from_items([np.zeros(2), np.ones(2)]))) == "tensor"


@pytest.mark.parametrize(("count", "parallelism", "blocks"), [(10, 4, 4), (3, 10, 3), (0, 5, 1), (10_000, -1, 16)])
def test_items_are_cut_into_blocks(count: int, parallelism: int, blocks: int) -> None:
    dataset = aktis.data.from_items(list(range(count)), parallelism=parallelism)
    handles = dataset._root.handles
    assert len(handles) == blocks
    assert sum(handle.num_rows for handle in handles) == count
    assert [row for handle in handles for row in to_rows(handle.load())] == list(range(count))


def test_frames_arrays_tables() -> None:
    frames = [pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [3]})]
    dataset = aktis.data.from_pandas(frames)
    assert [handle.num_rows for handle in dataset._root.handles] == [2, 1]
    assert table_of(dataset)["a"].to_pylist() == [1, 2, 3]
    assert table_of(aktis.data.from_pandas(frames[0]))["a"].to_pylist() == [1, 2]
    assert len(aktis.data.from_pandas(frames, override_num_blocks=3)._root.handles) == 3

    arrays = [np.arange(6).reshape(3, 2), np.arange(4).reshape(2, 2)]
    table = table_of(aktis.data.from_numpy(arrays))
    assert (table.num_rows, kind_of(table)) == (5, "tensor")

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema({"x": pa.int64()})) as writer:
        writer.write_table(pa.table({"x": [4]}))
    dataset = aktis.data.from_arrow([pa.table({"x": [1, 2]}), sink.getvalue().to_pybytes()])
    assert table_of(dataset)["x"].to_pylist() == [1, 2, 4]


def test_big_tables_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aktis.data.DatasetContext.get_current(), "target_max_block_size", 8000)
    handles = aktis.data.from_arrow(pa.table({"x": np.arange(10_000)}))._root.handles
    assert [handle.num_rows for handle in handles] == [1000] * 10


def test_wrong_things_are_named() -> None:
    with pytest.raises(TypeError, match="from_pandas takes a pandas.DataFrame or a list of such, got dict"):
        aktis.data.from_pandas({"a": [1]})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one of them is list"):
        aktis.data.from_numpy([[1, 2]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="at least one axis"):
        aktis.data.from_numpy(np.array(3))
    with pytest.raises(TypeError, match="expected references"):
        aktis.data.from_arrow_refs([pa.table({})])  # type: ignore[list-item]


def test_references(session: None) -> None:
    table = pa.table({"x": [1, 2]})
    ref = aktis.put(table)
    (handle,) = aktis.data.from_arrow_refs(ref)._root.handles
    assert handle.where == ref
    assert (handle.num_rows, handle.metadata.schema, handle.metadata.origin) == (2, table.schema, "")

    dataset = aktis.data.from_pandas_refs([aktis.put(pd.DataFrame({"a": [1]})), aktis.put(pd.DataFrame({"a": [2]}))])
    assert [handle.num_rows for handle in dataset._root.handles] == [1, 1]
    assert table_of(dataset)["a"].to_pylist() == [1, 2]
    dataset = aktis.data.from_numpy_refs([aktis.put(np.zeros((3, 2)))])
    assert kind_of(table_of(dataset)) == "tensor"
