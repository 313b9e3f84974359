"""map, filter, flat_map, map_batches and their friends, in the driver and in workers: the same results."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aktis.data as data
from aktis.data.exceptions import BatchTypeError, TooManyErroredBlocksError, UserFunctionError


def test_the_first_program_of_the_documents(anywhere: str) -> None:
    ds = data.from_items([{"data": i} for i in range(10_000)])
    ds = ds.map(lambda x: x["data"] ** 2).filter(lambda x: x % 2 == 0).flat_map(lambda x: [x, x])
    assert ds.take(10) == [0, 0, 4, 4, 16, 16, 36, 36, 64, 64]
    assert ds.count() == 10_000


def test_rows_come_in_order_whatever_the_blocks(anywhere: str) -> None:
    assert data.range(1000, parallelism=37).map(lambda x: x * 2).take_all() == list(range(0, 2000, 2))


def test_rows_of_tables_are_dicts(anywhere: str) -> None:
    ds = data.from_items([{"a": 1, "b": "x"}, {"a": 2, "b": None}])
    assert ds.map(lambda row: {**row, "c": type(row) is dict}).take_all() == [
        {"a": 1, "b": "x", "c": True},
        {"a": 2, "b": None, "c": True},
    ]


def test_flat_map_takes_generators_and_refuses_what_is_no_list(anywhere: str) -> None:
    def twice(x: int) -> Iterator[int]:
        yield x
        yield -x

    assert data.from_items([1, 2]).flat_map(twice).take_all() == [1, -1, 2, -2]
    with pytest.raises(UserFunctionError, match="returned 1"):
        data.from_items([1]).flat_map(lambda x: x).take_all()  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("size", [None, "default", 7, 1000])
def test_batches_of_any_size(anywhere: str, size: Any) -> None:
    sizes = data.range_table(100, parallelism=3).map_batches(lambda df: pd.DataFrame({"n": [len(df)]}), batch_size=size)
    found = [row["n"] for row in sizes.take_all()]
    assert sum(found) == 100
    if size == 7:
        assert max(found) == 7
    if size in (None, "default"):
        assert len(found) == 3


def test_a_batch_size_spans_the_blocks_of_a_dataset_in_memory(anywhere: str) -> None:
    ds = data.range(100, parallelism=50).materialize()
    assert ds.map_batches(lambda batch: [len(batch)], batch_size=25).take_all() == [25] * 4


@pytest.mark.parametrize(
    ("batch_format", "kind"),
    [("pandas", pd.DataFrame), ("pyarrow", pa.Table), ("numpy", dict), ("default", pd.DataFrame)],
)
def test_formats_of_batches(anywhere: str, batch_format: str, kind: type) -> None:
    def check(batch: Any) -> Any:
        assert isinstance(batch, kind), type(batch)
        return batch

    ds = data.range_table(10).map_batches(check, batch_format=batch_format)
    assert ds.take_all() == [{"value": i} for i in range(10)]


def test_functions_may_change_their_batch(anywhere: str) -> None:
    def double(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        batch["value"] *= 2
        return batch

    ds = data.range_table(4).materialize()
    assert [row["value"] for row in ds.map_batches(double, batch_format="numpy").take_all()] == [0, 2, 4, 6]
    assert [row["value"] for row in ds.take_all()] == [0, 1, 2, 3], "the data set itself must not change"


def test_classes_keep_their_state_and_get_their_arguments(workers: Any) -> None:
    class Add:
        def __init__(self, offset: int, *, scale: int) -> None:
            self.offset, self.scale, self.calls = offset, scale, 0

        def __call__(self, batch: list[int], extra: int, *, sign: int = 1) -> list[tuple[int, int]]:
            self.calls += 1
            return [(sign * (x * self.scale + self.offset + extra), os.getpid()) for x in batch]

    ds = data.range(40, parallelism=8).map_batches(
        Add,
        concurrency=2,
        fn_constructor_args=(100,),
        fn_constructor_kwargs={"scale": 2},
        fn_args=(1000,),
        fn_kwargs={"sign": -1},
    )
    rows = ds.take_all()
    assert [value for value, _ in rows] == [-(2 * x + 1100) for x in range(40)]
    assert 1 <= len({pid for _, pid in rows}) <= 2
    assert os.getpid() not in {pid for _, pid in rows}


def test_a_class_needs_actors_and_a_function_needs_no_constructor() -> None:
    class Same:
        def __call__(self, x: Any) -> Any:
            return x

    with pytest.raises(ValueError, match="Same is a class"):
        data.range(3).map(Same, compute="tasks")
    with pytest.raises(ValueError, match="for classes"):
        data.range(3).map(lambda x: x, fn_constructor_args=(1,))
    with pytest.raises(ValueError, match="not both"):
        data.range(3).map(Same, compute="actors", concurrency=2)
    for wrong in (0, (2, 1), True, "two"):
        with pytest.raises(ValueError):
            data.range(3).map(Same, concurrency=wrong)  # type: ignore[arg-type]


def test_async_functions_overlap_and_keep_the_order(anywhere: str) -> None:
    async def slowly(x: int) -> int:
        await asyncio.sleep(0.001 * (x % 3))
        return x + 1

    assert data.range(50, parallelism=2).map(slowly).take_all() == list(range(1, 51))

    async def several(batch: list[int]) -> AsyncIterator[list[int]]:
        yield batch
        await asyncio.sleep(0)
        yield [-x for x in batch]

    assert data.range(4, parallelism=1).map_batches(several, batch_size=2).take_all() == [0, 1, 0, -1, 2, 3, -2, -3]


def test_generators_give_several_batches(anywhere: str) -> None:
    def halves(batch: list[int]) -> Iterator[list[int]]:
        yield batch[: len(batch) // 2]
        yield batch[len(batch) // 2 :]

    assert data.range(10, parallelism=1).map_batches(halves).take_all() == list(range(10))


def test_an_error_says_where_and_is_of_the_users_class(anywhere: str) -> None:
    def invert(row: dict[str, int]) -> dict[str, float]:
        return {"x": 1 / row["value"]}

    with pytest.raises(ZeroDivisionError) as caught:
        data.range_table(100, parallelism=4).map(invert).take_all()
    error = caught.value
    assert isinstance(error, UserFunctionError)
    assert error.operator == "Map(invert)" and error.function == "invert"
    assert "row 0" in error.origin
    assert "value: int" in error.batch_schema
    assert "1 / row" in str(error), "the line of the user's code"
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_key_that_is_missing_names_itself(anywhere: str) -> None:
    with pytest.raises(KeyError, match="speed"):
        data.range_table(5).map(lambda row: {"x": row["speed"]}).take_all()


def test_what_is_no_batch_is_refused(anywhere: str) -> None:
    with pytest.raises(BatchTypeError, match="MapBatches.*nothing"):

        def nothing(batch: Any) -> None:
            return None

        data.range_table(5).map_batches(nothing).take_all()


def test_blocks_that_fail_can_be_left_out(anywhere: str, context: Any) -> None:
    def picky(x: int) -> int:
        if x % 100 == 37:
            raise ValueError(f"not {x}")
        return x

    context.max_errored_blocks = 10
    rows = data.range(1000, parallelism=20).map(picky).take_all()
    assert len(rows) == 500 and rows[0] == 50
    context.max_errored_blocks = 3
    with pytest.raises(TooManyErroredBlocksError, match="4 blocks failed"):
        data.range(1000, parallelism=20).map(picky).take_all()


def test_only_as_much_as_needed_is_computed(context: Any, tmp_path: Path) -> None:
    context.local_seconds = 60.0

    def note(x: int) -> int:
        (tmp_path / str(x)).touch()
        return x

    assert data.range(1000, parallelism=100).map(note).take(5) == [0, 1, 2, 3, 4]
    assert len(list(tmp_path.iterdir())) == 5, "the limit comes before the map"


def test_columns_come_and_go(anywhere: str) -> None:
    from aktis.data.expressions import col

    ds = data.from_items([{"a": i, "b": i * 10} for i in range(3)])
    assert ds.add_column("c", lambda df: df["a"] + df["b"]).take(2) == [
        {"a": 0, "b": 0, "c": 0},
        {"a": 1, "b": 10, "c": 11},
    ]
    assert ds.with_column("c", col("a") + col("b")).take_all()[-1] == {"a": 2, "b": 20, "c": 22}
    assert ds.drop_columns(["a"]).columns() == ["b"]
    assert ds.select_columns(["b", "a"]).columns() == ["b", "a"]
    assert ds.rename_columns({"a": "z"}).take(1) == [{"z": 0, "b": 0}]
    assert ds.rename_columns(["p", "q"]).columns() == ["p", "q"]
    with pytest.raises(ValueError, match="nope"):
        ds.rename_columns({"nope": "x"})
    assert ds.filter(expr="a > 0 and b < 20").take_all() == [{"a": 1, "b": 10}]


def test_a_union_keeps_the_order_of_its_arguments(anywhere: str) -> None:
    first, second = data.range(5, parallelism=5), data.range(3, parallelism=2).map(lambda x: -x)
    assert first.union(second, first).take_all() == [0, 1, 2, 3, 4, 0, -1, -2, 0, 1, 2, 3, 4]


def test_limits(anywhere: str) -> None:
    ds = data.range(100, parallelism=10)
    assert ds.limit(0).take_all() == []
    assert ds.limit(15).take_all() == list(range(15))
    assert ds.limit(1000).count() == 100
    assert ds.limit(15).limit(3).map(lambda x: x).take_all() == [0, 1, 2]
    with pytest.raises(ValueError, match="-1"):
        ds.limit(-1)


def test_random_samples_repeat_with_their_seed(anywhere: str) -> None:
    ds = data.range(10_000, parallelism=4)
    first = ds.random_sample(0.1, seed=5).take_all()
    assert first == ds.random_sample(0.1, seed=5).take_all()
    assert first != ds.random_sample(0.1, seed=6).take_all()
    assert 800 < len(first) < 1200 and first == sorted(first)


def test_take_batch_and_take_all(anywhere: str) -> None:
    ds = data.range_table(100)
    assert list(ds.take_batch(3)["value"]) == [0, 1, 2]
    with pytest.raises(ValueError, match="more than 10 rows"):
        ds.take_all(limit=10)
    with pytest.raises(ValueError, match="empty"):
        ds.limit(0).take_batch()


def test_empty_data_is_no_error(anywhere: str) -> None:
    ds = data.from_items([])
    assert ds.take_all() == [] and ds.count() == 0
    assert ds.map(lambda x: x).filter(lambda x: True).take_all() == []
    assert data.range(0).map_batches(lambda b: b).count() == 0


def test_a_dataset_may_be_used_twice_and_in_itself(anywhere: str) -> None:
    ds = data.range(10, parallelism=2).map(lambda x: x + 1)
    both = ds.union(ds)
    assert both.take_all() == [*range(1, 11)] * 2
    assert ds.take_all() == both.limit(10).take_all()


def test_schemas_and_formats(anywhere: str) -> None:
    assert data.range(3).schema() is int
    assert data.from_items(["a"]).schema() is str
    assert data.range(3).dataset_format() == "simple"
    table = data.range_table(3)
    assert table.schema().names == ["value"] and table.dataset_format() == "arrow"
    assert table.map(lambda row: {"v": str(row["value"])}).schema().names == ["v"]
    assert data.from_items([]).schema() is None


def test_materialize_computes_once(anywhere: str, tmp_path: Any) -> None:
    def note(x: int) -> int:
        (tmp_path / f"{x}-{os.getpid()}-{os.urandom(4).hex()}").touch()
        return x

    kept = data.range(5).map(note).materialize()
    assert kept.take_all() == kept.take_all() == list(range(5))
    assert len(list(tmp_path.iterdir())) == 5
    lazy = data.range(5).map(note)
    assert lazy.fully_executed() is lazy and lazy.is_fully_executed()
    lazy.take_all()
    assert len(list(tmp_path.iterdir())) == 10


def test_functions_do_not_share_state_with_the_driver(anywhere: str) -> None:
    seen: list[int] = []

    def note(x: int) -> int:
        seen.append(x)
        return len(seen)

    assert data.range(3, parallelism=1).map(note).take_all() == [1, 2, 3]
    assert seen == []


def test_what_cannot_be_sent_is_named(anywhere: str) -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(TypeError, match="lock"):
        data.range(3).map(lambda x: lock and x).take_all()


def test_statistics_and_timeline(anywhere: str, tmp_path: Any) -> None:
    ds = data.range(1000, parallelism=4).map(lambda x: x)
    assert "not been executed" in ds.stats()
    ds.take_all()
    assert "Map(<lambda>)" in ds.stats() and "1,000 total" in ds.stats()
    ds.save_timeline(tmp_path / "timeline.json")
    assert (tmp_path / "timeline.json").stat().st_size > 100


def test_statistics_are_logged_when_asked_for(context: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="aktis.data")
    data.range(10).map(lambda x: x).take_all()
    assert "Map(<lambda>)" not in caplog.text
    context.enable_auto_log_stats = True
    data.range(10).map(lambda x: x).take_all()
    assert "Map(<lambda>)" in caplog.text


def test_len_iter_and_bool_say_what_to_do() -> None:
    ds = data.range(3)
    assert ds
    with pytest.raises(AttributeError, match="count"):
        len(ds)
    with pytest.raises(TypeError, match="iter_rows"):
        iter(ds)
