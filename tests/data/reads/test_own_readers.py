"""Datasources by their classes, and what says how files are found: for those who write ``read_datasource(...)``."""

from __future__ import annotations

import io
import sqlite3
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import aktis.data
from aktis.data._blocks import to_rows
from aktis.data.datasource import (
    BinaryDatasource,
    DefaultFileMetadataProvider,
    FastFileMetadataProvider,
    FileBasedDatasource,
    FileMetadataProvider,
    ImageDatasource,
    JSONDatasource,
    MongoDatasource,
    ParquetBaseDatasource,
    Partitioning,
    PartitionStyle,
    PathPartitionParser,
    RangeDatasource,
    SQLDatasource,
    TextDatasource,
    TFRecordDatasource,
    WebDatasetDatasource,
)
from aktis.data.datasource.file_based_datasource import LineBasedDatasource
from aktis.data.exceptions import ReadError

from .helpers import reader_of, table_of, task_blocks


def rows_of(dataset: Any) -> list[Any]:
    return to_rows(table_of(dataset))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file of each format, named by its reader."""
    (tmp_path / "text").write_text("one\ntwo\n")
    (tmp_path / "binary").write_bytes(b"\x00\x01")
    (tmp_path / "json").write_text('{"x": 1}\n{"x": 2}\n')
    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("datasource", "name", "rows"),
    [
        (TextDatasource(), "text", [{"text": "one"}, {"text": "two"}]),
        (BinaryDatasource(), "binary", [b"\x00\x01"]),
        (JSONDatasource(), "json", [{"x": 1}, {"x": 2}]),
        (ParquetBaseDatasource(), "parquet", [{"x": 1}, {"x": 2}]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_datasource_reads_what_its_function_reads(datasource: Any, name: str, rows: list[Any], files: Path) -> None:
    function = getattr(aktis.data, {"binary": "read_binary_files"}.get(name, f"read_{name}"))
    found = rows_of(aktis.data.read_datasource(datasource, paths=str(files / name)))
    assert found == rows_of(function(str(files / name)))
    assert found == rows


def test_pictures(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((2, 3, 3), 7, np.uint8)).save(tmp_path / "a.png")
    (row,) = rows_of(aktis.data.read_datasource(ImageDatasource(), paths=str(tmp_path), size=(4, 5), mode="L"))
    assert np.asarray(row["image"] if isinstance(row, dict) else row).tolist() == [[7] * 5] * 4


def test_records_and_archives(tmp_path: Path) -> None:
    pytest.importorskip("crc32c")
    from aktis.data.datasource._tfrecord import encode_examples, frame

    table = pa.Table.from_pylist([{"i": 1}, {"i": 2}])
    (tmp_path / "a.tfrecords").write_bytes(b"".join(frame(record) for record in encode_examples(table)))
    assert rows_of(aktis.data.read_datasource(TFRecordDatasource(), paths=str(tmp_path / "a.tfrecords"))) == [
        {"i": 1},
        {"i": 2},
    ]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("s.cls")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"3"))
    found = aktis.data.read_datasource(WebDatasetDatasource(), paths=str(tmp_path / "a.tar"))
    assert rows_of(found) == [{"__key__": "s", "cls": 3}]


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ({"n": 3}, [0, 1, 2]),
        ({"n": 2, "block_format": "arrow"}, [{"value": 0}, {"value": 1}]),
        ({"n": 2, "block_format": "arrow", "column_name": "id"}, [{"id": 0}, {"id": 1}]),
        ({"n": 2, "block_format": "tensor", "tensor_shape": (2,)}, [[0, 0], [1, 1]]),
        ({"n": 0}, []),
    ],
)
def test_numbers(arguments: dict[str, Any], rows: list[Any]) -> None:
    found = rows_of(aktis.data.read_datasource(RangeDatasource(), parallelism=2, **arguments))
    assert [row.tolist() if isinstance(row, np.ndarray) else row for row in found] == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "not negative"),
        ({"n": 2.5}, "an integer"),
        ({"n": 2, "block_format": "rows"}, "'list', 'arrow' or 'tensor', got 'rows'"),
        ({"n": 2, "block_format": "tensor", "tensor_shape": (2, -1)}, r"positive integers, got \(2, -1\)"),
        ({"n": 2, "block_format": "tensor", "tensor_shape": (0,)}, "positive integers"),
    ],
)
def test_numbers_that_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        aktis.data.read_datasource(RangeDatasource(), **arguments)


def test_a_table_of_a_database(tmp_path: Path) -> None:
    path = str(tmp_path / "data.db")
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);")
    connection.close()
    found = aktis.data.read_datasource(
        SQLDatasource(),
        sql="SELECT id FROM t WHERE id > ?",
        connection_factory=lambda: sqlite3.connect(path),
        sql_params=(1,),
    )
    assert rows_of(found) == [{"id": 2}]
    with pytest.raises(TypeError, match="a function that opens a connection"):
        aktis.data.read_datasource(SQLDatasource(), sql="SELECT 1", connection_factory="data.db")


def test_a_collection_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(ImportError, match=r"aktis-data\[mongo\]"):
        dataset = aktis.data.read_datasource(
            MongoDatasource(), uri="mongodb://host", database="db", collection="things"
        )
        table_of(dataset)


# ------------------------------------------------------------------------------------------------- which files


class Lines(FileBasedDatasource):
    def _read_file(self, f: Any, path: str, **_: Any) -> Any:
        return pa.table({"line": f.readall().decode().splitlines()})


def test_listing_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    path = str(tmp_path / "a.csv")
    for provider in (DefaultFileMetadataProvider(), FastFileMetadataProvider()):
        assert table_of(aktis.data.read_csv(path, meta_provider=provider))["x"].to_pylist() == [1]
        assert list(provider.expand_paths([path], None)) == [
            (path, None if isinstance(provider, FastFileMetadataProvider) else 4)
        ]
    missing = str(tmp_path / "b.csv")
    with pytest.raises(FileNotFoundError, match=r"b\.csv"):
        aktis.data.read_csv(missing, meta_provider=DefaultFileMetadataProvider())
    lazily = aktis.data.read_csv(missing, meta_provider=FastFileMetadataProvider())
    with pytest.raises(ReadError, match=r"b\.csv"):
        table_of(lazily)


def test_a_provider_says_what_blocks_are_like(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x\ny\n")

    class Known(DefaultFileMetadataProvider):
        def _get_block_metadata(self, paths: list[str], schema: Any, **facts: Any) -> Any:
            return super()._get_block_metadata(paths, schema, **{**facts, "rows_per_file": 2})

    dataset = aktis.data.read_datasource(Lines(), paths=str(tmp_path / "a"), meta_provider=Known())
    (task,) = dataset._root.reader.get_read_tasks(1)
    assert (task.metadata.num_rows, task.metadata.size_bytes) == (2, 4)
    assert Known()(["p"], None, file_sizes=[None]).size_bytes is None
    assert Known()(["p", "q"], None, file_sizes=[3, 4]).num_rows == 4


@pytest.mark.parametrize("wrong", [FileMetadataProvider(), FastFileMetadataProvider, "fast"])
def test_what_is_no_provider(wrong: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(TypeError, match="meta_provider .*instance of a subclass of BaseFileMetadataProvider"):
        aktis.data.read_csv(tmp_path, meta_provider=wrong)


def test_a_provider_must_say_something() -> None:
    class Silent(FileMetadataProvider):
        pass

    with pytest.raises(NotImplementedError, match="Silent must define _get_block_metadata"):
        Silent()([], None)


@pytest.mark.parametrize(
    ("style", "path", "names"),
    [(PartitionStyle.HIVE, "year=2020/month=1", None), (PartitionStyle.DIRECTORY, "2020/1", ["year", "month"])],
)
def test_styles_are_their_names(style: PartitionStyle, path: str, names: list[str] | None, tmp_path: Path) -> None:
    folder = tmp_path / path
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("x\n1\n")
    assert PartitionStyle(style.value) is style
    for given in (style, style.value):
        partitioning = Partitioning(given, base_dir=str(tmp_path), field_names=names)
        table = table_of(aktis.data.read_csv(tmp_path, partitioning=partitioning))
        assert table.to_pylist() == [{"x": 1, "year": 2020, "month": 1}]
        assert PathPartitionParser(partitioning)(str(folder / "a.csv")) == {"year": "2020", "month": "1"}
    with pytest.raises(ValueError, match="'tree'"):
        Partitioning("tree")


@pytest.mark.parametrize("tasks", [1, 2, 5])
def test_files_of_lines_are_read_by_several_tasks(tasks: int, tmp_path: Path) -> None:
    class Numbered(LineBasedDatasource):
        def _read_file(self, f: Any, path: str, **_: Any) -> Any:
            return {"line": np.array([line.decode() for line in f.read().splitlines()], dtype=object)}

    class Whole(Numbered):
        def _can_cut(self, reader_args: Any) -> bool:
            return False

    (tmp_path / "a").write_text("".join(f"line {i}\n" for i in range(100)))
    for kind, parts in ((Numbered, tasks), (Whole, 1)):
        dataset = aktis.data.read_datasource(kind(), paths=str(tmp_path / "a"), parallelism=tasks)
        assert len(task_blocks(reader_of(dataset), tasks)) == parts
        assert table_of(dataset)["line"].to_pylist() == [f"line {i}" for i in range(100)]
