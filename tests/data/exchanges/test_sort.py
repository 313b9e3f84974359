"""Sorting, against pandas."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import column_of, items, rows_of, run_exchange, split

from aktis.data._exchanges import sort as sort_module
from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.sort import Sort
from aktis.data.exceptions import UserFunctionError


@pytest.fixture(autouse=True)
def _big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as big: several partitions, whatever the size."""
    monkeypatch.setattr(sort_module, "SMALL_BYTES", -1)
    monkeypatch.setattr(sort_module, "partitions_for", lambda size, target: 4)


def sort(key: Any, descending: Any = False, **options: Any) -> Sort:
    return Sort(make_keys(key, descending, operation="sort"), **options)


def spell(values: list[Any]) -> list[Any]:
    return ["NaN" if isinstance(value, float) and math.isnan(value) else value for value in values]


COLUMNS = {
    "int": st.one_of(st.none(), st.integers(-4, 4), st.integers(-(2**63), 2**63 - 1)),
    "float": st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, -1.5, math.nan])),
    "str": st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab", "é", "zz"]), st.text(max_size=3)),
    "bool": st.one_of(st.none(), st.booleans()),
    "date": st.one_of(st.none(), st.dates(datetime.date(1960, 1, 1), datetime.date(2030, 1, 1))),
    "stamp": st.one_of(st.none(), st.datetimes(datetime.datetime(1960, 1, 1), datetime.datetime(2030, 1, 1))),
    "decimal": st.one_of(st.none(), st.integers(-9999, 9999).map(lambda i: decimal.Decimal(i) / 100)),
}
TYPES = {
    "int": pa.int64(), "float": pa.float64(), "str": pa.string(), "bool": pa.bool_(), "date": pa.date32(),
    "stamp": pa.timestamp("us"), "decimal": pa.decimal128(10, 2),
}  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[str], list[bool], list[int]]:
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(0, 40))
    columns = {name: draw(st.lists(COLUMNS[name], min_size=rows, max_size=rows)) for name in names}
    table = pa.table({name: pa.array(values, TYPES[name], from_pandas=False) for name, values in columns.items()})
    table = table.append_column("row", pa.array(range(rows), pa.int64()))
    descending = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    return table, names, descending, draw(st.lists(st.integers(0, 12), max_size=4))


def expected_rows(table: pa.Table, names: list[str], descending: list[bool]) -> list[int]:
    """Stable sorts with pandas, least significant key first; NaN and null at the end, in this order."""
    order = pd.Series(range(table.num_rows), dtype="int64")
    for name, down in reversed(list(zip(names, descending))):
        values = table.column(name).to_pylist()
        kinds = [2 if v is None else 1 if isinstance(v, float) and math.isnan(v) else 0 for v in values]
        plain = [i for i in order if kinds[i] == 0]
        ranked = pd.Series([values[i] for i in plain], index=plain, dtype=object)
        plain = list(ranked.sort_values(kind="stable", ascending=not down).index) if plain else []
        order = pd.Series(
            plain + [i for i in order if kinds[i] == 1] + [i for i in order if kinds[i] == 2], dtype="int64"
        )
    return list(order)


@settings(max_examples=150, deadline=None)
@given(tables(), st.booleans())
def test_sort_agrees_with_pandas(case: tuple[pa.Table, list[str], list[bool], list[int]], use_polars: bool) -> None:
    table, names, descending, sizes = case
    output = run_exchange(sort(names, descending, use_polars=use_polars), split(table, sizes))
    assert column_of(output, "row") == expected_rows(table, names, descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("kind", ["int64", "float64", "datetime64[us]", "str"])
def test_big_columns(kind: str, descending: bool) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 60_000, 120_000).astype(kind)
    table = pa.table({"x": values, "row": np.arange(len(values))})
    output = run_exchange(sort("x", descending), split(table, [30_000, 0, 30_000, 59_000]))
    frame = table.to_pandas().sort_values("x", kind="stable", ascending=not descending)
    assert column_of(output, "row") == frame["row"].tolist()
    sizes = [block.num_rows for block in output]
    assert len(sizes) == 4
    assert min(sizes) > 20_000, "partitions are balanced"


@pytest.mark.parametrize("descending", [False, True])
def test_polars_and_arrow_agree_on_nan_and_null(descending: bool) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=60_000)
    values[::7] = np.nan
    column = pa.array(values, mask=random.random(60_000) < 0.1, from_pandas=False)
    table = pa.table({"x": column, "row": np.arange(60_000)})
    orders = [column_of(run_exchange(sort("x", descending, use_polars=flag), [table]), "row") for flag in (False, True)]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("descending", [[False, True, False], [True, False, True]])
def test_big_tables_with_several_keys(descending: list[bool]) -> None:
    """Keys that are packed into one number sort as they do one by one."""
    random = np.random.default_rng(4)
    rows = 60_000
    table = pa.table(
        {
            "a": pa.array(random.integers(-3, 3, rows), mask=random.random(rows) < 0.1),
            "b": pa.array(random.integers(0, 50, rows).astype("datetime64[s]"), mask=random.random(rows) < 0.1),
            "c": pa.array(random.random(rows) < 0.5),
            "row": np.arange(rows),
        }
    )
    fast, plain = (
        column_of(run_exchange(sort(["a", "b", "c"], descending, use_polars=flag), [table]), "row")
        for flag in (True, False)
    )
    assert fast == plain


def test_a_key_that_fills_partitions() -> None:
    """One value in 90% of the rows: it gets partitions of its own, and the order stays stable."""
    random = np.random.default_rng(2)
    values = np.where(random.random(40_000) < 0.9, 5, random.integers(0, 10_000, 40_000))
    table = pa.table({"x": values, "row": np.arange(40_000)})
    output = run_exchange(sort("x"), split(table, [10_000] * 3))
    assert column_of(output, "row") == table.to_pandas().sort_values("x", kind="stable")["row"].tolist()
    assert max(block.num_rows for block in output) < 20_000, "equal keys are dealt out over several partitions"


def test_one_value_everywhere() -> None:
    table = pa.table({"x": [1] * 4000, "row": range(4000)})
    output = run_exchange(sort("x", True), split(table, [1000] * 3))
    assert column_of(output, "row") == list(range(4000))
    assert max(block.num_rows for block in output) <= 2000


def test_no_partition_is_wasted() -> None:
    table = pa.table({"x": np.random.default_rng(0).permutation(8000)})
    assert all(block.num_rows > 1000 for block in run_exchange(sort("x"), split(table, [2000] * 3)))


def test_boundaries() -> None:
    blocks = split(pa.table({"x": [15, 3, 30, 10, 20, 9, None]}), [3])
    up = run_exchange(sort("x", boundaries=[10, 20]), blocks)
    assert [block["x"].to_pylist() for block in up] == [[3, 9], [10, 15], [20, 30, None]]
    down = run_exchange(sort("x", True, boundaries=[10, 20]), blocks)
    assert [block["x"].to_pylist() for block in down] == [[30, 20], [15, 10], [9, 3, None]]
    with pytest.raises(ValueError, match="boundaries"):
        run_exchange(sort("x", boundaries=[(1, 2)]), blocks)


def test_blocks_of_other_types_and_empty_ones() -> None:
    blocks = [pa.table({"x": [3, 1]}), pa.table({}), pa.table({"x": [2.5, None]}), pa.table({"x": pa.nulls(1)})]
    assert column_of(run_exchange(sort("x"), blocks), "x") == [1.0, 2.5, 3.0, None, None]


def test_encoded_columns() -> None:
    words = pa.array(["b", None, "a", "c"]).dictionary_encode()
    assert column_of(run_exchange(sort("x"), [pa.table({"x": words})] * 2), "x") == [
        "a",
        "a",
        "b",
        "b",
        "c",
        "c",
        None,
        None,
    ]


def test_items_sort_by_themselves_or_by_a_function() -> None:
    blocks = items([3, -1], [2, -5])
    assert rows_of(run_exchange(sort(None), blocks)) == [-5, -1, 2, 3]
    assert rows_of(run_exchange(sort(abs, True), blocks)) == [-5, 3, 2, -1]
    pairs = run_exchange(sort(lambda x: (x % 2, x)), items([5, 2, 7], [4, 1]))
    assert rows_of(pairs) == [2, 4, 1, 5, 7]


def test_errors_say_what_is_wrong() -> None:
    table = pa.table({"x": [1, 2], "y": [[1], [2]]})
    with pytest.raises(ValueError, match=r"no column 'z'.*'x', 'y'"):
        run_exchange(sort("z"), [table])
    with pytest.raises(ValueError, match="takes the name of a column"):
        run_exchange(sort(lambda row: row), [table])
    with pytest.raises(ValueError, match="plain Python objects"):
        run_exchange(sort("x"), items([1, 2]))
    with pytest.raises(ValueError, match="int64, string|string, int64"):
        run_exchange(sort("x"), [table, pa.table({"x": ["a"]})])
    with pytest.raises(ValueError, match="2 keys but 1 values"):
        sort(["x", "y"], [True])
    with pytest.raises(ValueError, match="more than once"):
        sort(["x", "x"])
    with pytest.raises(ZeroDivisionError) as caught:
        run_exchange(sort(lambda x: 1 / x), items([1, 0]))
    assert isinstance(caught.value, UserFunctionError)
    with pytest.raises(ValueError, match="no common order"):
        run_exchange(sort(lambda x: 1 if x == 1 else "a"), items([1, 2]))
