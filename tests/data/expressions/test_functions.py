"""Functions of numbers, and the namespaces."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pyarrow as pa
import pytest

from aktis.data.expressions import col, lit

TABLE = pa.table(
    {
        "x": pa.array([1.0, 2.5, None, -2.5]),
        "n": pa.array([1, 4, None, 9]),
        "s": pa.array(["Ab c", "", None, "x-y-z"]),
        "t": pa.array(
            [datetime.datetime(2024, 5, 1, 13, 45, 10, 500), None, datetime.datetime(1969, 12, 31, 23, 59, 59),
             datetime.datetime(2024, 12, 30)]
        ),
        "l": pa.array([[3, 1, None, 1], None, [], [5]]),
        "ll": pa.array([[[1], [2, 3]], None, [None, [4]], []]),
        "st": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}, {"x": 3, "y": None}]),
        "m": pa.array([[("a", 1), ("b", 2)], None, [], [("b", 7)]], pa.map_(pa.string(), pa.int64())),
        "f": pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.int64(), 2)),
    }
)  # fmt: skip
X, N, S, T, L = col("x"), col("n"), col("s").str, col("t").dt, col("l").list


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (X.abs(), [1.0, 2.5, None, 2.5]), (abs(X), [1.0, 2.5, None, 2.5]), (X.round(), [1.0, 2.0, None, -2.0]),
        (X.floor(), [1.0, 2.0, None, -3.0]), (X.ceil(), [1.0, 3.0, None, -2.0]), (X.trunc(), [1.0, 2.0, None, -2.0]),
        (X.sign(), [1.0, 1.0, None, -1.0]), (X.negate(), [-1.0, -2.5, None, 2.5]), (N.sqrt(), [1.0, 2.0, None, 3.0]),
        (lit(2.346).round(2), [2.35] * 4), (X.clip(0, 2), [1.0, 2.0, None, 0.0]), (N.clip(upper=4), [1, 4, None, 4]),
        (N.log(3), [0.0, pytest.approx(math.log(4, 3)), None, pytest.approx(2.0)]),
        (N.exp().ln(), [pytest.approx(v) if v else None for v in (1, 4, None, 9)]), (X.is_finite(), [True, True, None, True]),
    ],
    ids=repr,
)  # fmt: skip
def test_numbers(expr, expected):
    assert expr.evaluate(TABLE).to_pylist() == expected


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (S.len(), [4, 0, None, 5]), (S.upper(), ["AB C", "", None, "X-Y-Z"]), (S.contains("B"), [False, False, None, False]),
        (S.contains("B", ignore_case=True), [True, False, None, False]), (S.contains("^x", regex=True), [False, False, None, True]),
        (S.starts_with("A"), [True, False, None, False]), (S.endswith("z"), [False, False, None, True]),
        (S.match("A%c"), [True, False, None, False]), (S.find("-"), [-1, -1, None, 1]), (S.count("-"), [0, 0, None, 2]),
        (S.replace("-", "+", 1), ["Ab c", "", None, "x+y-z"]), (S.replace_regex(r"(\w)-", r"\1_"), ["Ab c", "", None, "x_y_z"]),
        (S.slice(1, 3), ["b ", "", None, "-y"]), (S.slice(-2), [" c", "", None, "-z"]),
        (S.split("-"), [["Ab c"], [""], None, ["x", "y", "z"]]), (S.split(), [["Ab", "c"], [""], None, ["x-y-z"]]),
        (S.strip("xz"), ["Ab c", "", None, "-y-"]), (S.lpad(5, "."), [".Ab c", ".....", None, "x-y-z"]),
        (S.pad(6, "*", "both"), ["*Ab c*", "******", None, "x-y-z*"]), (S.repeat(2), ["Ab cAb c", "", None, "x-y-zx-y-z"]),
        (S.extract(r"(?P<first>\w)"), [{"first": "A"}, None, None, {"first": "x"}]), (S.reverse(), ["c bA", "", None, "z-y-x"]),
        (S.replace_slice(0, 1, "Q"), ["Qb c", "Q", None, "Q-y-z"]), (S.is_lower(), [False, False, None, True]),
        (lit("2024-05-01").str.strptime("%Y-%m-%d").dt.year(), [2024] * 4),
    ],
    ids=repr,
)  # fmt: skip
def test_strings(expr, expected):
    assert expr.evaluate(TABLE).to_pylist() == expected


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (T.year(), [2024, None, 1969, 2024]), (T.weekday(), [2, None, 2, 0]), (T.hour(), [13, None, 23, 0]),
        (T.strftime("%Y-%m-%d %S"), ["2024-05-01 10", None, "1969-12-31 59", "2024-12-30 00"]),
        (T.strftime("%S.%f"), ["10.000500", None, "59.000000", "00.000000"]),
        (T.truncate("month").dt.day(), [1, None, 1, 1]), (T.ceil("day").dt.day(), [2, None, 1, 30]),
        (T.date(), [datetime.date(2024, 5, 1), None, datetime.date(1969, 12, 31), datetime.date(2024, 12, 30)]),
        (T.timestamp(), [1714571110, None, -1, 1735516800]), (T.quarter(), [2, None, 4, 4]),
        ((col("t") - datetime.datetime(2024, 5, 1)).dt.total_seconds(), [49510.0005, None, -1714521601.0, 20995200.0]),
    ],
    ids=repr,
)  # fmt: skip
def test_times(expr, expected):
    assert expr.evaluate(TABLE).to_pylist() == expected


NESTED = [
    (L.len(), [4, None, 0, 1]), (L.get(0), [3, None, None, 5]), (L[-1], [1, None, None, 5]), (L[1:], [[1, None, 1], None, [], []]),
    (L[-2:], [[None, 1], None, [], [5]]), (L[::2], [[3, None], None, [], [5]]), (L[:-1], [[3, 1, None], None, [], []]),
    (L.sum(), [5, None, 0, 5]), (L.min(), [1, None, None, 5]), (L.max(), [3, None, None, 5]),
    (L.mean(), [pytest.approx(5 / 3), None, None, 5.0]), (L.contains(1), [True, None, False, False]),
    (L.unique(), [[3, 1, None], None, [], [5]]), (L.sort(), [[1, 1, 3, None], None, [], [5]]),
    (L.sort("descending", "at_start"), [[None, 3, 1, 1], None, [], [5]]),
    (col("ll").list.flatten(), [[1, 2, 3], None, [4], []]), (S.split("-").list.join("+"), ["Ab c", "", None, "x+y+z"]),
    (col("f").list.get(1), [2, None, 4, 6]), (col("st").struct["x"], [1, None, None, 3]),
    (col("st").struct[1], ["a", None, "b", None]),
    (col("m").map.keys(), [["a", "b"], None, [], ["b"]]), (col("m").map.values(), [[1, 2], None, [], [7]]),
    (col("m").map["b"], [2, None, None, 7]), (col("m").map.len(), [2, None, 0, 1]),
    (col("f").arr.to_list(), [[1, 2], None, [3, 4], [5, 6]]), (col("f").arr.shape(), [[2], None, [2], [2]]),
    (col("f").arr.sum(), [3, None, 7, 11]), (L.first(), [3, None, None, 5]), (L.last(), [1, None, None, 5]),
]  # fmt: skip


@pytest.mark.parametrize(("expr", "expected"), NESTED, ids=repr)
def test_nested_values(expr, expected):
    assert expr.evaluate(TABLE).to_pylist() == expected
    assert expr.evaluate(TABLE.slice(1, 2)).to_pylist() == expected[1:3]  # views have offsets
    chunks = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert expr.evaluate(chunks).to_pylist() == expected
    empty = expr.evaluate(TABLE.slice(0, 0))
    assert len(empty) == 0 and empty.type == expr.evaluate(TABLE).type


def test_tensors():
    table = pa.table({"t": pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(2, 2, 3))})
    t = col("t").arr
    assert t.shape().evaluate(table).to_pylist() == [[2, 3], [2, 3]]
    assert t.ndim().evaluate(table).to_pylist() == [2, 2]
    assert t.size().evaluate(table).to_pylist() == [6, 6]
    assert t.sum().evaluate(table).to_pylist() == [15, 51]
    assert t.flatten().list.get(-1).evaluate(table).to_pylist() == [5, 11]
    assert t.reshape(-1, 2).evaluate(table).type.shape == [3, 2]
    with pytest.raises(ValueError, match="6 elements cannot take the shape"):
        t.reshape(5).evaluate(table)


def test_wrong_kinds_are_named():
    with pytest.raises(TypeError, match="is for lists, not for string"):
        col("s").list.sum().evaluate(TABLE)
    with pytest.raises(ValueError, match=r"no field 'zz': its fields are \['x', 'y'\]"):
        col("st").struct["zz"].evaluate(TABLE)
    with pytest.raises(TypeError, match="constant string"):
        S.contains(col("x"))
    with pytest.raises(ValueError, match="side is"):
        S.pad(3, side="up")


HASHES = [[6238072747940578789, None], [13950350942979735504, None], [0, None]]


def test_hashes_are_equal_for_equal_values_in_every_process():
    table = pa.table({"i": [1, None], "s": ["a", None], "f": [0.0, None]})
    hashes = [col(name).hash().evaluate(table).to_pylist() for name in "isf"]
    # Written down once: another process, machine or version must give the same.
    assert hashes == HASHES
    other = pa.table(
        {"i": pa.array([1, None], pa.int8()), "s": pa.array(["a", None], pa.large_string()), "f": [-0.0, None]}
    )
    assert [col(name).hash().evaluate(other).to_pylist() for name in "isf"] == hashes
