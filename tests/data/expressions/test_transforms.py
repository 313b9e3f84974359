"""Projections and filters of blocks."""

from __future__ import annotations

import pyarrow as pa
import pytest

from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.filter_expr import FilterTransform
from aktis.data._transforms.project import ProjectTransform
from aktis.data.context import DatasetContext
from aktis.data.exceptions import SchemaError
from aktis.data.expressions import col, lit

TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, 1.5, None]})


def apply(transform, *blocks):
    return list(transform(iter(blocks), TaskContext("Op", 0, DatasetContext(), "file.csv")))


def project(columns, **options):
    return apply(ProjectTransform(tuple(columns.items()), **options), TABLE)[0].to_pydict()


def test_select_rename_and_compute():
    assert project({"c": col("c"), "n": col("a") + 1, "k": lit("k")}) == {
        "c": [0.5, 1.5, None],
        "n": [2, 3, 4],
        "k": ["k"] * 3,
    }


def test_kept_columns_stay_in_place():
    assert list(project({"d": col("a")}, keep=True)) == ["a", "b", "c", "d"]
    assert list(project({"b": col("a") * 2}, keep=True)) == ["a", "b", "c"]
    assert list(project({}, keep=True, drop=("b",))) == ["a", "c"]
    assert list(project({"z": col("b")}, keep=True, drop=("b",))) == ["a", "z", "c"]  # renamed
    assert project({"a": col("c"), "c": col("a")}, keep=True)["a"] == [0.5, 1.5, None]  # both see the input


def test_missing_columns():
    with pytest.raises(SchemaError, match="no column 'bb'. Did you mean 'b'"):
        project({}, keep=True, drop=("bb",))
    assert list(project({}, keep=True, drop=("bb", "a"), missing_ok=True)) == ["b", "c"]
    assert list(project({"z": col("bb")}, keep=True, missing_ok=True)) == ["a", "b", "c"]
    with pytest.raises(SchemaError, match=r"in Op, block of file.csv"):
        project({"z": col("bb")})


def test_no_columns_at_all_keep_the_number_of_rows():
    block = apply(ProjectTransform(()), TABLE)[0]
    assert (block.num_rows, block.num_columns) == (3, 0)


def test_blocks_without_columns():
    empty = pa.table({})
    assert apply(ProjectTransform((("a", col("a")),)), empty) == [empty]
    assert apply(FilterTransform(col("a") > 1), empty) == [empty]
    simple = pa.table({"__item__": [1, 2]})
    with pytest.raises(SchemaError, match="plain Python objects"):
        apply(ProjectTransform((("a", lit(1)),), keep=True), simple)
    with pytest.raises(SchemaError, match="bare arrays"):
        apply(FilterTransform(col("a") > 1), pa.table({"__value__": [[1], [2]]}))


def test_a_name_twice_is_refused():
    with pytest.raises(SchemaError, match="more than once"):
        ProjectTransform((("a", col("a")), ("a", col("b"))))


def test_filter_keeps_what_is_true():
    assert apply(FilterTransform(col("c") > 0.7), TABLE)[0].to_pydict() == {"a": [2], "b": [None], "c": [1.5]}
    assert apply(FilterTransform(col("a") > 0), TABLE)[0] is TABLE  # nothing copied
    assert apply(FilterTransform(col("a") > 9), TABLE)[0].schema == TABLE.schema
    assert apply(FilterTransform(lit(None)), TABLE)[0].num_rows == 0
    with pytest.raises(SchemaError, match="needs a condition, but col\\('a'\\) is of type int64"):
        apply(FilterTransform(col("a")), TABLE)


def test_metadata_of_kept_fields_stays():
    field = pa.field("a", pa.int64(), metadata={"unit": "m"})
    table = pa.table([pa.array([1])], schema=pa.schema([field]))
    block = apply(ProjectTransform((("b", col("a")),), keep=True), table)[0]
    assert block.schema.field("a").metadata == {b"unit": b"m"}


def test_what_occurs_twice_is_evaluated_once():
    calls = []
    from aktis.data.expressions import udf

    @udf(int)
    def count(x):
        calls.append(1)
        return x

    shared = count(col("a"))
    block = apply(ProjectTransform((("x", shared + 1), ("y", shared * 2))), TABLE)[0]
    assert block.to_pydict() == {"x": [2, 3, 4], "y": [2, 4, 6]}
    assert len(calls) == 1
