"""Pipelines of windows. The data are so small that everything is executed in this process."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.data.iteration.helpers import threads

import aktis.data
from aktis.data import Dataset
from aktis.data.dataset_pipeline import DatasetPipeline


def numbers(n: int = 10, parallelism: int = 5) -> Dataset:
    return aktis.data.range(n, parallelism=parallelism)


def noted(dataset: Dataset, folder: Path) -> Dataset:
    """A dataset that leaves a file for each row that it computes. (Functions are copied before they run.)"""

    def note(x: int) -> int:
        (folder / str(x)).touch()
        return x

    return dataset.map(note)


def computed(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir())


def wait_for(folder: Path, row: int) -> None:
    deadline = time.monotonic() + 30
    while not (folder / str(row)).exists():
        assert time.monotonic() < deadline, f"row {row} was not computed"
        threading.Event().wait(0.005)


def test_windows_are_lazy_and_in_order(tmp_path: Path) -> None:
    pipe = noted(numbers(100, parallelism=50), tmp_path).window(blocks_per_window=5).map(lambda x: x * 2)
    assert computed(tmp_path) == []
    assert pipe.take(10) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert len(computed(tmp_path)) in range(10, 21)  # the window that is needed, and maybe the one after it
    assert threads() == []


def test_sizes_of_windows() -> None:
    windows = [window.take() for window in numbers().window(blocks_per_window=2).iter_datasets()]
    assert windows == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(list(numbers(100, parallelism=30).window().iter_datasets())) == 3
    assert [w.count() for w in numbers().window(bytes_per_window=33).iter_datasets()] == [4, 4, 2]
    with pytest.raises(ValueError, match="not both"):
        numbers().window(blocks_per_window=1, bytes_per_window=1)
    with pytest.raises(ValueError, match="blocks_per_window is 0"):
        numbers().window(blocks_per_window=0)


def test_windows_of_what_must_be_executed_first() -> None:
    whole = numbers().materialize()
    assert isinstance(whole, aktis.data.MaterializedDataset)
    assert [w.count() for w in whole.window(blocks_per_window=3).iter_datasets()] == [6, 4]
    assert repr(whole.window(blocks_per_window=3)) == "DatasetPipeline(num_windows=2, num_stages=1)"
    windows = [w.take() for w in numbers().limit(5).window(blocks_per_window=1).iter_datasets()]
    assert len(windows) > 1 and [row for window in windows for row in window] == [0, 1, 2, 3, 4]


def test_a_pipeline_is_read_once() -> None:
    pipe = numbers().window(blocks_per_window=2)
    child = pipe.map(lambda x: x)
    assert child.count() == 10
    for read in (pipe.count, child.take, pipe.iter_datasets, pipe.iter_epochs, lambda: pipe.map(lambda x: x)):
        with pytest.raises(RuntimeError, match="cannot be read multiple times"):
            list(read() or [])
    with pytest.raises(TypeError, match="iter_rows"):
        iter(pipe)
    with pytest.raises(AttributeError, match="count"):
        len(pipe)


def test_transforms_of_each_window() -> None:
    pipe = numbers().window(blocks_per_window=2)
    pipe = pipe.map(lambda x: x + 1).filter(lambda x: x % 2 == 0).flat_map(lambda x: [x, -x])
    assert pipe.take_all() == [2, -2, 4, -4, 6, -6, 8, -8, 10, -10]
    frame = aktis.data.from_pandas([pd.DataFrame({"a": [i, i + 1]}) for i in range(3)])
    pipe = frame.window(blocks_per_window=1).add_column("b", lambda df: df["a"] * 2)
    pipe = pipe.map_batches(lambda df: df + 1, batch_format="pandas").select_columns(["b"])
    assert [row["b"] for row in pipe.iter_rows()] == [1, 3, 3, 5, 5, 7]


def test_order_within_each_window() -> None:
    pipe = numbers().window(blocks_per_window=2).sort_each_window(descending=True)
    assert pipe.take() == [3, 2, 1, 0, 7, 6, 5, 4, 9, 8]
    shuffled = numbers(40, parallelism=4).repeat(2).random_shuffle_each_window()
    first, second = (epoch.take_all() for epoch in shuffled.iter_epochs())
    assert first != second and sorted(first) == sorted(second) == list(range(40))
    assert [w.num_blocks() for w in numbers().window(blocks_per_window=2).repartition_each_window(3).iter_datasets()] == [
        3, 3, 3,
    ]  # fmt: skip
    assert sorted(numbers().window().randomize_block_order_each_window(seed=1).take()) == list(range(10))
    assert numbers().window(blocks_per_window=2).foreach_window(lambda ds: ds.limit(1)).take() == [0, 4, 8]


def test_repeat_and_epochs() -> None:
    assert numbers(3).repeat(2).take() == [0, 1, 2] * 2
    assert numbers().window(blocks_per_window=2).repeat(3).count() == 30
    epochs = [e.take_all() for e in numbers(4).repeat(3).map(lambda x: -x).iter_epochs()]
    assert epochs == [[0, -1, -2, -3]] * 3
    for_ever = numbers(4).repeat()
    assert len(list(for_ever.iter_epochs(max_epoch=5))) == 5
    assert numbers(4).repeat().take(10) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    for bad in (numbers().repeat().repeat, numbers().repeat().count, numbers().repeat().sum):
        with pytest.raises(ValueError, match="for ever"):
            bad()
    with pytest.raises(ValueError, match="times is 0"):
        numbers().repeat(0)


def test_the_rest_of_an_epoch_is_skipped() -> None:
    found = []
    for epoch in numbers().window(blocks_per_window=1).repeat(2).iter_epochs():
        for batch in epoch.iter_batches(batch_size=2, prefetch_batches=0):
            found.append(batch)
            break
    assert found == [[0, 1], [0, 1]]
    assert threads() == []


def test_rewindow() -> None:
    pipe = numbers().window(blocks_per_window=1).rewindow(blocks_per_window=3)
    assert [w.take() for w in pipe.iter_datasets()] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]
    sizes: dict[bool, list[int]] = {}
    for preserve in (True, False):
        pipe = numbers().repeat(2).rewindow(blocks_per_window=4, preserve_epoch=preserve)
        sizes[preserve] = [w.count() for w in pipe.iter_datasets()]
    assert sizes == {True: [8, 2, 8, 2], False: [8, 8, 4]}


def test_from_iterable() -> None:
    made: list[int] = []

    def make(i: int) -> Dataset:
        made.append(i)
        return numbers(i)

    functions = [lambda i=i: make(i) for i in (1, 2)]
    assert DatasetPipeline.from_iterable(functions).take() == [0, 0, 1]
    assert made == [1, 2]
    once = DatasetPipeline.from_iterable(iter(functions)).repeat(2)
    assert once.take() == [0, 0, 1] * 2


def test_batches_span_windows() -> None:
    batches = numbers().window(blocks_per_window=1).iter_batches(batch_size=3)
    assert list(batches) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_the_next_window_is_executed_ahead(tmp_path: Path) -> None:
    rows = noted(numbers(3, parallelism=3), tmp_path).window(blocks_per_window=1).iter_rows()
    assert next(rows) == 0
    wait_for(tmp_path, 1)  # while we do not ask for it
    rows.close()
    for path in tmp_path.iterdir():
        path.unlink()
    datasets = noted(numbers(5, parallelism=5), tmp_path).window(blocks_per_window=1).iter_datasets()
    assert next(datasets).take() == [0]
    wait_for(tmp_path, 1)
    assert next(datasets).take() == [1]
    wait_for(tmp_path, 2)
    assert 3 not in computed(tmp_path)  # one window ahead, and no more
    datasets.close()  # type: ignore[attr-defined]
    assert threads() == []


def test_errors_end_the_pipeline() -> None:
    def fail(x: int) -> int:
        if x == 5:
            raise KeyError("five")
        return x

    rows = numbers().window(blocks_per_window=1).map(fail).iter_rows()
    with pytest.raises(KeyError, match="five"):
        list(rows)
    assert threads() == []


def test_facts(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = numbers().window(blocks_per_window=2)
    assert pipe.schema() is int and pipe.dataset_format() == "simple"
    assert pipe.stats() == "This pipeline has not been executed yet."
    assert len(pipe.take()) == 10
    assert "3 windows executed" in pipe.stats() and "Window 0" not in pipe.stats()
    assert "Window 0" in pipe.stats(exclude_first_window=False)
    numbers(2).repeat(2).show_windows()
    assert capsys.readouterr().out.split("\n")[:3] == ["=== Window 0 (epoch 0) ===", "0", "1"]
    numbers(2).repeat(1).show()
    assert capsys.readouterr().out == "0\n1\n"
    with pytest.raises(ValueError, match="more than 3 rows"):
        numbers().window().take_all(limit=3)


def test_writes(tmp_path: Path) -> None:
    frames = [pd.DataFrame({"a": [i, i + 1]}) for i in range(4)]
    aktis.data.from_pandas(frames).window(blocks_per_window=2).write_parquet(str(tmp_path))
    assert sorted(pq.read_table(tmp_path)["a"].to_pylist()) == [0, 1, 1, 2, 2, 3, 3, 4]


def test_an_iterator_gives_an_epoch_per_loop() -> None:
    iterator = numbers(4).repeat(2).iterator()
    found: list[Any] = [list(iterator.iter_batches(batch_size=4)) for _ in range(3)]
    assert found == [[[0, 1, 2, 3]]] * 2 + [[]]
    with pytest.raises(DeprecationWarning, match="has no iter_epochs"):
        numbers().iterator().iter_epochs()
