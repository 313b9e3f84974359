"""Frames that blocks were made of come back without a copy, and nobody can change a block through them."""

from __future__ import annotations

import datetime
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from aktis import data
from aktis.data._blocks import compact, concat, frames, from_batch, slice_rows, to_batch

copies_on_write = pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="pandas copies on write from 3.0 on")


def numbers() -> pd.DataFrame:
    return pd.DataFrame({"a": np.arange(4), "b": [0.5, np.nan, 2.5, 3.5], "c": [True, False, True, True]})


def times() -> pd.DataFrame:
    days = pd.date_range("2024-02-28", periods=3)
    return pd.DataFrame({"t": days, "n": [days[0], None, days[2]], "d": days - days[0]}).astype({"t": "datetime64[ns]"})


FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "numbers": numbers,
    "times": times,
    "small numbers": lambda: numbers().astype({"a": "int8", "b": "float32"}),
    "half precision": lambda: numbers().astype({"b": "float16"}),
    "strings": lambda: pd.DataFrame({"s": ["a", None, "ccc"]}),
    "objects": lambda: pd.DataFrame({"o": [1, "a", None], "p": [b"x", b"y", None]}),
    "nullable": lambda: pd.DataFrame({"i": pd.array([1, None, 3], "Int64"), "f": pd.array([1.5, None, 3], "Float32")}),
    "categories": lambda: pd.DataFrame({"k": pd.Categorical(["x", "y", "x"])}),
    "a time zone": lambda: times().assign(z=pd.date_range("2024-01-01", periods=3, tz="Europe/Paris")),
    "dates": lambda: pd.DataFrame({"d": [datetime.date(2024, 1, 1), None]}),
    "an index": lambda: numbers().set_index(pd.Index(list("wxyz"), name="w")),
    "a name for the columns": lambda: numbers().rename_axis(columns="measures"),
    "rows left out": lambda: numbers()[::2],
    "transposed": lambda: pd.DataFrame(np.arange(6.0).reshape(3, 2).T, columns=list("xyz")),
    "big endian": lambda: pd.DataFrame({"a": np.arange(3).astype(">i8"), "t": np.array([1, 2, 3], ">M8[ns]")}),
    "no rows": lambda: numbers()[:0],
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_a_frame_comes_back_as_arrow_would_give_it(make: Callable[[], pd.DataFrame]) -> None:
    frame = make()
    frame.attrs["source"] = "a test"
    block = from_batch(frame)
    block.validate(full=True)
    found = to_batch(block, "pandas")
    same = pa.Table.from_arrays(block.columns, schema=block.schema)  # which nobody remembers
    expected = to_batch(same, "pandas")
    assert_frame_equal(found, expected, check_index_type="exact", check_column_type="exact")
    assert not found.attrs and found.columns.name is None


@copies_on_write
def test_a_frame_comes_back_without_a_copy() -> None:
    frame = numbers()
    frame["s"] = ["a", "b", None, "d"]
    block = from_batch(frame)
    for name in "abc":
        assert np.shares_memory(to_batch(block, "pandas")[name].to_numpy(), frame[name].to_numpy())
    assert to_batch(slice_rows(block, 0, 4), "pandas") is not to_batch(block, "pandas")
    for passed_on in (slice_rows(block, 0, 4), compact(block), concat([block])):
        assert np.shares_memory(to_batch(passed_on, "pandas")["a"].to_numpy(), frame["a"].to_numpy())


def test_other_frames_are_not_remembered() -> None:
    class Special(pd.DataFrame):
        pass

    for frame in (Special({"a": [1]}), pd.DataFrame({"a": [{"x": 1}]}), pd.DataFrame({"a": pd.array([1], "Int64")})):
        assert frames.remembered(from_batch(frame)) is None


def test_nothing_is_remembered_of_a_block_that_is_gone() -> None:
    before = len(frames._remembered)
    blocks = [from_batch(numbers()) for _ in range(5)]
    del blocks
    gc.collect()
    assert len(frames._remembered) == before


@copies_on_write
@pytest.mark.parametrize("column", ["a", "b", "t", "n"])
def test_writing_to_a_frame_changes_no_block(column: str) -> None:
    frame = pd.concat([numbers()[:3], times()], axis=1)
    value = pd.Timestamp(0) if column in "tn" else 77
    block = from_batch(frame)
    rest = block.select([column]).slice(1)
    expected = rest.to_pydict()
    first, second = to_batch(block, "pandas"), to_batch(block, "pandas")
    frame.loc[1, column] = value
    assert block.slice(1)[column].to_pylist() == expected[column]
    first.iloc[1, list(frame.columns).index(column)] = value
    assert block.slice(1)[column].to_pylist() == expected[column]
    assert to_batch(block, "pandas")[column][1] is not value and second[column].tolist() != first[column].tolist()
    del block, frame, first
    gc.collect()
    second.loc[1, column] = value  # now it is the only frame, but the rest of the block is still there
    assert second[column][1] == value
    assert rest.to_pydict() == expected


@copies_on_write
def test_writing_to_a_series_changes_no_block() -> None:
    series = pd.Series([1.5, np.nan])
    block = from_batch({"x": series, "y": series.index})
    series.iloc[0] = 77
    assert block.to_pydict() == {"x": [1.5, None], "y": [0, 1]}


@copies_on_write
def test_a_function_may_go_on_with_the_frame_that_it_has_returned() -> None:
    def counted(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
        for i in range(3):
            frame.loc[:, "id"] = i
            yield frame

    ds = data.range(2, parallelism=1).map_batches(lambda items: pd.DataFrame({"id": items}))
    rows = ds.map_batches(counted, batch_format="pandas").take_all()
    assert [row["id"] for row in rows] == [0, 0, 1, 1, 2, 2]


def test_what_to_pandas_gave_can_be_changed() -> None:
    def make(items: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"id": items, "half": np.array(items) / 2})

    ds = data.range(6, parallelism=1).map_batches(make).materialize()
    frame: Any = ds.to_pandas()
    ids = ds.select_columns(["id"]).materialize()
    frame["id"] += 1
    frame.loc[0, "half"] = 100.0
    assert frame["id"].tolist() == [1, 2, 3, 4, 5, 6]
    assert ds.to_pandas()["half"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    again = ds.to_pandas()
    del ds
    again.loc[0, "id"] = 100
    assert [row["id"] for row in ids.take_all()] == list(range(6))
