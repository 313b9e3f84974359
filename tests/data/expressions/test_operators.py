"""Operators, nulls, types, text, and what a scan gets."""

from __future__ import annotations

import datetime
import functools
import math
import operator
import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data.exceptions import DataError, SchemaError
from aktis.data.expressions import coalesce, col, greatest, least, lit, star, unnest, when

TABLE = pa.table(
    {
        "a": pa.array([1, -7, None, 4]),
        "b": pa.array([2, 0, 3, -3]),
        "f": pa.array([1.5, math.nan, None, -2.0]),
        "s": pa.array(["x", "", None, "zz"]),
        "k": pa.array([True, False, None, True]),
        "d": pa.array([datetime.datetime(2024, 5, day) for day in (1, 2, 3, 4)]),
    }
)


def values(expr, table=TABLE):
    return expr.evaluate(table).to_pylist()


def test_arithmetic_and_nulls():
    assert values(col("a") + 1) == [2, -6, None, 5]
    assert values(10 - col("a")) == [9, 17, None, 6]
    assert values(col("a") * col("b")) == [2, 0, None, -12]
    assert values(-col("a")) == [-1, 7, None, -4]
    assert values(2 ** col("b").abs()) == [4, 1, 8, 8]
    assert values(col("a").power(2)) == [1, 49, None, 16]
    assert values(col("b") ** -1)[0] == 0.5
    assert values(col("s") + "!" + col("s")) == ["x!x", "!", None, "zz!zz"]
    assert values(col("k") + col("k")) == [2, 0, None, 2]


def test_division_of_whole_numbers_gives_fractions_and_floor_division_rounds_down():
    assert values(col("a") / 2) == [0.5, -3.5, None, 2.0]
    assert values(col("a") / col("b"))[1] == -math.inf
    assert values(col("a") // col("b")) == [0, None, None, -2]
    assert values(col("a") % col("b")) == [1, None, None, -2]
    assert values(col("f") // 1)[0] == 1.0
    assert values(col("f") % 1)[::3] == [0.5, 0.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50) | st.none(), st.integers(-5, 5) | st.none()), min_size=1, max_size=20),
    st.sampled_from(["add", "sub", "mul", "floordiv", "mod", "lt", "ge", "ne"]).map(
        lambda name: getattr(operator, name)
    ),
)
def test_whole_numbers_behave_as_in_python(pairs, operation):
    table = pa.table(
        {"x": pa.array([x for x, _ in pairs], pa.int64()), "y": pa.array([y for _, y in pairs], pa.int64())}
    )
    by_zero = operation in (operator.floordiv, operator.mod)
    expected = [
        None if x is None or y is None or (by_zero and y == 0) else operation(x, y) for x, y in pairs
    ]  # fmt: skip
    assert values(operation(col("x"), col("y")), table) == expected


@settings(max_examples=30, deadline=None)
@given(st.floats(-100, 100), st.floats(-10, 10).filter(lambda y: abs(y) > 1e-3))
def test_fractions_behave_as_in_python(x, y):
    table = pa.table({"x": [x], "y": [y]})
    assert values(col("x") // col("y"), table) == [x // y]
    assert values(col("x") % col("y"), table) == [pytest.approx(x % y)]


def test_conditions_know_what_follows_from_null():
    assert values((col("a") > 0) & (col("b") > 0)) == [True, False, None, False]
    assert values((col("a") > 0) | (col("b") > 0)) == [True, False, True, True]
    assert values(col("k") ^ True) == [False, True, None, False]
    assert values(~(col("a") > 0)) == [False, True, None, False]
    assert values(col("k") & lit(None)) == [None, False, None, None]
    assert values(col("a").is_null()) == [False, False, True, False]
    assert values(col("f").is_nan()) == [False, True, None, False]
    assert values(col("a").fill_null(0.5)) == [1.0, -7.0, 0.5, 4.0]
    assert values(col("a").fill_null(col("b"))) == [1, -7, 3, 4]


def test_is_in_and_between():
    assert values(col("a").is_in([1, 4])) == [True, False, False, True]
    assert values(col("a").is_in([None])) == [False, False, True, False]
    assert values(col("a").not_in([1, 4])) == [False, True, True, False]
    assert values(col("a").is_in([4.0, 2.5])) == [False, False, False, True]
    assert values(col("a").between(-7, 1)) == [True, True, None, False]
    with pytest.raises(TypeError, match="takes a list"):
        col("a").is_in("abc")


def test_when_takes_the_first_condition_that_is_true():
    size = when(col("a") > 1).then("big").when(col("a") < 0).then("negative").otherwise("small")
    assert values(size) == ["small", "negative", "small", "big"]
    assert values(when(col("a") > 1).then(col("b"))) == [None, None, None, -3]
    assert values(when(col("k")).then(1).otherwise(0.5)) == [1.0, 0.5, 0.5, 1.0]
    assert values(lit(7)) == [7, 7, 7, 7]


def test_values_side_by_side():
    assert values(coalesce(col("a"), col("b"), 0)) == [1, -7, 3, 4]
    assert values(least(col("a"), col("b"))) == [1, -7, 3, -3]
    assert values(greatest(col("a"), col("b"), 0)) == [2, 0, 3, 4]


def test_casts():
    assert values(col("a").cast("string")) == ["1", "-7", None, "4"]
    assert col("a").cast("int8").evaluate(TABLE).type == pa.int8()
    assert col("a").cast(float).get_type(TABLE.schema) == pa.float64()
    with pytest.raises(ValueError, match=r"col\('f'\).cast\('int64'\) failed over columns {f: double}"):
        col("f").cast(int).evaluate(TABLE)
    assert values(lit(1.5).cast("int64", safe=False)) == [1, 1, 1, 1]
    with pytest.raises(TypeError, match="'nonsense' names no type"):
        col("a").cast("nonsense")


def test_strings_are_read_as_dates_when_they_are_compared_with_dates():
    assert values(col("d") > "2024-05-02") == [False, False, True, True]
    assert values(lit("2024-05-02") >= col("d")) == [True, True, False, False]
    assert values(col("d").is_in(["2024-05-03"])) == [False, False, True, False]
    with pytest.raises(ValueError, match="'soon' cannot be read as timestamp"):
        (col("d") < "soon").evaluate(TABLE)


def test_dictionaries_are_plain_strings_to_functions():
    table = pa.table({"s": pa.array(["x", "y", "x"]).dictionary_encode()})
    assert values(col("s") == "x", table) == [True, False, True]
    assert values(col("s").str.upper() + "!", table) == ["X!", "Y!", "X!"]


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: bool(col("a") > 1),
        lambda: col("a") and col("b"),
        lambda: 0 < col("a") < 2,
        lambda: 1 in [col("a")],
        lambda: iter(col("a")),
    ],
)
def test_an_expression_is_no_condition_of_python(misuse):
    with pytest.raises(TypeError, match="stands for a whole column"):
        misuse()


def test_comparing_with_none_is_refused_and_explained():
    with pytest.raises(TypeError, match=r"Use col\('a'\).is_null\(\)"):
        _ = col("a") == None  # noqa: E711
    with pytest.raises(TypeError, match=r"is_not_null\(\)"):
        _ = col("a") != None  # noqa: E711


def test_errors_name_columns_types_and_fixes():
    with pytest.raises(SchemaError, match=r"no column 'fo'. Did you mean 'f'\?"):
        col("fo").evaluate(TABLE)
    with pytest.raises(TypeError, match=r"parentheses"):
        (col("a") & col("b")).evaluate(TABLE)
    with pytest.raises(DataError, match=r"\.cast\('string'\)"):
        (col("a") + col("s")).evaluate(TABLE)
    with pytest.raises(TypeError, match="cannot be a constant"):
        lit(object())
    with pytest.raises(SchemaError, match="plain Python objects"):
        col("a").evaluate(pa.table({"__item__": [1]}))
    with pytest.raises(SchemaError, match="2 times"):
        col("a").evaluate(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]))


def test_text_form_reads_as_it_was_written():
    assert repr((col("a") + 1) > 2) == "(col('a') + 1) > 2"
    assert repr(lit(1) + lit(2)) == "lit(1) + lit(2)"
    assert repr(~col("k") | (col("a").is_null())) == "(~col('k')) | col('a').is_null()"
    assert repr(col("a").cast("string").str.upper().alias("x")) == "col('a').cast('string').str.upper().alias('x')"
    assert repr(when(col("k")).then(1).otherwise(None)) == "when(col('k')).then(1).otherwise(None)"
    assert repr(coalesce(col("a"), 0)) == "coalesce(col('a'), 0)"
    assert repr(star()) == "star()"


EXPRESSIONS = [
    (col("a") + 1) / col("b"),
    col("s").str.contains("x", ignore_case=True),
    when(col("a") > 1).then(lit(None)).otherwise(math.nan),
    col("a").is_in([1, None, "x"] if False else [1, None]),
    col("d").dt.floor("day").alias("day"),
    unnest(col("s")),
]


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=repr)
def test_pickling_and_structural_equality(expr):
    again = pickle.loads(pickle.dumps(expr))
    assert again.structurally_equals(expr)
    assert repr(again) == repr(expr)
    assert not expr.structurally_equals(col("a"))
    assert not (col("a") + 1).structurally_equals(col("a") + 1.0)


def test_what_an_expression_says_about_itself():
    expr = (col("a") + col("b")).alias("c")
    assert expr.columns() == {"a", "b"}
    assert expr.name == "c"
    assert star().columns() is None
    assert expr.is_deterministic and expr.is_total
    assert not col("a").cast(int).is_total
    assert expr.get_type(TABLE.schema) == pa.int64()
    assert (col("a") + col("s")).get_type(TABLE.schema) is None
    assert expr.substitute({"a": col("x")}.get).columns() == {"x", "b"}


SCAN = [
    col("a") > 1, col("a") <= 1.5, col("f") != 1.5, ~(col("f") > 0), col("a").is_null(), col("s").is_not_null(),
    col("a").is_in([1, 4]), ~col("a").is_in([1]), col("a").is_in([None]), col("f").is_nan(),
    col("s").str.starts_with("z"), col("s") == "x", (col("a") > 0) & ~(col("s") == ""), (col("a") > 0) | (col("b") > 0),
    col("d").dt.day() > 2, col("k"), ~col("k"), lit(True), col("f").is_finite(),
]  # fmt: skip


@pytest.mark.parametrize("expr", SCAN, ids=repr)
def test_a_scan_means_the_same(expr):
    pushed = expr.to_pyarrow()
    assert pushed is not None
    assert repr(TABLE.filter(pushed).to_pylist()) == repr(TABLE.filter(expr.evaluate(TABLE)).to_pylist())  # NaN != NaN


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.integers(-3, 3) | st.floats(-3, 3) | st.just(math.nan), max_size=12),
    st.sampled_from([pa.int8(), pa.int64(), pa.float32(), pa.float64()]),
    st.sampled_from([operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]),
    st.integers(-3, 3) | st.sampled_from([0.1, 0.5, 2.0]),
    st.booleans(),
)
def test_comparisons_in_a_scan_mean_the_same(numbers, type_, compare, constant, negate):
    floating = pa.types.is_floating(type_)
    cells = [n if n is None or floating else (0 if math.isnan(n) else int(n)) for n in numbers]
    table = pa.table({"x": pa.array(cells, pa.float64()).cast(type_, safe=False)})
    expr = compare(col("x"), constant)
    expr = ~expr if negate else expr
    assert repr(table.filter(expr.to_pyarrow())["x"].to_pylist()) == repr(
        table.filter(expr.evaluate(table))["x"].to_pylist()
    )


def test_what_a_scan_cannot_do_is_said():
    for expr in (col("a") / 2 > 1, col("a").fill_null(0) > 1, when(col("k")).then(1).otherwise(2) == 1, -col("a") > 1):
        assert expr.to_pyarrow() is None


def test_sums_of_hundreds_of_columns():
    names = [f"c{i}" for i in range(300)]
    total = functools.reduce(operator.add, map(col, names))
    table = pa.table({name: [1, 2] for name in names})
    assert values(pickle.loads(pickle.dumps(total)), table) == [300, 600]
    assert total.columns() == set(names) and total.is_deterministic and total.is_total
