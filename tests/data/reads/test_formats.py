"""CSV, JSON, text, bytes, arrays, images, TFRecords, tar files: what comes out, and what happens to files that are broken."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

import aktis.data
from aktis.data import DatasetContext
from aktis.data._blocks import kind_of, to_rows
from aktis.data.datasource import FileBasedDatasource, Partitioning, PathPartitionFilter
from aktis.data.exceptions import ReadError, SchemaError

from .helpers import read_all, reader_of, table_of, task_blocks


def rows_of(dataset: Any) -> list[Any]:
    return to_rows(table_of(dataset))


# ------------------------------------------------------------------------------------------------------------ CSV


def test_csv(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("id,name\n3,z\n")
    (tmp_path / "a.csv").write_text('id,name\n1,x\n2,"y, \n""q"""\n')
    (tmp_path / "readme.md").write_text("no data")
    parse = pacsv.ParseOptions(newlines_in_values=True)
    assert rows_of(aktis.data.read_csv(tmp_path, parse_options=parse)) == [
        {"id": 1, "name": "x"},
        {"id": 2, "name": 'y, \n"q"'},
        {"id": 3, "name": "z"},
    ]


def test_csv_compressed_and_options(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1;x\n2;y\n"))
    dataset = aktis.data.read_csv(
        tmp_path,
        read_options=pacsv.ReadOptions(column_names=["id", "name"]),
        parse_options=pacsv.ParseOptions(delimiter=";"),
        convert_options=pacsv.ConvertOptions(column_types={"id": pa.string()}),
    )
    assert rows_of(dataset) == [{"id": "1", "name": "x"}, {"id": "2", "name": "y"}]
    assert [len(blocks) for blocks in task_blocks(reader_of(dataset), 5)] == [1]


@pytest.mark.parametrize("tasks", [1, 2, 3, 7, 50])
def test_one_csv_file_is_read_by_many_tasks(tmp_path: Path, tasks: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n" + "".join(f"{i},{'x' * (i % 40)}\n" for i in range(200)))
    dataset = aktis.data.read_csv(path, override_num_blocks=tasks)
    assert len(reader_of(dataset).get_read_tasks(tasks)) == tasks
    assert table_of(dataset)["id"].to_pylist() == list(range(200))


def test_csv_projection(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n1,2,3\n")
    (tmp_path / "b.csv").write_text("a,c\n4,5\n")
    reader = reader_of(aktis.data.read_csv(tmp_path))
    assert read_all(reader.with_columns(["c", "b"])).to_pydict() == {"c": [3, 5], "b": [2, None]}
    assert read_all(reader.with_columns([])).num_rows == 2
    assert reader.with_columns(["nope"]) is None


def test_big_csv_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import aktis.data.datasource.csv_datasource as module

    monkeypatch.setattr(module, "_WHOLE", 1000)
    monkeypatch.setattr(module, "_BLOCK", 500)
    path = tmp_path / "a.csv"
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(2000)))
    assert table_of(aktis.data.read_csv(path, parallelism=1))["id"].to_pylist() == list(range(2000))
    path.write_text("id\n" + "".join(f"{i}\n" for i in range(2000)) + "word\n")
    with pytest.raises(ReadError, match=r"a.csv: .*column_types"):
        table_of(aktis.data.read_csv(path, parallelism=1))


def test_csv_partitions(tmp_path: Path) -> None:
    for year in (1, 2):
        (tmp_path / f"year={year}").mkdir()
        (tmp_path / f"year={year}" / "a.csv").write_text("x\n7\n")
    assert rows_of(aktis.data.read_csv(tmp_path)) == [{"x": 7, "year": 1}, {"x": 7, "year": 2}]
    keep = PathPartitionFilter.of(lambda values: values["year"] == "2")
    assert rows_of(aktis.data.read_csv(tmp_path, partition_filter=keep, include_paths=True)) == [
        {"x": 7, "year": 2, "path": str(tmp_path / "year=2" / "a.csv")}
    ]


# ----------------------------------------------------------------------------------------------------------- JSON


def test_json_forms(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": {"c": "x"}}, {"a": None, "b": {"c": "y"}}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name, text in {
        "lines.jsonl": lines,
        "array.json": json.dumps(rows, indent=2),
        "no_newline.json": lines.rstrip(),
        "empty_lines.json": "\n" + lines.replace("\n", "\n\n"),
    }.items():
        (tmp_path / name).write_text(text)
        assert rows_of(aktis.data.read_json(tmp_path / name)) == rows, name
    (tmp_path / "object.json").write_text(json.dumps(rows[0], indent=2))
    assert rows_of(aktis.data.read_json(tmp_path / "object.json")) == rows[:1]


def test_json_that_arrow_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"b": "x"}\n')
    assert rows_of(aktis.data.read_json(path)) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    path.write_text('{"a": 1}\n{"a": "x"}\n{"a": [2.5]}\n')
    assert rows_of(aktis.data.read_json(path)) == [{"a": 1}, {"a": "x"}, {"a": [2.5]}]
    path.write_text('{"a": "' + "x" * 5_000_000 + '"}\n' * 1 + '{"a": "y"}\n')
    assert [len(row["a"]) for row in rows_of(aktis.data.read_json(path))] == [5_000_000, 1]


@pytest.mark.parametrize("chunk", [50, 500])
def test_big_json_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    import aktis.data.datasource.json_datasource as module

    monkeypatch.setattr(module, "_CHUNK", chunk)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": "y" * (i % 90)}) + "\n" for i in range(300)))
    for tasks in (1, 4):
        assert table_of(aktis.data.read_json(path, parallelism=tasks))["id"].to_pylist() == list(range(300))
    (tmp_path / "pretty.json").write_text(json.dumps({"id": 1, "list": list(range(200))}, indent=1))
    assert rows_of(aktis.data.read_json(tmp_path / "pretty.json"))[0]["id"] == 1


# ----------------------------------------------------------------------------------------------------------- text


def test_text_line_ends_and_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\ntwo\rthree\n\n  \nf\x0cour\u2028".encode())
    assert [row["text"] for row in rows_of(aktis.data.read_text(path))] == ["one", "two", "three", "f\x0cour\u2028"]
    kept = rows_of(aktis.data.read_text(path, drop_empty_lines=False))
    assert [row["text"] for row in kept] == ["one", "two", "three", "", "  ", "f\x0cour\u2028"]


def test_text_encoding_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\xffb\n")
    assert rows_of(aktis.data.read_text(path)) == [{"text": "ab"}]
    assert rows_of(aktis.data.read_text(path, errors="replace")) == [{"text": "a\ufffdb"}]
    assert rows_of(aktis.data.read_text(path, encoding="latin-1")) == [{"text": "aÿb"}]
    with pytest.raises(ReadError, match=r"a.txt: .*codec can't decode"):
        rows_of(aktis.data.read_text(path, errors="strict"))
    with pytest.raises(LookupError, match="nonsense"):
        aktis.data.read_text(path, encoding="nonsense")
    path.write_text("ü\n", encoding="utf-16")
    assert rows_of(aktis.data.read_text(path, encoding="utf-16", parallelism=4)) == [{"text": "ü"}]


@pytest.mark.parametrize("tasks", [1, 2, 5, 33])
def test_text_in_parts(tmp_path: Path, tasks: int) -> None:
    path = tmp_path / "a.txt"
    lines = [f"line {i} " + "ü" * (i % 17) for i in range(100)]
    path.write_text("\n".join(lines))
    assert [row["text"] for row in rows_of(aktis.data.read_text(path, parallelism=tasks))] == lines


def test_empty_text_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    table = table_of(aktis.data.read_text(tmp_path))
    assert (table.num_rows, table.column_names) == (0, ["text"])


# --------------------------------------------------------------------------------------------- one row per file


def test_binary(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"\x00\x01")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"zipped"))
    first, second = rows_of(aktis.data.read_binary_files(tmp_path))
    assert (first, gzip.decompress(second)) == (b"\x00\x01", b"zipped")
    pairs = rows_of(aktis.data.read_binary_files(tmp_path, include_paths=True))
    assert pairs[0] == (str(tmp_path / "a.bin"), b"\x00\x01")
    (tmp_path / "x=1").mkdir()
    (tmp_path / "x=1" / "c").write_bytes(b"c")
    hive = aktis.data.read_binary_files(tmp_path / "x=1", partitioning=Partitioning("hive"))
    assert rows_of(hive) == [{"bytes": b"c", "x": 1}]


def test_one_file_one_row_limits(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.bin").write_bytes(bytes([i]))
    reader = reader_of(aktis.data.read_binary_files(tmp_path))
    blocks = reader.get_read_tasks(1)[0]()
    next(blocks)
    assert blocks.origin == f"20 files, {tmp_path}/0.bin to {tmp_path}/19.bin"
    assert to_rows(read_all(reader)) == [bytes([i]) for i in range(20)]
    assert len(reader.with_limit(3).input_files()) == 3
    (task,) = reader.get_read_tasks(1)
    assert task.get_metadata().num_rows == 20


def test_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.arange(6).reshape(3, 2))
    np.save(tmp_path / "2.npy", np.arange(4).reshape(2, 2))
    table = table_of(aktis.data.read_numpy(tmp_path))
    assert kind_of(table) == "tensor"
    np.testing.assert_array_equal(np.stack(to_rows(table)), [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]])


def test_numpy_refuses_pickles(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ReadError, match=r"a.npy: .*allow_pickle=False"):
        table_of(aktis.data.read_numpy(tmp_path))
    assert rows_of(aktis.data.read_numpy(tmp_path, allow_pickle=True)) == [{"x": 1}]


def test_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (6, 4, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    image.fromarray(pixels[:3]).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    first, second = rows_of(aktis.data.read_images(tmp_path, include_paths=True))
    np.testing.assert_array_equal(first["image"], pixels)
    assert (second["image"].shape, second["path"]) == ((3, 4, 3), str(tmp_path / "b.png"))
    sized = rows_of(aktis.data.read_images(tmp_path, size=(2, 5), mode="L"))
    assert [row["image"].shape for row in sized] == [(2, 5), (2, 5)]
    with pytest.raises(ValueError, match="size is"):
        aktis.data.read_images(tmp_path, size=(0, 1))
    with pytest.raises(ValueError, match="mode is one of"):
        aktis.data.read_images(tmp_path, mode="XYZ")


# ------------------------------------------------------------------------------------------------------- archives


def test_tfrecords(tmp_path: Path) -> None:
    pytest.importorskip("crc32c")
    from aktis.data.datasource._tfrecord import encode_examples, frame

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        data = b"".join(frame(record) for record in encode_examples(pa.Table.from_pylist(rows)))
        (tmp_path / name).write_bytes(data)

    rows = [{"b": b"x", "f": 0.5, "i": 1, "l": [1, 2]}, {"b": b"y", "f": 1.5, "i": 2, "l": [3]}]
    write("a.tfrecords", rows)
    assert rows_of(aktis.data.read_tfrecords(tmp_path)) == rows
    (tmp_path / "a.tfrecords").unlink()
    write("b.tfrecords", [{"l": [3]}])
    assert rows_of(aktis.data.read_tfrecords(tmp_path)) == [{"l": 3}]
    assert rows_of(aktis.data.read_tfrecords(tmp_path, list_columns=["l"])) == [{"l": [3]}]
    data = (tmp_path / "b.tfrecords").read_bytes()
    (tmp_path / "b.tfrecords").write_bytes(data[:-2])
    with pytest.raises(ReadError, match=r"b.tfrecords: truncated"):
        rows_of(aktis.data.read_tfrecords(tmp_path))


def tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_webdataset(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(3))
    tar(
        tmp_path / "a.tar",
        {
            "s/1.txt": "ü".encode(),
            "s/1.cls": b"3",
            "s/1.json": b'{"k": [1]}',
            "s/1.left.npy": array.getvalue(),
            "s/2.txt": b"two",
            "s/2.pickle": b"\x80not loaded",
        },
    )
    first, second = rows_of(aktis.data.read_webdataset(tmp_path))
    assert (first["__key__"], first["txt"], first["cls"], first["json"]) == ("s/1", "ü", 3, {"k": [1]})
    np.testing.assert_array_equal(first["left.npy"], np.arange(3))
    assert (second["txt"], second["cls"], second["pickle"]) == ("two", None, b"\x80not loaded")
    raw = rows_of(aktis.data.read_webdataset(tmp_path, decoder=None, suffixes=["txt"]))
    assert raw == [{"__key__": "s/1", "txt": "ü".encode()}, {"__key__": "s/2", "txt": b"two"}]
    made = aktis.data.read_webdataset(tmp_path, decoder=lambda sample: {"n": len(sample)}, fileselect=["*.txt"])
    assert rows_of(made) == [{"n": 2}, {"n": 2}]
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:700])
    with pytest.raises(ReadError, match=r"a.tar"):
        rows_of(aktis.data.read_webdataset(tmp_path))


# --------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("function", "name", "content"),
    [
        ("read_csv", "a.csv", b""),
        ("read_csv", "a.csv", b"a,b\n1,2\n1\n"),
        ("read_json", "a.json", b""),
        ("read_json", "a.json", b'{"a": 1}\n{"a": \n'),
        ("read_json", "a.json", b"[1, 2]"),
        ("read_numpy", "a.npy", b""),
        ("read_numpy", "a.npy", b"\x93NUMPY\x01\x00v\x00{'descr'"),
        ("read_numpy", "a.npy", b"text"),
        ("read_images", "a.png", b""),
        ("read_images", "a.png", b"text"),
        ("read_tfrecords", "a.tfrecords", b"text that is no record at all"),
        ("read_csv", "a.csv.gz", b"not compressed"),
    ],
)
def test_broken_files(tmp_path: Path, function: str, name: str, content: bytes) -> None:
    read = getattr(aktis.data, function)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError, match=f"Cannot read .*{name}: ") as caught:
        table_of(read(tmp_path / name))
    assert caught.value.path == str(tmp_path / name)
    assert [b for part in task_blocks(reader_of(read(tmp_path / name, on_error="skip"))) for b in part] == []


def test_skipping_leaves_the_others(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.csv").write_text(f"x\n{i}\n" if i != 1 else "")
    assert table_of(aktis.data.read_csv(tmp_path, on_error="skip"))["x"].to_pylist() == [0, 2]
    context = DatasetContext.get_current()
    context.on_unreadable_file = "skip"
    try:
        dataset = aktis.data.read_csv(tmp_path)
    finally:
        context.on_unreadable_file = "raise"
    assert table_of(dataset)["x"].to_pylist() == [0, 2]


def test_files_that_do_not_fit_name_both(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"a": 1}\n')
    (tmp_path / "2.json").write_text('{"a": {"b": 1}}\n')
    with pytest.raises(SchemaError, match=r"1.json and .*2.json do not fit together: 'a' is int64 and struct"):
        table_of(aktis.data.read_json(tmp_path, parallelism=1))


def test_origin_of_a_block(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    (task,) = reader_of(aktis.data.read_csv(tmp_path)).get_read_tasks(1)
    blocks = task()
    assert next(blocks).num_rows == 2
    assert blocks.origin == f"{tmp_path}/a.csv, rows 0 to 1"
    assert task.get_metadata().input_files == [str(tmp_path / "a.csv")]


# ------------------------------------------------------------------------------------------------- one's own format


class UpperDatasource(FileBasedDatasource):
    _FILE_EXTENSION = "up"

    def _read_file(self, f: Any, path: str, *, suffix: str = "") -> Any:
        return [line.upper() + suffix for line in f.readall().decode().split()]


class PairsDatasource(FileBasedDatasource):
    def _read_file(self, f: Any, path: str, **_: Any) -> Any:
        return [(path, {1, 2})]


class ArrowDatasource(FileBasedDatasource):
    def _read_stream(self, f: Any, path: str, **_: Any) -> Any:
        with pa.ipc.open_stream(f) as reader:
            yield reader.read_all()


def test_objects_from_own_code_and_from_files(tmp_path: Path) -> None:
    from aktis.data._blocks import from_rows

    with pa.OSFile(str(tmp_path / "a"), "wb") as sink:
        table = from_rows([{"x": {1}}])
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    assert rows_of(aktis.data.read_datasource(PairsDatasource(), paths=tmp_path)) == [(str(tmp_path / "a"), {1, 2})]
    (row,) = rows_of(aktis.data.read_datasource(ArrowDatasource(), paths=tmp_path))
    assert isinstance(row["x"], bytes)  # not unpickled
    (row,) = rows_of(aktis.data.from_arrow((tmp_path / "a").read_bytes()))
    assert isinstance(row["x"], bytes)


def test_own_format(tmp_path: Path) -> None:
    (tmp_path / "a.up").write_text("x y")
    (tmp_path / "b.up").write_text("z")
    (tmp_path / "c.other").write_text("no")
    dataset = aktis.data.read_datasource(UpperDatasource(), paths=str(tmp_path), suffix="!")
    assert dataset._root.name == "ReadUpper"
    assert rows_of(dataset) == ["X!", "Y!", "Z!"]
    assert rows_of(aktis.data.read_datasource(UpperDatasource(tmp_path), suffix="?")) == ["X?", "Y?", "Z?"]
    keep = UpperDatasource.file_extension_filter()
    assert keep is not None
    assert keep(["a.up", "b.UP", "c"]) == ["a.up", "b.UP"]
    with pytest.raises(TypeError, match="needs paths"):
        aktis.data.read_datasource(UpperDatasource())
