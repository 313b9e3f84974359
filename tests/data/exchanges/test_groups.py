"""Groups of rows, and functions of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import column_of, items, rows_of, run_exchange, split

from aktis.data._exchanges import group_rows as group_rows_module
from aktis.data._exchanges._hashing import hash_partitions
from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.group_rows import GroupRows
from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.apply_groups import ApplyGroups
from aktis.data._transforms.user_code import UserFunction
from aktis.data.context import DatasetContext
from aktis.data.exceptions import UserFunctionError


@pytest.fixture(autouse=True)
def _big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as big: several partitions, whatever the size."""
    monkeypatch.setattr(group_rows_module, "SMALL_BYTES", -1)
    monkeypatch.setattr(group_rows_module, "partitions_for", lambda size, target: 3)


def by(key: Any, **options: Any) -> GroupRows:
    return GroupRows(make_keys(key, operation="groupby()") if key is not None else (), **options)


def map_groups(blocks: list[pa.Table], key: Any, fn: Any, batch_format: str = "pandas") -> list[Any]:
    keys = make_keys(key, operation="groupby()") if key is not None else ()
    apply = ApplyGroups(keys, UserFunction(fn), batch_format)
    apply.setup()
    return rows_of(list(apply(iter(run_exchange(by(key), blocks)), TaskContext("test", 0, DatasetContext()))))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.sampled_from([math.nan, 0.0, -0.0, 1.0, 2.0, 3.0])), st.sampled_from("ab")),
        max_size=30,
    ),
    st.lists(st.integers(0, 9), max_size=4),
)
def test_groups_are_whole_and_in_order(rows: list[tuple[Any, str]], sizes: list[int]) -> None:
    table = pa.table(
        {
            "k": pa.array([row[0] for row in rows], pa.float64(), from_pandas=False),
            "s": pa.array([row[1] for row in rows], pa.string()),
            "row": pa.array(range(len(rows)), pa.int64()),
        }
    )
    output = run_exchange(by(["k", "s"]), split(table, sizes))
    null = lambda k: k is None or k != k
    expected = sorted(
        range(len(rows)), key=lambda i: (null(rows[i][0]), 0 if null(rows[i][0]) else rows[i][0], rows[i][1], i)
    )
    assert column_of(output, "row") == expected
    homes: dict[Any, int] = {}
    for number, block in enumerate(output):
        for i in block["row"].to_pylist():
            key = (None if null(rows[i][0]) else rows[i][0], rows[i][1])
            assert homes.setdefault(key, number) == number, "a group is in one block"


def test_a_function_gets_each_group_once() -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {"k": pa.array(random.integers(0, 40, 1000), mask=random.random(1000) < 0.1), "x": np.arange(1000)}
    )
    calls: list[int] = []

    def fn(group: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(group))
        assert group["k"].nunique(dropna=False) == 1
        assert group["x"].is_monotonic_increasing
        return pd.DataFrame({"k": group["k"].iloc[:1], "n": [len(group)]})

    rows = map_groups(split(table, [300, 0, 300]), "k", fn)
    expected = table.to_pandas().groupby("k", dropna=False).size()
    assert sorted(calls) == sorted(expected.tolist())
    assert [row["n"] for row in rows] == expected.tolist()


def test_items_and_all_rows() -> None:
    assert map_groups(items([1, 2, 3], [4]), lambda x: x % 2, lambda group: [sum(group)], "native") == [6, 4]
    assert map_groups(items([1, 2, 3], [4]), None, lambda group: [len(group)], "native") == [4]


def test_generators_give_several_batches() -> None:
    def halves(group: pd.DataFrame) -> Any:
        yield group.head(1)
        yield group.tail(1)

    table = pa.table({"k": [1, 2, 1], "x": [5, 6, 7]})
    assert [row["x"] for row in map_groups([table], "k", halves)] == [5, 7, 6, 6]


def test_keys_that_cannot_be_compared_are_grouped_by_hash() -> None:
    blocks = items([1, "a", None, (1, 2)], ["a", (1, 2), 1, None])
    counted = map_groups(blocks, lambda x: x, lambda group: [(group[0], len(group))], "native")
    assert sorted(counted, key=str) == sorted([(1, 2), ("a", 2), (None, 2), ((1, 2), 2)], key=str)


def test_errors_name_the_group() -> None:
    table = pa.table({"k": ["x", "y"], "v": [1, 0]})
    with pytest.raises(ZeroDivisionError, match="group 'y'") as caught:
        map_groups([table], "k", lambda group: [1 // int(group["v"].iloc[0])])
    assert isinstance(caught.value, UserFunctionError)
    assert "group 'y'" in caught.value.origin
    with pytest.raises(ValueError, match="no column 'z'"):
        run_exchange(by("z"), [table])


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3, 1, 2**62] * 20),
        pa.array([0.0, math.nan, -0.0, 1.5, None] * 20, from_pandas=False),
        pa.array(["a", "b", None, "", "é"] * 20),
        pa.array([True, False, None, True, True] * 20),
        pa.array([1, 2, 3, None, 5] * 20, pa.timestamp("us")),
        [1, 1.0, None, "a", (1, "b")] * 20,
    ],
)
def test_hashes_do_not_depend_on_the_block(values: Any) -> None:
    column = values if isinstance(values, list) else pa.chunked_array([values])
    whole = hash_partitions([column], 7)
    assert set(whole.tolist()) <= set(range(7))
    parts = [hash_partitions([column[i : i + 7]], 7) for i in range(0, 100, 7)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_hashes_spread() -> None:
    for values in (
        pa.array(range(10_000)),
        pa.array([float(i) for i in range(10_000)]),
        pa.array([f"{i}" for i in range(10_000)]),
    ):
        assert np.bincount(hash_partitions([pa.chunked_array([values])], 10)).min() > 800
