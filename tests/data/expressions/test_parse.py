"""Conditions as strings."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from aktis.data.expressions import col, named, parse, to_expr

TABLE = pa.table({"a": [1, 2, None], "s": ["x", "y", None], "my col": [1, 2, 3]})


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("a > 1 and s == 'x'", (col("a") > 1) & (col("s") == "x")),
        ("a > 1 or not s == 'x'", (col("a") > 1) | ~(col("s") == "x")),
        ("a in [1, None]", col("a").is_in([1, None])),
        ("a not in (1, 2)", ~col("a").is_in([1, 2])),
        ("a is None", col("a").is_null()),
        ("s != None", col("s").is_not_null()),
        ("abs(a - 3) >= 2", (col("a") - 3).abs() >= 2),
        ("a.round(1) > -1", col("a").round(1) > -1),
        ("s.str.upper() == 'X'", col("s").str.upper() == "X"),
        ("col('my col') % 2 == 0", (col("my col") % 2) == 0),
        ("(a > 1) & (s == 'x')", (col("a") > 1) & (col("s") == "x")),
        ("a.list[0] > 1", col("a").list[0] > 1),
        ("coalesce(a, 7) == 7 or false", None),
    ],
)
def test_strings_mean_what_python_means(text, expr):
    parsed = parse(text)
    if expr is not None:
        assert parsed.structurally_equals(expr), parsed


def test_chained_comparisons_and_keywords():
    assert parse("1 < a <= 2").evaluate(TABLE).to_pylist() == [False, True, None]
    assert parse("coalesce(a, 7) == 7 or false").evaluate(TABLE).to_pylist() == [False, False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "Equality is written '=='"),
        ("a >", "no valid condition"),
        ("__import__('os').system('x')", "no function that conditions know"),
        ("a.__class__", "not supported"),
        ("s.str.__class__()", "no method of .str"),
        ("s.str._call('upper')", "no method of .str"),
        ("[x for x in a]", "not supported"),
        ("lambda: 1", "not supported"),
        ("a is 1", "for None only"),
        ("s in 'abc'", "no list of constants"),
        ("a in [s]", "no constant"),
        ("f'{a}'", "not supported"),
        ("open('x')", "no known function"),
        ("round(*a)", "unpacks"),
        ("a.between(1)", "cannot be called so"),
        ("a[0]", r"use .list\[...\]"),
        ("", "no valid condition"),
    ],
)
def test_what_is_not_understood_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_expressions_of_pyarrow():
    expr = to_expr(pc.field("a") > 1)
    assert expr.evaluate(TABLE).to_pylist() == [False, True, None]
    assert expr.columns() is None
    assert expr.to_pyarrow() is not None
    with pytest.raises(TypeError, match="A condition is"):
        to_expr(5)


def test_columns_of_a_projection_have_names():
    assert named("a")[0] == "a"
    name, expr = named((col("a") + 1).alias("b"))
    assert name == "b" and expr.structurally_equals(col("a") + 1)
    with pytest.raises(ValueError, match="no name of its own"):
        named(col("a") + 1)
    with pytest.raises(TypeError, match="A column is a name"):
        named(5)
