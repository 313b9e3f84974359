"""The optimizer under the public API: real files, the real executor, with the optimizer and without."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aktis.data
from aktis.data.expressions import col, lit, random, star, udf, unnest, when


@pytest.fixture
def folder(tmp_path):
    for part in range(3):
        first = part * 10
        table = pa.table(
            {
                "id": range(first, first + 10),
                "fare": [None if i % 7 == 0 else i * 0.5 for i in range(first, first + 10)],
                "name": [f"n{i % 4}" for i in range(first, first + 10)],
                "when": pa.array(range(first, first + 10), pa.timestamp("s")),
            }
        )
        pq.write_table(table, tmp_path / f"{part}.parquet")
    return tmp_path


PIPELINES = {
    "filter": lambda ds: ds.filter(expr="fare > 3 and name in ['n1', 'n2']"),
    "filter on time": lambda ds: ds.filter(expr=col("when") >= "1970-01-01 00:00:20"),
    "computed": lambda ds: ds.with_column(
        "x", when(col("fare").is_null()).then(-1.0).otherwise(col("fare") * 2)
    ).filter(expr=(col("x") > 4) & (col("id") < 25)),
    "select": lambda ds: ds.filter(expr=col("id") % 3 == 0).select_columns(["name", "id"]),
    "rename": lambda ds: ds.rename_columns({"id": "number"}).filter(expr="number > 12").drop_columns("when"),
    "limit": lambda ds: ds.with_column("y", col("id") + 1).map(lambda row: {**row, "z": 1}).limit(13),
    "sort": lambda ds: ds.sort("fare", descending=True).filter(expr=col("name") == "n3").select_columns(["id"]),
    "union": lambda ds: (
        ds.select_columns(["id"]).union(ds.filter(expr=col("id") > 27).select_columns(["id"])).limit(32)
    ),
    "repartition": lambda ds: ds.repartition(4).filter(expr=~col("name").str.starts_with("n1")).limit(5),
    "null": lambda ds: ds.filter(expr=col("fare").is_null() | lit(False)),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_results_do_not_depend_on_the_optimizer(folder, name):
    ds = PIPELINES[name](aktis.data.read_parquet(str(folder)))
    optimized = ds.take_all()
    assert optimized
    plain = ds.copy()
    plain.context.optimizer_enabled = False
    assert plain.take_all() == optimized
    assert ds.count() == len(optimized) == plain.count()


def test_counts_come_from_metadata_or_few_columns(folder, capsys):
    ds = aktis.data.read_parquet(str(folder))
    assert ds.count() == 30
    assert ds.with_column("x", col("id") + 1).limit(7).count() == 7
    assert ds.filter(expr="id > 10").count() == 19
    text = ds.filter(expr="id > 10").select_columns(["name"]).explain()
    assert capsys.readouterr().out.strip() == text
    assert "columns=['name'], filter=(id > 10)" in text


def test_functions_and_random_numbers(folder):
    @udf(return_dtype="float64", batch_format="numpy")
    def half(values):
        return values / 2

    ds = aktis.data.read_parquet(str(folder)).with_column("h", half(col("id"))).with_column("r", random(seed=1))
    rows = ds.filter(expr=col("r") < 0.5).take_all()
    assert 0 < len(rows) < 30
    assert all(row["h"] == row["id"] / 2 and row["r"] < 0.5 for row in rows)


def test_errors_name_the_column_and_the_file(folder):
    ds = aktis.data.read_parquet(str(folder))
    with pytest.raises(ValueError, match=r"no column 'fair'. Did you mean 'fare'\?"):
        ds.filter(expr=col("fair") > 1).take_all()
    with pytest.raises(ValueError, match="parquet"):
        ds.with_column("n", col("name").cast("int64")).take_all()
    with pytest.raises(ValueError, match="no column 'nope'"):
        ds.select_columns(["id", "nope"]).take_all()


def test_structs_become_columns_and_star_stands_for_all(folder):
    @udf(return_dtype=pa.struct([("low", pa.int64()), ("high", pa.int64())]), batch_format="python")
    def bounds(numbers):
        return [{"low": n - 1, "high": n + 1} for n in numbers]

    ds = aktis.data.read_parquet(str(folder)).select_columns(["id"])
    wide = ds.with_columns({"twice": col("id") * 2}, unnest(bounds(col("id")))).limit(2)
    assert wide.take_all() == [{"id": i, "twice": 2 * i, "low": i - 1, "high": i + 1} for i in range(2)]
    assert ds.select(star(), (col("id") + 1).alias("next")).take(1) == [{"id": 0, "next": 1}]
    with pytest.raises(TypeError, match="needs a struct, but it is of type int64"):
        ds.with_columns(unnest(col("id")))
