"""Databases, other libraries' data, other file systems, partition helpers, listings."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aktis.data
from aktis.data._blocks import to_rows
from aktis.data.datasource import (
    BaseFileMetadataProvider,
    FileExtensionFilter,
    Partitioning,
    PathPartitionEncoder,
    PathPartitionFilter,
    PathPartitionParser,
)
from aktis.data.datasource._lines import LineRange
from aktis.data.datasource._listing import list_files, natural_key
from aktis.data.datasource._source import cut
from aktis.data.exceptions import ReadError

from .helpers import reader_of, table_of, task_blocks


def rows_of(dataset: Any) -> list[Any]:
    return to_rows(table_of(dataset))


# ------------------------------------------------------------------------------------------------------------ SQL


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "data.db")
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER, name TEXT)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", [(i, f"n{i}") for i in range(-5, 95)] + [(None, "null")])
    connection.commit()
    connection.close()
    return path


def test_sql(database: str) -> None:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(database)

    dataset = aktis.data.read_sql("SELECT id, name FROM t WHERE id > ? ORDER BY id", connect, sql_params=(91,))
    assert rows_of(dataset) == [{"id": i, "name": f"n{i}"} for i in (92, 93, 94)]
    assert table_of(aktis.data.read_sql("SELECT * FROM t WHERE id > 1000", connect)).column_names == ["id", "name"]


def test_sql_in_shards(database: str) -> None:
    dataset = aktis.data.read_sql(
        "SELECT * FROM t;", lambda: sqlite3.connect(database), shard_keys=["id"], parallelism=4
    )
    parts = task_blocks(reader_of(dataset), 4)
    assert [sum(block.num_rows for block in part) for part in parts] == [26, 26, 25, 24]
    names = [name for part in parts for block in part for name in block["name"].to_pylist()]
    assert sorted(names) == sorted([f"n{i}" for i in range(-5, 95)] + ["null"])


def test_sql_errors(database: str) -> None:
    with pytest.raises(TypeError, match="a function that opens a connection"):
        aktis.data.read_sql("SELECT 1", object())  # type: ignore[arg-type]
    with pytest.raises(ReadError, match="The query 'SELECT x FROM nowhere' failed: OperationalError: no such table"):
        rows_of(aktis.data.read_sql("SELECT x FROM nowhere", lambda: sqlite3.connect(database)))
    with pytest.raises(ReadError, match="connection_factory failed: ZeroDivisionError"):
        rows_of(aktis.data.read_sql("SELECT 1", lambda: 1 / 0))
    with pytest.raises(ReadError, match="several columns of the name x: use AS"):
        rows_of(aktis.data.read_sql("SELECT id AS x, name AS x FROM t", lambda: sqlite3.connect(database)))
    with pytest.raises(ReadError, match="it gives no rows"):
        rows_of(aktis.data.read_sql("CREATE TABLE u (x INTEGER)", lambda: sqlite3.connect(database)))


# ---------------------------------------------------------------------------------------------------------- Mongo


class FakeCollection:
    """As much of a collection as a read uses."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.documents = documents

    def aggregate(self, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = self.documents
        for stage in stages:
            if "$sample" in stage:
                found = found[: stage["$sample"]["size"]]
            elif "$match" in stage:
                ((name, limits),) = stage["$match"].items()
                found = [
                    d
                    for d in found
                    if d[name] >= limits.get("$gte", d[name]) and ("$lt" not in limits or d[name] < limits["$lt"])
                ]
            elif "$project" in stage:
                found = [{k: d[k] for k, keep in stage["$project"].items() if keep} for d in found]
        return found


@pytest.fixture
def mongo(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    pymongo = pytest.importorskip("pymongo")
    bson = pytest.importorskip("bson")
    documents = [{"_id": i, "x": i / 2, "ref": bson.ObjectId(b"%012d" % i)} for i in range(100)]

    class Database(dict[str, Any]):
        def list_collection_names(self) -> list[str]:
            return list(self)

    class Client(dict[str, Any]):
        def __init__(self, uri: str, **_: Any) -> None:
            super().__init__(db=Database(things=FakeCollection(documents)))

        def list_database_names(self) -> list[str]:
            return list(self)

        def close(self) -> None:
            pass

    monkeypatch.setattr(pymongo, "MongoClient", Client)
    return documents


def test_mongo(mongo: list[dict[str, Any]]) -> None:
    dataset = aktis.data.read_mongo("mongodb://u:p@host", "db", "things", parallelism=3)
    parts = task_blocks(reader_of(dataset), 3)
    assert len(parts) == 3
    assert all(sum(block.num_rows for block in part) > 15 for part in parts)
    rows = rows_of(dataset)
    assert [row["_id"] for row in rows] == list(range(100))
    assert rows[1]["ref"] == str(mongo[1]["ref"])
    chosen = aktis.data.read_mongo(
        "m://", "db", "things", pipeline=[{"$project": {"x": 1}}], schema=pa.schema({"x": pa.float32()}), parallelism=1
    )
    assert table_of(chosen).schema == pa.schema({"x": pa.float32()})


def test_mongo_errors(mongo: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="no database 'other' at mongodb://host"):
        reader_of(aktis.data.read_mongo("mongodb://u:secret@host", "other", "things")).get_read_tasks(1)
    with pytest.raises(ValueError, match="no collection 'other' in the database 'db'"):
        reader_of(aktis.data.read_mongo("m://", "db", "other")).get_read_tasks(1)


# ------------------------------------------------------------------------------------------------------ libraries


def test_dask() -> None:
    dask = pytest.importorskip("dask.dataframe")
    frame = dask.from_pandas(pd.DataFrame({"a": range(10), "b": list("abcdefghij")}), npartitions=3)
    dataset = aktis.data.from_dask(frame)
    assert len(task_blocks(reader_of(dataset))) == 3
    assert table_of(dataset)["a"].to_pylist() == list(range(10))
    with pytest.raises(TypeError, match="from_dask takes a dask.dataframe.DataFrame, got dict"):
        aktis.data.from_dask({})


def test_huggingface() -> None:
    datasets = pytest.importorskip("datasets")
    source = datasets.Dataset.from_dict({"a": list(range(10)), "b": list("abcdefghij")})
    dataset = aktis.data.from_huggingface(source)
    assert table_of(dataset).to_pydict() == {"a": list(range(10)), "b": list("abcdefghij")}
    before = source.data.table.column("a").chunk(0).buffers()[1].address
    assert table_of(dataset).column("a").chunk(0).buffers()[1].address == before
    chosen = source.select([7, 3]).remove_columns("b")
    assert table_of(aktis.data.from_huggingface(chosen)).to_pydict() == {"a": [7, 3]}
    parts = aktis.data.from_huggingface(datasets.DatasetDict({"train": source, "test": chosen}))
    assert isinstance(parts, dict)
    assert {name: table_of(part).num_rows for name, part in parts.items()} == {"train": 10, "test": 2}
    assert len(aktis.data.from_huggingface(source, override_num_blocks=4)._root.handles) == 4  # type: ignore[union-attr]

    stream = source.to_iterable_dataset(num_shards=3)
    dataset = aktis.data.from_huggingface(stream)
    assert sorted(table_of(dataset)["a"].to_pylist()) == list(range(10))
    assert len(reader_of(dataset).get_read_tasks(-1)) == 3
    with pytest.raises(TypeError, match="from_huggingface takes"):
        aktis.data.from_huggingface([1])


def test_torch_like_datasets() -> None:
    class Items:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[int, str]:
            return index, "x" * index  # never raises IndexError

    assert rows_of(aktis.data.from_torch(Items())) == [(0, ""), (1, "x"), (2, "xx")]
    assert rows_of(aktis.data.from_torch(iter([5, 6]))) == [5, 6]
    with pytest.raises(TypeError, match="from_torch takes"):
        aktis.data.from_torch(3)


def test_frames_of_other_libraries() -> None:
    class Spark:
        def toPandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": range(6)})

    assert len(aktis.data.from_spark(Spark(), parallelism=3)._root.handles) == 3

    class Modin:
        def _to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": [1]})

    assert rows_of(aktis.data.from_modin(Modin())) == [{"a": 1}]

    class Tensorflow:
        def as_numpy_iterator(self) -> Iterator[Any]:
            return iter([{"x": np.float32(1)}, {"x": np.float32(2)}])

    assert rows_of(aktis.data.from_tf(Tensorflow())) == [{"x": 1.0}, {"x": 2.0}]
    for function in (aktis.data.from_spark, aktis.data.from_modin, aktis.data.from_tf):
        with pytest.raises(TypeError, match=f"{function.__name__} takes"):
            function(3)


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("PIL", "images", lambda path: aktis.data.read_images(path)),
        ("crc32c", "tfrecords", lambda path: rows_of(aktis.data.read_tfrecords(path))),
        ("pymongo", "mongo", lambda path: aktis.data.read_mongo("m://", "a", "b")),
        ("datasets", "huggingface", lambda path: aktis.data.from_huggingface(3)),
    ],
)
def test_missing_packages_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, call: Any
) -> None:
    import aktis.data.datasource._tfrecord as tfrecord

    (tmp_path / "a.tfrecords").write_bytes(b"x" * 20)
    tfrecord._crc32c.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=rf"pip install 'aktis-data\[{extra}\]'"):
        call(tmp_path)
    tfrecord._crc32c.cache_clear()


# --------------------------------------------------------------------------------------------------- file systems


def test_fsspec_file_systems(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.rm("/reads", recursive=True) if memory.exists("/reads") else None
    for i in (1, 2, 10):
        with memory.open(f"/reads/deep/p{i}.parquet", "wb") as file:
            pq.write_table(pa.table({"x": [i]}), file)
    assert table_of(aktis.data.read_parquet("memory://reads"))["x"].to_pylist() == [1, 2, 10]
    assert table_of(aktis.data.read_parquet("/reads/deep", filesystem=memory))["x"].to_pylist() == [1, 2, 10]
    wrapped = pafs.PyFileSystem(pafs.FSSpecHandler(memory))
    assert table_of(aktis.data.read_parquet("/reads/*/p?.parquet", filesystem=wrapped))["x"].to_pylist() == [1, 2]
    assert table_of(aktis.data.read_parquet("memory://reads/**/p1*.parquet"))["x"].to_pylist() == [1, 10]
    with pytest.raises(FileNotFoundError, match="memory://nowhere"):
        aktis.data.read_parquet("memory://nowhere")
    memory.rm("/reads", recursive=True)


def test_bad_paths_and_file_systems(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="filesystem is a pyarrow.fs.FileSystem"):
        aktis.data.read_parquet("x", filesystem="s3")
    with pytest.raises(TypeError, match="a path is a string"):
        aktis.data.read_parquet([3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="paths is empty"):
        aktis.data.read_csv([])
    with pytest.raises(ValueError, match="a path is empty"):
        aktis.data.read_csv("")
    with pytest.raises(ValueError, match="no file system is known for nope://"):
        aktis.data.read_csv("nope://x")
    (tmp_path / "a").touch()
    with pytest.raises(ValueError, match="either all paths start with 'local://' or none"):
        aktis.data.read_csv([f"local://{tmp_path}/a", f"{tmp_path}/a"])
    with pytest.raises(ValueError, match="No file is left to read: .*'json'"):
        aktis.data.read_csv(tmp_path, file_extensions=["json"])


def test_patterns(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/b/2.csv", "c/3.csv", "c/.4.csv", "odd[1].csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")

    def found(pattern: str) -> list[str]:
        return [str(Path(path).relative_to(tmp_path)) for path in list_files(f"{tmp_path}/{pattern}").paths]

    assert found("*/*.csv") == ["a/1.csv", "c/3.csv"]
    assert found("**/*.csv") == ["a/1.csv", "a/b/2.csv", "c/3.csv", "odd[1].csv"]
    assert found("[ab]") == ["a/1.csv", "a/b/2.csv"]
    assert found("odd[1].csv") == ["odd[1].csv"]


def test_own_metadata_provider(tmp_path: Path) -> None:
    class Provider(BaseFileMetadataProvider):
        def expand_paths(self, paths: list[str], filesystem: Any, **_: Any) -> Iterator[tuple[str, int | None]]:
            for path in paths:
                for i in (2, 1):
                    yield f"{path}/{i}.csv", 4

    for i in (1, 2, 3):
        (tmp_path / f"{i}.csv").write_text(f"x\n{i}\n")
    assert table_of(aktis.data.read_csv(tmp_path, meta_provider=Provider()))["x"].to_pylist() == [2, 1]


def test_local_paths_stay_with_the_driver(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    dataset = aktis.data.read_csv(f"local://{tmp_path}/a.csv", ray_remote_args={"num_cpus": 2}, concurrency=3)
    assert dataset._root.remote_args["num_cpus"] == 2
    assert "scheduling_strategy" in dataset._root.remote_args
    assert dataset._root.concurrency == 3


# ------------------------------------------------------------------------------------------------- pure functions


def test_partition_parsers() -> None:
    hive = PathPartitionParser.of("hive", base_dir="/data")
    assert hive("/data/a=1/b=x%20y/f.csv") == {"a": "1", "b": "x y"}
    assert hive("/other/a=1/f.csv") == {}
    folders = PathPartitionParser.of("dir", base_dir="/data", field_names=["a", "b"])
    assert folders("/data/1/2/f.csv") == {"a": "1", "b": "2"}
    with pytest.raises(ValueError, match="expected directories for"):
        folders("/data/1/f.csv")
    with pytest.raises(ValueError, match="needs field_names"):
        Partitioning("dir")
    with pytest.raises(ValueError, match="'hive' or 'dir', got 'x'"):
        Partitioning("x")
    with pytest.raises(ValueError, match="expected the partition keys"):
        PathPartitionParser.of("hive", field_names=["a"])("b=1/f.csv")


def test_partition_filter_and_encoder() -> None:
    keep = PathPartitionFilter.of(lambda values: values.get("a") == "1")
    assert keep(["a=1/x", "a=2/x"]) == ["a=1/x"]
    encode = PathPartitionEncoder.of("hive", field_names=["a", "b"])
    assert encode([1, "x/y"]) == "a=1/b=x%2Fy"
    assert PathPartitionParser.of("hive")(encode(["ü", None]) + "/f") == {"a": "ü", "b": "__HIVE_DEFAULT_PARTITION__"}
    with pytest.raises(ValueError, match="one value for each"):
        encode([1])
    assert FileExtensionFilter("csv", allow_if_no_extension=True)(["a.CSV", "b", "c.txt"]) == ["a.CSV", "b"]


def test_partition_types(tmp_path: Path) -> None:
    for value in ("01", "-2", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"n={value}").mkdir()
        (tmp_path / f"n={value}" / "a.csv").write_text("x\n1\n")
    assert sorted(table_of(aktis.data.read_csv(tmp_path))["n"].to_pylist(), key=str) == [-2, 1, None]
    wrong = Partitioning("hive", field_types={"n": pa.date32()})
    with pytest.raises(ReadError, match="the value '01' of the partition column 'n' is no date32"):
        table_of(aktis.data.read_csv(tmp_path, partitioning=wrong))


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 40))
def test_cut_is_even(weights: list[int], parts: int) -> None:
    ranges = cut(weights, parts)
    assert [i for part in ranges for i in part] == list(range(len(weights)))
    assert all(len(part) for part in ranges)
    assert len(ranges) == min(parts, len(weights))
    if weights and sum(weights):
        sums = [sum(weights[i] for i in part) for part in ranges]
        assert max(sums) <= 2 * (sum(weights) / len(ranges) + max(weights))


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=6), max_size=12), st.integers(1, 8), st.booleans(), st.integers(1, 5))
def test_parts_of_a_file_are_all_its_lines(lines: list[bytes], parts: int, ends: bool, step: int) -> None:
    data = b"\n".join(line.replace(b"\n", b"_") for line in lines) + (b"\n" if ends else b"")
    bounds = [len(data) * i // parts for i in range(parts + 1)]
    pieces = []
    for start, stop in zip(bounds, bounds[1:]):
        with LineRange(pa.BufferReader(data), start, None if stop == len(data) else stop) as part:
            pieces.append(b"".join(iter(lambda: part.read(step), b"")))
    assert b"".join(pieces) == data
    assert all(piece.endswith(b"\n") for piece in pieces[:-1] if piece and piece is not pieces[-1]) or not ends


def test_natural_order() -> None:
    names = ["a/10.csv", "a/9.csv", "a/b/1.csv", "a1", "a/x2y10", "a/x2y9", "a"]
    assert sorted(names, key=natural_key) == ["a", "a/9.csv", "a/10.csv", "a/b/1.csv", "a/x2y9", "a/x2y10", "a1"]


def test_streams_go_on_after_transient_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis.data.datasource._policy import ReadPolicy

    pauses: list[float] = []
    monkeypatch.setattr("aktis.data.datasource._policy.time.sleep", pauses.append)
    policy = ReadPolicy.of(aktis.data.DatasetContext.get_current())
    tries = 0

    def items() -> Iterator[int]:
        nonlocal tries
        tries += 1
        for i in range(5):
            if i == tries and tries < 4:
                raise OSError("Timeout was reached")
            yield i

    assert list(policy.stream(items)) == [0, 1, 2, 3, 4]
    assert (tries, len(pauses)) == (4, 3)

    def lost() -> Iterator[int]:
        yield 1
        raise FileNotFoundError("Timeout or not, it is gone")

    with pytest.raises(FileNotFoundError):
        list(policy.stream(lost))
    assert len(pauses) == 3

    def hopeless() -> Iterator[int]:
        raise OSError("Connection reset by peer")
        yield 1

    with pytest.raises(ReadError, match="Cannot read a: Connection reset"):
        list(policy.guard("a", hopeless))
    assert len(pauses) == 3 + policy.retries
