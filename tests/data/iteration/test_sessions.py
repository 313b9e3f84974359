"""What needs other processes: shared streams, split pipelines, lookups by key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import aktis
import aktis.data
from aktis.data import Dataset
from aktis.data._iteration.meeting import ConsumerError
from aktis.data.random_access_dataset import RandomAccessDataset


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, log_to_driver=False)
    yield
    aktis.shutdown()


def numbers(n: int, parallelism: int = 10, *, remote: bool = False, timeout: float = 60) -> Dataset:
    dataset = aktis.data.range(n, parallelism=parallelism)
    dataset.context.enable_local_execution = not remote
    dataset.context.split_timeout_s = timeout
    return dataset


def together(function: Callable[[Any], Any], parts: list[Any]) -> list[Any]:
    """``function`` of all parts at the same time."""
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(function, parts))


def rows_of(iterator: Any) -> list[int]:
    return [row for batch in iterator.iter_batches(batch_size=16) for row in batch]


@aktis.remote(num_cpus=0)
class Reader:
    def rows(self, iterator: Any) -> list[int]:
        return rows_of(iterator)

    def die_reading(self, iterator: Any) -> None:
        for _ in iterator.iter_batches(batch_size=1):
            os._exit(1)


@pytest.mark.parametrize("remote", [False, True])
def test_equal_shares_of_a_stream(remote: bool) -> None:
    iterators = numbers(1003, remote=remote).map(lambda x: x * 2).streaming_split(3, equal=True)
    for _ in range(2):
        parts = together(rows_of, iterators)
        assert [len(part) for part in parts] == [334] * 3
        flat = [row for part in parts for row in part]
        assert len(set(flat)) == 1002 and set(flat) <= set(range(0, 2006, 2))
        assert all(part == sorted(part) for part in parts)


def test_every_row_goes_somewhere() -> None:
    iterators = numbers(1003).streaming_split(2)
    parts = together(rows_of, iterators)
    assert sorted(parts[0] + parts[1]) == list(range(1003))
    assert iterators[0].schema() is int
    assert "ReadRange" in iterators[1].stats() and "Iteration:" in iterators[1].stats()


def test_consumers_in_other_processes() -> None:
    readers = [Reader.remote() for _ in range(2)]
    iterators = numbers(100).streaming_split(2, equal=True, locality_hints=readers)
    parts = aktis.get([reader.rows.remote(it) for reader, it in zip(readers, iterators)])
    assert sorted(parts[0] + parts[1]) == list(range(100)) and len(parts[0]) == 50


def test_a_consumer_may_leave_an_epoch_early() -> None:
    iterators = numbers(2000, parallelism=40).streaming_split(2, equal=True)

    def read(iterator: Any) -> int:
        if iterator is iterators[1]:
            return len(next(iter(iterator.iter_batches(batch_size=10))))
        return len(rows_of(iterator))

    assert together(read, iterators) == [1000, 10]
    assert [len(part) for part in together(rows_of, iterators)] == [1000, 1000]


def test_an_absent_consumer_is_named() -> None:
    one, _ = numbers(10, timeout=0.5).streaming_split(2)
    with pytest.raises(ConsumerError, match=r"consumer 1 \(never seen\) did not take part.*split_timeout_s"):
        rows_of(one)


def test_a_dead_consumer_is_named() -> None:
    one, two = numbers(10).streaming_split(2, equal=True)
    reader = Reader.remote()
    dying = reader.die_reading.remote(two)
    assert len(rows_of(one)) == 5
    with pytest.raises(aktis.exceptions.AktisActorError):
        aktis.get(dying)
    with pytest.raises(ConsumerError, match=r"consumer 1 of 2 \(actor .*\) has died"):
        rows_of(one)


def test_errors_reach_all_consumers() -> None:
    def fail(x: int) -> int:
        if x == 70:
            raise KeyError("seventy")
        return x

    def read(iterator: Any) -> str:
        with pytest.raises(KeyError) as caught:
            rows_of(iterator)
        return str(caught.value)

    messages = together(read, numbers(100).map(fail).streaming_split(2))
    assert all("seventy" in message for message in messages)


def test_splits_of_a_dataset() -> None:
    dataset = numbers(10, parallelism=4)
    assert [part.count() for part in dataset.split(3, equal=True)] == [3, 3, 3]
    parts = dataset.split(6)
    assert sum((part.take() for part in parts), []) == list(range(10)) and parts[5].count() == 0  # noqa: RUF017
    assert parts[5].schema() is int
    assert [part.take() for part in dataset.split_at_indices([2, 2, 50])] == [[0, 1], [], [*range(2, 10)], []]
    assert [part.count() for part in dataset.split_proportionately([0.2, 0.5])] == [2, 5, 3]
    train, test = dataset.train_test_split(3)
    assert train.take() == [*range(7)] and test.take() == [7, 8, 9]
    train, test = dataset.train_test_split(0.3, shuffle=True, seed=4)
    assert sorted(train.take() + test.take()) == list(range(10)) and test.take() != [7, 8, 9]
    with pytest.raises(ValueError, match="n is 0"):
        dataset.split(0)
    with pytest.raises(ValueError, match="as many as parts: 2"):
        dataset.split(2, locality_hints=[Reader.remote()])


def test_splits_near_actors() -> None:
    readers = [Reader.remote() for _ in range(2)]
    dataset = numbers(100, remote=True)
    parts = dataset.split(2, locality_hints=readers)
    assert sorted(parts[0].take_all() + parts[1].take_all()) == list(range(100))
    assert [part.count() for part in dataset.split(2, equal=True, locality_hints=readers)] == [50, 50]


def test_stratified_split() -> None:
    frame = pd.DataFrame({"c": [*"aab"] * 100, "x": range(300)})
    dataset = aktis.data.from_pandas([frame.iloc[:100], frame.iloc[100:]])
    train, test = dataset.train_test_split(0.1, stratify="c")
    assert train.count() == 270
    assert test.to_pandas()["c"].value_counts().to_dict() == {"a": 20, "b": 10}


def test_pipelines_that_share_windows() -> None:
    parts = numbers(100).repeat(2).map(lambda x: x + 1).split(2, equal=True)

    def epochs(pipe: Any) -> list[list[int]]:
        return [list(epoch.iter_rows()) for epoch in pipe.iter_epochs()]

    (a1, a2), (b1, b2) = together(epochs, parts)
    assert sorted(a1 + b1) == sorted(a2 + b2) == list(range(1, 101)) and len(a1) == len(b2) == 50
    readers = [Reader.remote() for _ in range(2)]
    parts = numbers(100).window(blocks_per_window=2).split_at_indices([5])
    few, many = aktis.get([reader.rows.remote(part) for reader, part in zip(readers, parts)])
    assert few == [20 * window + i for window in range(5) for i in range(5)] and len(many) == 75


def test_lookups_by_key() -> None:
    frames = [pd.DataFrame({"k": range(start, 100, 10), "v": f"from {start}"}) for start in range(0, 10, 2)]
    found = aktis.data.from_pandas(frames).to_random_access_dataset("k", num_workers=2)
    assert isinstance(found, RandomAccessDataset)
    assert aktis.get(found.get_async(14)) == {"k": 14, "v": "from 4"}
    assert aktis.get(found.get_async(15)) is None and aktis.get(found.get_async(1000)) is None
    assert [row and row["v"] for row in found.multiget([98, 3, 0, -5])] == ["from 8", None, "from 0", None]
    assert "Num workers:" in found.stats()
    with pytest.raises(TypeError, match="'x' cannot be compared"):
        found.get_async("x")
    found.destroy()
    with pytest.raises(RuntimeError, match="destroyed"):
        found.get_async(1)
    with pytest.raises(ValueError, match="no column 'z'"):
        aktis.data.from_pandas(frames).to_random_access_dataset("z")


def test_lookups_where_there_is_little_to_find() -> None:
    empty = aktis.data.from_pandas(pd.DataFrame({"k": pd.Series([], dtype="int64")})).to_random_access_dataset("k")
    assert empty.multiget([1, 2]) == [None, None]
    assert "Accesses per worker: 0 min" in empty.stats()
    empty.destroy()
    table = pa.table({"k": pa.array(["b", None, "a", "b"]), "v": [1, 2, 3, 4]})
    found = aktis.data.from_arrow(table).to_random_access_dataset("k")
    assert [row and row["v"] for row in found.multiget(["a", "c", "b"])] == [3, None, 1]
    assert found.multiget([]) == []
    found.destroy()
    nulls = aktis.data.from_arrow(pa.table({"k": pa.nulls(2, pa.int64())})).to_random_access_dataset("k")
    assert aktis.get(nulls.get_async(1)) is None
    nulls.destroy()
    with pytest.raises(ValueError, match="num_workers is 0"):
        aktis.data.from_arrow(table).to_random_access_dataset("k", num_workers=0)
