"""Aggregations, global and by group, against pandas."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.exchanges.harness import items, rows_of, run_exchange, split

from aktis.data._blocks import Block, from_rows
from aktis.data._exchanges import aggregate as aggregate_module
from aktis.data._exchanges._groups import Groups
from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.aggregate import Aggregate, Aggregation
from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.partial_aggregate import PartialAggregate
from aktis.data.aggregate import (
    AbsMax,
    AggregateFn,
    AggregateFnV2,
    ApproximateQuantile,
    ApproximateTopK,
    AsList,
    Count,
    CountDistinct,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Quantile,
    Std,
    Sum,
    Unique,
    ValueCounter,
    ZeroPercentage,
)
from aktis.data.context import DatasetContext
from aktis.data.exceptions import SchemaError, UserFunctionError

NAN = math.nan


def aggregate(blocks: list[Block], key: Any, *aggregates: AggregateFn, per_task: int = 2) -> list[Any]:
    """Rows of the result. Each task gets ``per_task`` blocks."""
    keys = make_keys(key, operation="groupby()") if key is not None else ()
    aggregation = Aggregation(keys, aggregates)
    transform = PartialAggregate(aggregation)
    states: list[Block] = []
    for i in range(0, len(blocks), per_task):
        states += transform(iter(blocks[i : i + per_task]), TaskContext("test", i, DatasetContext()))
    return rows_of(run_exchange(Aggregate(aggregation), states))


def total(blocks: list[Block], *aggregates: AggregateFn) -> Any:
    [row] = aggregate(blocks, None, *aggregates)
    return row if len(row) > 1 else next(iter(row.values()))


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything counts as big: several partitions, whatever the size."""
    monkeypatch.setattr(aggregate_module, "SMALL_BYTES", -1)
    monkeypatch.setattr(aggregate_module, "partitions_for", lambda size, target: 3)


numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, NAN, 1.5]),
    st.floats(-1e6, 1e6),
)
keys = st.one_of(st.none(), st.integers(-2, 3))
float_keys = st.one_of(st.none(), st.sampled_from([NAN, 0.0, -0.0, 1.5, -2.0]))
words = st.one_of(st.none(), st.sampled_from(["a", "b", ""]))


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[str], list[int]]:
    rows = draw(st.integers(0, 30))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind, from_pandas=False)

    table = pa.table(
        {
            "i": column(keys, pa.int64()),
            "f": column(float_keys, pa.float64()),
            "s": column(words, pa.string()),
            "x": column(numbers, pa.float64()),
            "n": column(st.one_of(st.none(), st.integers(-(2**40), 2**40)), pa.int64()),
        }
    )
    by = draw(st.lists(st.sampled_from(["i", "f", "s"]), min_size=0, max_size=3, unique=True))
    return table, by, draw(st.lists(st.integers(0, 10), max_size=5))


def reference(rows: list[Any], what: str, ignore_nulls: bool) -> Any:
    plain = [value for value in rows if value is not None and value == value]
    if not plain or (not ignore_nulls and len(plain) < len(rows)):
        return None
    if what == "std" and len(plain) == 1:
        return 0.0
    if what == "abs_max":
        return max(map(abs, plain))
    return getattr(pd.Series(plain), what)()


def close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(tables(), st.booleans())
def test_numbers_agree_with_pandas(case: tuple[pa.Table, list[str], list[int]], ignore_nulls: bool) -> None:
    table, by, sizes = case
    wanted = {"sum": Sum, "min": Min, "max": Max, "mean": Mean, "std": Std, "abs_max": AbsMax, "median": Quantile}
    aggregates = [
        make(column, ignore_nulls=ignore_nulls, alias_name=f"{what} {column}")
        for column in ("x", "n")
        for what, make in wanted.items()
    ]
    rows = aggregate(split(table, sizes), by or None, Count(), *aggregates)
    frame = pd.DataFrame(
        {name: pd.Series(table.column(name).to_pylist(), dtype=object) for name in by}, index=range(table.num_rows)
    )
    groups: list[tuple[Any, Any]] = [((), range(table.num_rows))]
    if by:
        found = frame.groupby(
            [frame[name].map(lambda v: None if v != v else v) for name in by], dropna=False, sort=False
        ).indices
        groups = [(key if isinstance(key, tuple) else (key,), part) for key, part in found.items()]
        groups.sort(key=lambda group: [(pd.isna(key), 0 if pd.isna(key) else key) for key in group[0]])
    assert len(rows) == len(groups)
    columns = {name: table.column(name).to_pylist() for name in ("x", "n")}
    for row, (key, part) in zip(rows, groups):
        assert [row[name] for name in by] == [None if pd.isna(k) else k for k in key]
        assert row["count()"] == len(part)
        for column in ("x", "n"):
            for what in wanted:
                expected = reference([columns[column][i] for i in part], what, ignore_nulls)
                assert close(row[f"{what} {column}"], expected), (what, column, key)
        assert row["sum n"] is None or type(row["sum n"]) is int


@settings(max_examples=40, deadline=None)
@given(tables())
def test_lists_agree_with_python(case: tuple[pa.Table, list[str], list[int]]) -> None:
    table, by, sizes = case
    rows = aggregate(
        split(table, sizes),
        by or None,
        AsList("n"),
        AsList("s", ignore_nulls=True, alias_name="words"),
        Unique("s"),
        Unique("s", ignore_nulls=False, alias_name="all words"),
        CountDistinct("n"),
        ValueCounter("s"),
        MissingValuePercentage("x"),
        ZeroPercentage("x"),
        ApproximateTopK("s", k=1),
        ApproximateQuantile("x", [0, 0.5, 1]),
    )
    frame: dict[Any, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        key = tuple(None if row[name] != row[name] else row[name] for name in by)
        frame.setdefault(key, []).append(row)
    if not frame and not by:
        assert rows[0]["count_distinct(n)"] == 0
        assert rows[0]["unique(s)"] is None
        return
    assert len(rows) == len(frame)
    for row in rows:
        part = frame[tuple(row[name] for name in by)]
        plain = [r["s"] for r in part if r["s"] is not None]
        assert row["list(n)"] == [r["n"] for r in part]
        assert row["words"] == plain
        assert row["unique(s)"] == list(dict.fromkeys(plain))
        assert row["all words"] == list(dict.fromkeys(r["s"] for r in part))
        assert row["count_distinct(n)"] == len({r["n"] for r in part} - {None})
        counted = row["value_counter(s)"]
        assert dict(zip(counted["values"], counted["counts"])) == {w: plain.count(w) for w in plain}
        x = [r["x"] for r in part if r["x"] is not None and r["x"] == r["x"]]
        assert math.isclose(row["missing_pct(x)"], 100 * (1 - len(x) / len(part)), abs_tol=1e-9)
        assert row["zero_pct(x)"] is None if not x else math.isclose(row["zero_pct(x)"], 100 * x.count(0.0) / len(x))
        if plain:
            assert row["approx_topk(s)"][0]["count"] == max(plain.count(w) for w in plain)
        if x:
            assert row["approx_quantile(x)"] == pytest.approx([min(x), float(np.median(x)), max(x)])
        else:
            assert row["approx_quantile(x)"] is None


def test_groups_of_many_partitions_come_in_order(big: None) -> None:
    random = np.random.default_rng(0)
    table = pa.table(
        {"k": pa.array(random.integers(0, 500, 5000), mask=random.random(5000) < 0.05), "x": np.arange(5000)}
    )
    rows = aggregate(split(table, [1000] * 4), "k", Sum("x"), Count(), per_task=1)
    expected = table.to_pandas().groupby("k", dropna=False)["x"].sum()
    assert [row["k"] for row in rows] == [*range(500), None]
    assert [row["sum(x)"] for row in rows] == expected.tolist()


def test_empty_data() -> None:
    nothing = [pa.table({}), pa.table({"x": pa.array([], pa.int64())})]
    row = total(nothing, Count(), Sum("x"), Mean("x"), Std("x"), AsList("x"))
    assert row == {"count()": 0, "sum(x)": None, "mean(x)": None, "std(x)": None, "list(x)": None}
    assert aggregate([], None, Sum()) == [{"sum()": None}]
    assert aggregate(nothing[1:], "x", Count()) == []


def test_blocks_without_values_neither_poison_nor_satisfy() -> None:
    blocks = [pa.table({"x": pa.array(v, pa.float64())}) for v in ([1.0, 2.0], [], [None, None], [3.0])]
    ignoring = total(blocks, Sum("x"), Mean("x"), Std("x"), Min("x"), Quantile("x"))
    assert ignoring == {"sum(x)": 6.0, "mean(x)": 2.0, "std(x)": 1.0, "min(x)": 1.0, "quantile(x)": 2.0}
    strict = total(blocks, *[make("x", ignore_nulls=False) for make in (Sum, Mean, Std, Min, Quantile)])
    assert set(strict.values()) == {None}
    full = total(blocks[:2] + blocks[3:], *[make("x", ignore_nulls=False) for make in (Sum, Mean, Std)])
    assert full == {"sum(x)": 6.0, "mean(x)": 2.0, "std(x)": 1.0}
    assert total([blocks[2]], Sum("x"), Std("x")) == {"sum(x)": None, "std(x)": None}


def test_a_standard_deviation_far_from_zero_keeps_its_digits() -> None:
    values = 1e9 + np.random.default_rng(0).normal(size=3000)
    blocks = split(pa.table({"x": values}), [700, 1, 900])
    assert math.isclose(total(blocks, Std("x")), float(np.std(values, ddof=1)), rel_tol=1e-7)
    assert math.isclose(total(blocks, Std("x", ddof=0)), float(np.std(values)), rel_tol=1e-7)


def test_integers_stay_exact() -> None:
    big = 2**53 + 1
    assert total(items([big, 0], [1]), Sum()) == big + 1
    assert total([pa.table({"x": pa.array([255, 255], pa.uint8())})], Sum("x")) == 510
    with pytest.raises(OverflowError, match="64 bits"):
        total(items([2**62], [2**62], [2**62]), Sum())
    assert total(items([2**62, -(2**62)], [2**62]), Sum()) == 2**62


def test_other_types() -> None:
    day = datetime.date(2024, 1, 1)
    table = pa.table({"d": [day, None], "s": ["b", "a"], "b": [True, False], "t": pa.array([5, 3], pa.duration("s"))})
    assert total([table, table], Min("d"), Max("s")) == {"min(d)": day, "max(s)": "b"}
    assert total([table, table], Sum("b"), Mean("b"), Std("b", ddof=0)) == {"sum(b)": 2, "mean(b)": 0.5, "std(b)": 0.5}
    assert total([table], Min("t")) == datetime.timedelta(seconds=3)
    with pytest.raises(ValueError, match=r"cannot compute sum of values of type string \(column 's'\)"):
        total([table], Sum("s"))


def test_extremes_of_types_without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"k": [1, 2, 1, 3], "s": ["b", "z", "a", None]})
    with_kernels = aggregate([table, table], "k", Min("s"), Max("s"))
    reduce = Groups.reduce

    def refuse(groups: Groups, kernels: Any) -> Any:
        if any(pa.types.is_string(values.type) for values, _, _ in kernels):
            raise SchemaError("no kernel")
        return reduce(groups, kernels)

    monkeypatch.setattr(Groups, "reduce", refuse)
    assert aggregate([table, table], "k", Min("s"), Max("s")) == with_kernels
    assert with_kernels[0] == {"k": 1, "min(s)": "a", "max(s)": "b"}


def test_all_columns_but_the_key() -> None:
    table = pa.table({"k": [1, 1, 2], "x": [1, 2, 3], "y": [0.5, 1.5, 2.5]})
    assert aggregate([table], "k", Sum()) == [
        {"k": 1, "sum(x)": 3, "sum(y)": 2.0},
        {"k": 2, "sum(x)": 3, "sum(y)": 2.5},
    ]


def test_names_that_are_taken_get_a_number() -> None:
    [row] = aggregate([pa.table({"x": [1, 2]})], None, Sum("x"), Sum("x"), Sum("x"))
    assert list(row) == ["sum(x)", "sum(x)_2", "sum(x)_3"]


def test_simple_data() -> None:
    blocks = items([1, 2, 3, 4], [5, 6])
    assert aggregate(blocks, lambda x: x % 3, Count(), Sum()) == [(0, 2, 9), (1, 2, 5), (2, 2, 7)]
    assert total(blocks, Sum(lambda x: x * x)) == 91
    assert aggregate(items(["a", "bb"], ["cc"]), len, AsList()) == [(1, ["a"]), (2, ["bb", "cc"])]
    pairs = aggregate(items([1, 2], [3, 4]), lambda x: ("even" if x % 2 == 0 else "odd", x > 2), Max())
    assert pairs == [(("even", False), 2), (("even", True), 4), (("odd", False), 1), (("odd", True), 3)]
    mixed = aggregate(items([1, "a"], [2.5, "a", None]), None, Count())
    assert mixed == [{"count()": 5}]
    assert aggregate(items([1, "a"], [1, "a", None]), lambda x: x, Count()) == [(1, 2), ("a", 2), (None, 1)]


def spread() -> AggregateFn:
    return AggregateFn(
        init=lambda key: [],
        accumulate_row=lambda a, row: [*a, row["x"]],
        merge=lambda a, b: a + b,
        finalize=lambda a: max(a) - min(a),
        name="spread",
    )


def test_functions_of_your_own() -> None:
    table = pa.table({"k": ["b", None, "a", "b"], "x": [1, 5, 7, 4]})
    rows = aggregate(split(table, [1, 2]), "k", spread(), Sum("x"), per_task=1)
    assert rows == [
        {"k": "a", "spread": 0, "sum(x)": 7},
        {"k": "b", "spread": 3, "sum(x)": 5},
        {"k": None, "spread": 0, "sum(x)": 5},
    ]
    by_block = AggregateFn(
        init=lambda key: 0, accumulate_block=lambda a, block: a + len(block), merge=lambda a, b: a + b, name="rows"
    )
    assert total(split(table, [3]), by_block) == 4
    assert total(items([1], [2, 3]), by_block) == 3


class Longest(AggregateFnV2):
    def __init__(self, on: str) -> None:
        super().__init__(f"longest({on})", str, on=on)

    def aggregate_block(self, block: pa.Table) -> str:
        return max(block.column(self.get_target_column()).to_pylist(), key=len)

    def combine(self, current_accumulator: str, new: str) -> str:
        return max(current_accumulator, new, key=len)

    def finalize(self, accumulator: str) -> str:
        return accumulator.upper()


def test_classes_of_your_own() -> None:
    assert total([pa.table({"s": ["a", "ccc"]}), pa.table({"s": ["bb"]})], Longest("s")) == "CCC"


def test_errors_name_the_step_and_the_group() -> None:
    failing = AggregateFn(init=lambda k: 0, accumulate_row=lambda a, r: a / r["x"], merge=lambda a, b: a, name="bad")
    with pytest.raises(ZeroDivisionError, match=r"accumulate_row of 'bad'.*group 'k1'") as caught:
        aggregate([pa.table({"k": ["k0", "k1"], "x": [1, 0]})], "k", failing)
    assert isinstance(caught.value, UserFunctionError)
    assert caught.value.origin == "group 'k1'"
    with pytest.raises(ValueError, match=r"no column 'z'"):
        total([pa.table({"x": [1]})], Sum("z"))
    with pytest.raises(ValueError, match="exactly one"):
        AggregateFn(init=lambda k: 0, merge=lambda a, b: a)
    with pytest.raises(TypeError, match="takes aggregations"):
        Aggregation((), ["sum"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="q between 0 and 1"):
        Quantile("x", q=2)


def test_columns_needed() -> None:
    def needed(key: Any, *aggregates: AggregateFn) -> Any:
        keys = make_keys(key, operation="groupby()") if key is not None else ()
        return PartialAggregate(Aggregation(keys, aggregates)).columns_needed

    assert needed("k", Sum("x"), Mean("x"), Count()) == ("k", "x")
    assert needed(None, Count()) == ()
    assert needed("k", Sum()) is None
    assert needed("k", spread()) is None


def test_approximate_quantiles_of_many_values() -> None:
    values = np.random.default_rng(0).permutation(100_000).astype(float)
    table = pa.table({"x": values})
    result = total(split(table, [9_000] * 10), ApproximateQuantile("x", [0.01, 0.5, 0.99], quantile_precision=500))
    assert result == pytest.approx([1_000, 50_000, 99_000], abs=600)


def test_approximate_top_k_of_many_values() -> None:
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in random.zipf(1.3, 20_000) % 5_000]
    result = total(split(pa.table({"s": words}), [4_000] * 4), ApproximateTopK("s", k=3, log_capacity=8))
    exact = pd.Series(words).value_counts().head(3)
    assert [entry["s"] for entry in result] == list(exact.index)


def test_unique_items_of_lists() -> None:
    table = pa.table({"l": [[1, 2], [2, 3], None, []]})
    assert total([table], Unique("l")) == [1, 2, 3]


def test_objects_and_lists_can_be_counted_and_collected() -> None:
    blocks = [from_rows([{"o": 1j, "l": [1, 2]}, {"o": None, "l": [3]}])]
    row = total(blocks, Count("o", ignore_nulls=True), MissingValuePercentage("o"), AsList("l"))
    assert row == {"count(o)": 1, "missing_pct(o)": 50.0, "list(l)": [[1, 2], [3]]}
    with pytest.raises(ValueError, match="cannot aggregate values that are NoneType, complex"):
        total(blocks, Sum("o"))
