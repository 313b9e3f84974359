"""The methods of Dataset and GroupedData, on small plans that run in this process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aktis.data
from aktis.data.aggregate import AggregateFn, Count, Max, Mean, Quantile, Sum
from aktis.data.exceptions import UserFunctionError
from aktis.data.grouped_dataset import GroupedData, GroupedDataset


def table(rows: int = 30) -> aktis.data.Dataset:
    return aktis.data.from_items([{"k": i % 3, "x": float(i), "s": f"s{i % 4}"} for i in range(rows)], parallelism=5)


def test_repartition() -> None:
    ds = aktis.data.range(100, parallelism=7)
    assert ds.repartition(4).num_blocks() == 4
    assert ds.repartition(4).take_all() == list(range(100))
    assert ds.repartition(target_num_rows_per_block=30).num_blocks() == 4
    shuffled = ds.repartition(5, shuffle=True)
    assert shuffled.num_blocks() == 5
    assert sorted(shuffled.take_all()) == list(range(100))
    by_key = table().repartition(2, keys="k").materialize()
    homes = [set(block["k"].to_pylist()) for block in by_key._blocks()]
    assert sum(len(home) for home in homes) == 3
    with pytest.raises(ValueError, match="either num_blocks or"):
        ds.repartition()
    with pytest.raises(ValueError, match="needs keys="):
        ds.repartition(3, sort=True)


def test_shuffles() -> None:
    ds = aktis.data.range(200, parallelism=4)
    first = ds.random_shuffle(seed=3).take_all()
    assert first == ds.random_shuffle(seed=3).take_all() != list(range(200))
    assert sorted(first) == list(range(200))
    unseeded = ds.random_shuffle()
    assert unseeded.take_all() == unseeded.take_all(), "a dataset gives the same rows each time"
    assert ds.random_shuffle(num_blocks=3).num_blocks() == 3
    blocks = ds.randomize_block_order(seed=1)
    assert sorted(blocks.take_all()) == list(range(200))
    assert blocks.num_blocks() == 4


def test_sorts() -> None:
    ds = table()
    assert [row["x"] for row in ds.sort("x", descending=True).take(3)] == [29.0, 28.0, 27.0]
    rows = ds.sort(["k", "x"], [True, False]).take(2)
    assert [(row["k"], row["x"]) for row in rows] == [(2, 2.0), (2, 5.0)]
    assert ds.sort("x", boundaries=[10, 20]).num_blocks() == 3
    assert aktis.data.from_items([3, 1, 2]).sort().take_all() == [1, 2, 3]
    assert aktis.data.from_items([3, 1, 2]).sort(lambda x: -x).take_all() == [3, 2, 1]
    assert aktis.data.from_items([(1, "b"), (0, "c")]).sort(lambda pair: pair[0]).take_all() == [(0, "c"), (1, "b")]
    with pytest.raises(ValueError, match="no column 'nope'"):
        ds.sort("nope").take_all()


def test_zip() -> None:
    numbers = aktis.data.range(10, parallelism=3)
    assert numbers.zip(numbers.map(lambda x: x * x)).take(3) == [(0, 0), (1, 1), (2, 4)]
    both = table(6).zip(table(6).map(lambda row: {"x": -row["x"], "y": 1}))
    assert both.take(2)[1] == {"k": 1, "x": 1.0, "s": "s1", "x_1": -1.0, "y": 1}
    with pytest.raises(ValueError, match="equal length, got 10 and 9"):
        numbers.zip(aktis.data.range(9)).take_all()


def test_global_aggregates() -> None:
    ds = table()
    assert ds.sum("x") == 435.0
    assert ds.min("x") == 0.0
    assert ds.max(["x", "k"]) == {"max(x)": 29.0, "max(k)": 2}
    assert ds.mean("k") == 1.0
    assert math.isclose(ds.std("x"), float(np.std(np.arange(30), ddof=1)))
    assert ds.drop_columns(["s"]).sum() == {"sum(k)": 30, "sum(x)": 435.0}
    assert ds.aggregate(Count()) == 30
    assert ds.aggregate(Sum("x"), Quantile("x"), Sum("x")) == {"sum(x)": 435.0, "quantile(x)": 14.5, "sum(x)_2": 435.0}
    numbers = aktis.data.range(10)
    assert (numbers.sum(), numbers.min(), numbers.max(), numbers.mean()) == (45, 0, 9, 4.5)
    assert numbers.sum(lambda x: x % 2) == 5
    assert type(numbers.sum()) is int
    with pytest.raises(ValueError, match="cannot compute sum of values of type string"):
        ds.sum("s")
    with pytest.raises(ValueError, match="names no column"):
        ds.sum([])


def test_aggregates_of_nothing() -> None:
    nothing = aktis.data.range(10).filter(lambda x: x > 100)
    assert (nothing.sum(), nothing.min(), nothing.mean(), nothing.std()) == (None, None, None, None)
    assert nothing.aggregate(Count()) == 0
    assert nothing.groupby(lambda x: x).count().take_all() == []


@pytest.mark.parametrize("ignore_nulls", [True, False])
def test_nulls_of_frames_and_tables_are_the_same(ignore_nulls: bool) -> None:
    frame = pd.DataFrame({"x": [1.0, None, 3.0]})
    arrow = pa.table({"x": pa.array([1.0, math.nan, 3.0], from_pandas=False)})
    for ds in (aktis.data.from_pandas(frame), aktis.data.from_arrow(arrow)):
        assert ds.sum("x", ignore_nulls=ignore_nulls) == (4.0 if ignore_nulls else None)
        assert ds.mean("x", ignore_nulls=ignore_nulls) == (2.0 if ignore_nulls else None)


def test_groups() -> None:
    grouped = table().groupby("k")
    assert grouped.count().take_all() == [{"k": k, "count()": 10} for k in range(3)]
    assert grouped.sum("x").take_all() == [{"k": k, "sum(x)": 135.0 + 10 * k} for k in range(3)]
    assert [row["mean(x)"] for row in grouped.mean(["x"]).take_all()] == [13.5, 14.5, 15.5]
    assert [row["max(x)"] for row in grouped.max("x").take_all()] == [27.0, 28.0, 29.0]
    assert [row["min(x)"] for row in grouped.min("x").take_all()] == [0.0, 1.0, 2.0]
    assert grouped.std("x", ddof=0).columns() == ["k", "std(x)"]
    by_two = table().groupby(["k", "s"]).aggregate(Count(), Mean("x"))
    expected = pd.DataFrame(table().take_all()).groupby(["k", "s"])["x"].agg(["size", "mean"])
    assert [tuple(row.values()) for row in by_two.take_all()] == list(
        expected.reset_index().itertuples(index=False, name=None)
    )
    assert table().groupby(None).count().take_all() == [{"count()": 30}]
    assert repr(grouped) == "GroupedData(keys=[column 'k'])"
    assert GroupedDataset is GroupedData


def test_groups_of_items() -> None:
    ds = aktis.data.range(10, parallelism=3)
    assert ds.groupby(lambda x: x % 3).count().take_all() == [(0, 4), (1, 3), (2, 3)]
    assert ds.groupby(lambda x: x % 2).sum(lambda x: 10 * x).take_all() == [(0, 200), (1, 250)]
    assert ds.groupby(lambda x: x % 2).aggregate(Sum(), Max()).take_all() == [(0, 20, 8), (1, 25, 9)]


def test_a_function_of_your_own_by_group() -> None:
    longest = AggregateFn(
        init=lambda key: "",
        accumulate_row=lambda a, row: max(a, f"{row['x']:g}", key=len),
        merge=lambda a, b: max(a, b, key=len),
        name="longest",
    )
    assert table().groupby("k").aggregate(longest).take_all() == [
        {"k": 0, "longest": "12"},
        {"k": 1, "longest": "10"},
        {"k": 2, "longest": "11"},
    ]


def test_map_groups() -> None:
    def normalise(group: pd.DataFrame) -> pd.DataFrame:
        return group.assign(x=group["x"] - group["x"].mean())

    rows = table().groupby("k").map_groups(normalise).take_all()
    assert [row["k"] for row in rows] == sorted(row["k"] for row in rows)
    assert sum(row["x"] for row in rows) == 0.0

    def size(group: Any, factor: int, *, plus: int) -> dict[str, np.ndarray]:
        return {"n": np.array([len(group["x"]) * factor + plus])}

    sized = table().groupby("k").map_groups(size, batch_format="numpy", fn_args=[2], fn_kwargs={"plus": 1})
    assert sized.take_all() == [{"n": 21}] * 3
    lists = aktis.data.range(6).groupby(lambda x: x % 2).map_groups(lambda group: [sum(group)])
    assert lists.take_all() == [6, 9]
    with pytest.raises(UserFunctionError, match="group 1") as caught:
        table().groupby("k").map_groups(lambda group: 1 / 0 if group["k"].iloc[0] == 1 else group).take_all()
    assert isinstance(caught.value, ZeroDivisionError)
    assert "group 1" in caught.value.origin


def test_join() -> None:
    names = aktis.data.from_items([{"id": 0, "name": "zero"}, {"id": 1, "name": "one"}])
    joined = table(4).join(names, "left_outer", 2, on="k", right_on="id").sort("x").take_all()
    assert [row["name"] for row in joined] == ["zero", "one", None, "zero"]
    assert table(6).join(names, "left_anti", on=("k",), right_on=("id",)).count() == 2
    with pytest.raises(ValueError, match="cannot be compared"):
        table(4).join(names, on="k", right_on="name", validate_schemas=True)


def test_unique_and_summary() -> None:
    ds = aktis.data.from_items([{"x": 2, "s": "b"}, {"x": None, "s": "a"}, {"x": 1, "s": "b"}])
    assert ds.unique("x") == [1, 2, None]
    assert aktis.data.from_items([3, 1, 3]).unique() == [1, 3]
    summary = ds.summary()
    assert summary["x"] == {
        "type": "int64", "count": 2, "missing": 1, "mean": 1.5, "std": math.sqrt(0.5), "min": 1, "max": 2,
        "25%": 1.25, "50%": 1.5, "75%": 1.75,
    }  # fmt: skip
    assert summary["s"] == {
        "type": "string", "count": 3, "missing": 0, "min": "a", "max": "b", "distinct": 2, "top": "b", "top_count": 2,
    }  # fmt: skip
    assert repr(summary).splitlines()[0] == "3 rows"
    assert list(summary.to_pandas()["column"]) == ["x", "s"]
    assert ds.summary(["x"]).columns == ["x"]
    with pytest.raises(ValueError, match="no column 'y'"):
        ds.summary(["y"])
