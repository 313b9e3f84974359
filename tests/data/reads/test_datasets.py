"""Reads through datasets: executed in this process and by workers, and what optimizers and users see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import aktis
import aktis.data
from aktis.data import DatasetContext
from aktis.data.datasource import (
    CSVDatasource,
    FileBasedDatasource,
    NumpyDatasource,
    ParquetDatasource,
    RandomIntRowDatasource,
    Reader,
    ReadTask,
)
from aktis.data.exceptions import ReadError, UserFunctionError


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, preload=["pyarrow.dataset", "pandas"])
    yield
    aktis.shutdown()


@pytest.fixture(params=["driver", "workers"])
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    """Small plans run in the driver, unless that is switched off."""
    context = DatasetContext.get_current()
    context.enable_local_execution = request.param == "driver"
    yield request.param
    context.enable_local_execution = True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(4):
        table = pa.table({"id": np.arange(i * 100, i * 100 + 100), "x": np.arange(100) / 2})
        pq.write_table(table, tmp_path / f"{i}.parquet", row_group_size=50)
    return tmp_path


def test_parquet(folder: Path, where: str) -> None:
    dataset = aktis.data.read_parquet(folder)
    assert dataset.count() == 400
    assert dataset.schema().names == ["id", "x"]
    assert [row["id"] for row in dataset.take_all()] == list(range(400))
    assert dataset.take(2) == [{"id": 0, "x": 0.0}, {"id": 1, "x": 0.5}]
    assert [path.rsplit("/")[-1] for path in dataset.input_files()] == [f"{i}.parquet" for i in range(4)]
    assert aktis.data.read_parquet(folder, columns=["x"], filter=pc.field("id") < 3).take_all() == [
        {"x": 0.0},
        {"x": 0.5},
        {"x": 1.0},
    ]


def test_filters_of_ours(folder: Path) -> None:
    from aktis.data.expressions import col, udf

    @udf(return_dtype=pa.bool_())
    def is_square(values: pa.Array) -> pa.Array:
        return pa.array([float(v) ** 0.5 % 1 == 0 for v in values.to_pylist()])

    squares = aktis.data.read_parquet(folder, filter=is_square(col("id")), columns=["x"])
    assert squares.take(4) == [{"x": 0.0}, {"x": 0.5}, {"x": 2.0}, {"x": 4.5}]
    assert aktis.data.read_parquet(folder, filter=col("id") >= 398).count() == 2
    with pytest.raises(TypeError, match="filter is an expression"):
        aktis.data.read_parquet(folder, filter="id > 3")


def test_blocks_and_their_order(folder: Path, where: str) -> None:
    dataset = aktis.data.read_parquet(folder, override_num_blocks=10).materialize()
    assert dataset.num_blocks() == 10
    assert [row["id"] for row in dataset.take_all()] == list(range(400))


def test_errors_of_users_name_file_and_rows(folder: Path, where: str) -> None:
    def fail(batch: pd.DataFrame) -> pd.DataFrame:
        if 250 in set(batch["id"]):
            raise ValueError("no")
        return batch

    with pytest.raises(UserFunctionError, match=r"2\.parquet, rows 50 to 99"):
        aktis.data.read_parquet(folder, parallelism=8).map_batches(fail).take_all()


def test_unreadable_files(folder: Path, where: str) -> None:
    (folder / "1.parquet").write_bytes(b"junk")
    with pytest.raises(ReadError, match=r"Cannot read .*1\.parquet"):
        aktis.data.read_parquet(folder).take_all()
    assert len(aktis.data.read_parquet(folder, on_error="skip").take_all()) == 300


def test_files_that_vanish(folder: Path, where: str) -> None:
    dataset = aktis.data.read_parquet(folder)
    (folder / "3.parquet").unlink()
    with pytest.raises(ReadError, match=r"3\.parquet"):
        dataset.take_all()


@pytest.mark.parametrize("tasks", [1, 4])
def test_formats(tmp_path: Path, where: str, tasks: int) -> None:
    (tmp_path / "a.csv").write_text("x,y\n" + "".join(f"{i},{i}\n" for i in range(50)))
    (tmp_path / "a.jsonl").write_text("".join(f'{{"x": {i}}}\n' for i in range(50)))
    assert aktis.data.read_csv(tmp_path / "a.csv", parallelism=tasks).sum("x") == 1225
    assert aktis.data.read_json(tmp_path / "a.jsonl", parallelism=tasks).sum("x") == 1225
    assert aktis.data.read_text(tmp_path / "a.csv", parallelism=tasks).count() == 51


def test_range_and_items(where: str) -> None:
    assert aktis.data.range(1000).map(lambda x: x + 1).take(3) == [1, 2, 3]
    assert aktis.data.range_table(10).sum("value") == 45
    assert aktis.data.range_tensor(4, shape=(2,)).take(1)[0].tolist() == [0, 0]
    items = [{"data": i} for i in range(1000)]
    assert aktis.data.from_items(items).filter(lambda row: row["data"] % 2 == 0).count() == 500
    assert aktis.data.read_datasource(RandomIntRowDatasource(), n=10, num_columns=2).count() == 10


def test_references(where: str) -> None:
    frames = [aktis.put(pd.DataFrame({"a": [i]})) for i in range(3)]
    assert aktis.data.from_pandas_refs(frames).take_all() == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert aktis.data.from_arrow_refs([aktis.put(pa.table({"a": [1]}))]).take_all() == [{"a": 1}]


def test_a_source_of_ones_own(where: str) -> None:
    class Squares(Reader):
        def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
            from aktis.data.datasource import BlockMetadata

            return [
                ReadTask(lambda i=i: [pd.DataFrame({"square": [i * i]})], BlockMetadata(1, 8, None, [], None))
                for i in range(3)
            ]

    class SquaresDatasource(aktis.data.Datasource):
        def create_reader(self, **_: Any) -> Reader:
            return Squares()

    dataset = aktis.data.read_datasource(SquaresDatasource(), parallelism=3)
    assert dataset.take_all() == [{"square": 0}, {"square": 1}, {"square": 4}]


class ListDatasource(FileBasedDatasource):
    _FILE_EXTENSION = "list"

    def _read_file(self, f: Any, path: str, **_: Any) -> Any:
        return {"n": np.array([int(line) for line in f.readall().split()])}

    def _write_block(self, f: Any, block: Any, writer_args_fn: Any = dict, *, end: str = "\n", **_: Any) -> None:
        f.write(end.join(str(n) for n in block.to_arrow()["n"].to_pylist()).encode())


def test_file_datasources_are_written_too(tmp_path: Path) -> None:
    dataset = aktis.data.from_items([{"n": i} for i in range(10)], parallelism=2)
    dataset.write_datasource(ListDatasource(), path=str(tmp_path / "own"), end=" ")
    back = aktis.data.read_datasource(ListDatasource(), paths=str(tmp_path / "own"))
    assert sorted(row["n"] for row in back.take_all()) == list(range(10))
    for datasource in (CSVDatasource(), ParquetDatasource()):
        place = str(tmp_path / datasource.get_name())
        dataset.write_datasource(datasource, path=place)
        assert aktis.data.read_datasource(datasource, paths=place).sum("n") == 45
    arrays = aktis.data.range_tensor(4, shape=(2,))
    arrays.write_datasource(NumpyDatasource(), path=str(tmp_path / "arrays"))
    assert aktis.data.read_numpy(str(tmp_path / "arrays")).count() == 4
    with pytest.raises(TypeError, match="needs path"):
        dataset.write_datasource(ListDatasource())
