"""File sinks, driven by hand as the executor drives them."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import math
import os
import pickle
import re
import tarfile

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.json as pajson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import from_rows
from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.write import WriteTransform, results_of
from aktis.data.context import DatasetContext
from aktis.data.datasource._file_sink import FileCutter, FileOptions
from aktis.data.datasource._hive import split_by_values
from aktis.data.datasource._staging import SaveMode, TargetExistsError
from aktis.data.datasource.csv_sink import CSVSink
from aktis.data.datasource.filenames import BlockWritePathProvider, DefaultBlockWritePathProvider, FilenameProvider
from aktis.data.datasource.images_sink import ImagesSink
from aktis.data.datasource.json_sink import JSONSink, json_lines
from aktis.data.datasource.numpy_sink import NumpySink
from aktis.data.datasource.parquet_sink import ParquetSink
from aktis.data.datasource.tfrecords_sink import TFRecordsSink
from aktis.data.datasource.webdataset_sink import WebDatasetSink
from aktis.data.exceptions import SchemaError, WriteError


def drive(sink, *tasks):
    """What the executor does: each task gets a pickled copy of the sink and its blocks."""
    sink.start()
    if sink.skip:
        return
    try:
        results = []
        for index, blocks in enumerate(tasks):
            transform = pickle.loads(cloudpickle.dumps(WriteTransform(sink)))
            task = TaskContext(operator=sink.name, index=index, context=DatasetContext.get_current())
            for block in transform(iter(blocks), task):
                results += results_of(block)
        sink.commit([result for _, result in results])
    except BaseException as error:
        sink.abort(error)
        raise


def visible(path):
    return sorted(os.path.relpath(os.path.join(d, f), path) for d, _, fs in os.walk(path) for f in fs)


def ints(start, stop):
    return pa.table({"a": pa.array(range(start, stop), pa.int64())})


def options(path, **more):
    return FileOptions(path=str(path), **more)


class TestNamesAndFiles:
    def test_one_file_per_block_in_the_order_of_rows(self, tmp_path):
        drive(ParquetSink(options(tmp_path / "out")), [ints(0, 3), ints(3, 5)], [ints(5, 9)])
        names = visible(tmp_path / "out")
        assert [name.split("_")[1] for name in names] == ["000000.parquet", "000001.parquet", "000002.parquet"]
        assert len({name.split("_")[0] for name in names}) == 1
        tables = [pq.read_table(tmp_path / "out" / name) for name in names]
        assert [table["a"].to_pylist() for table in tables] == [[0, 1, 2], [3, 4], [5, 6, 7, 8]]

    def test_empty_blocks_make_no_files(self, tmp_path):
        drive(CSVSink(options(tmp_path)), [ints(0, 0), ints(0, 2), ints(0, 0)], [])
        assert len(visible(tmp_path)) == 1

    @pytest.mark.parametrize("sink", [ParquetSink, CSVSink])
    def test_no_rows_give_one_file_with_the_schema(self, tmp_path, sink):
        drive(sink(options(tmp_path)), [ints(0, 0)], [ints(0, 0)])
        (name,) = visible(tmp_path)
        table = pads.dataset(tmp_path / name, format=name.rpartition(".")[2]).to_table()
        assert table.num_rows == 0 and table.column_names == ["a"]

    def test_nothing_at_all_is_fine(self, tmp_path):
        drive(ParquetSink(options(tmp_path / "out")))
        assert visible(tmp_path) == []

    def test_filename_provider(self, tmp_path):
        class Provider(FilenameProvider):
            def get_filename_for_block(self, block, write_uuid, task_index, block_index):
                return f"{block['a'][0]}-{task_index}-{block_index}.pq"

        drive(ParquetSink(options(tmp_path, filename_provider=Provider())), [ints(7, 9), ints(9, 10)], [ints(1, 2)])
        assert visible(tmp_path) == ["1-1-0.pq", "7-0-0.pq", "9-0-1.pq"]

    def test_older_filename_provider(self, tmp_path):
        class Provider(FilenameProvider):
            def get_filename_for_block(self, block, task_index, block_index):
                return f"{task_index}-{block_index}.csv"

        drive(CSVSink(options(tmp_path, filename_provider=Provider())), [ints(0, 1)])
        assert visible(tmp_path) == ["0-0.csv"]

    def test_equal_names_are_an_error_and_leave_nothing(self, tmp_path):
        class Provider(FilenameProvider):
            def get_filename_for_block(self, block, write_uuid, task_index, block_index):
                return "same.csv"

        with pytest.raises(ValueError, match=r"'same\.csv'"):
            drive(CSVSink(options(tmp_path / "o", filename_provider=Provider())), [ints(0, 1)], [ints(0, 1)])
        assert visible(tmp_path) == [] and not (tmp_path / "o").exists()

    def test_block_path_provider(self, tmp_path):
        class Provider(BlockWritePathProvider):
            def _get_write_path_for_block(
                self, base_path, *, filesystem=None, dataset_uuid=None, block=None, block_index=None, file_format=None
            ):
                return os.path.join(base_path, f"part-{block_index}.{file_format}")

        drive(JSONSink(options(tmp_path, block_path_provider=Provider())), [ints(0, 1), ints(1, 2)], [ints(2, 3)])
        assert visible(tmp_path) == ["part-0.json", "part-1.json", "part-2.json"]
        drive(JSONSink(options(tmp_path / "d", block_path_provider=DefaultBlockWritePathProvider())), [ints(0, 1)])
        (name,) = visible(tmp_path / "d")
        assert re.fullmatch(r"[0-9a-f]+_000000\.json", name)
        same = DefaultBlockWritePathProvider()("base", dataset_uuid="u", block_index=12, file_format="csv")
        assert same == "base/u_000012.csv"

    def test_paths_outside_of_the_target_are_refused(self, tmp_path):
        class Provider(FilenameProvider):
            def get_filename_for_block(self, block, write_uuid, task_index, block_index):
                return "../x.csv"

        with pytest.raises(ValueError, match="leads out of the folder"):
            drive(CSVSink(options(tmp_path / "o", filename_provider=Provider())), [ints(0, 1)])
        assert visible(tmp_path) == []

    def test_compressed_streams_are_named_so_that_readers_know(self, tmp_path):
        drive(CSVSink(options(tmp_path, open_stream_args={"compression": "gzip"})), [ints(0, 3)])
        (name,) = visible(tmp_path)
        assert name.endswith(".csv.gz")
        assert pacsv.read_csv(tmp_path / name)["a"].to_pylist() == [0, 1, 2]

    def test_fsspec_and_uris(self, tmp_path):
        fsspec = pytest.importorskip("fsspec")
        memory = fsspec.filesystem("memory")
        memory.pipe("/w/old.parquet", b"old")
        sink = ParquetSink(options("/w", filesystem=memory, mode="overwrite"))
        sink.start()
        task = TaskContext(operator="w", index=0, context=DatasetContext.get_current())
        sink.commit([sink.write(iter([ints(0, 4)]), task)])
        (path,) = memory.find("/w")
        assert pq.read_table(io.BytesIO(memory.cat(path)))["a"].to_pylist() == [0, 1, 2, 3]
        memory.rm("/w", recursive=True)
        drive(ParquetSink(options(f"file://{tmp_path}/u")), [ints(0, 1)])
        assert len(visible(tmp_path / "u")) == 1


class TestRowsPerFile:
    def cut(self, sizes, least=None, most=None, wanted=None):
        blocks, start = [], 0
        for size in sizes:
            blocks.append(ints(start, start + size))
            start += size
        return [
            [v for b in file for v in b["a"].to_pylist()]
            for file in FileCutter(iter(blocks), least, most, wanted).files()
        ]

    @pytest.mark.parametrize(
        ("sizes", "least", "most", "expected"),
        [
            ([3, 2], None, None, [3, 2]),
            ([3, 2, 4], 4, None, [5, 4]),
            ([3, 2, 3], 4, None, [8]),  # a file of 3 would be too small
            ([10], None, 4, [4, 4, 2]),
            ([3, 3, 3], 4, 4, [4, 4, 1]),
            ([1] * 7, 3, 3, [3, 3, 1]),
            ([2, 2, 2, 2], 3, 5, [4, 4]),
            ([2], 5, None, [2]),
        ],
    )
    def test_cases(self, sizes, least, most, expected):
        assert [len(file) for file in self.cut(sizes, least, most)] == expected

    @pytest.mark.parametrize(
        ("sizes", "expected"),
        [([10], [3, 3, 4]), ([1] * 6, [3, 3]), ([2, 2, 2, 2], [3, 5]), ([2], [2]), ([1, 9, 1], [3, 3, 5])],
    )
    def test_wanted_rows(self, sizes, expected):
        assert [len(file) for file in self.cut(sizes, wanted=3)] == expected

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 9), max_size=9), st.none() | st.integers(1, 8), st.none() | st.integers(1, 8))
    def test_no_row_is_lost_and_limits_hold(self, sizes, least, most):
        if least is not None and most is not None and least > most:
            least, most = most, least
        files = self.cut(sizes, least, most)
        assert [v for file in files for v in file] == list(range(sum(sizes)))
        assert all(files)
        if most is not None:
            assert all(len(file) <= most for file in files)
        if least is not None:
            assert all(len(file) >= least for file in files[:-1])

    def test_another_schema_begins_a_new_file(self):
        blocks = [ints(0, 1), ints(1, 2), pa.table({"b": [1]})]
        files = [[b.column_names for b in file] for file in FileCutter(iter(blocks), 10, None).files()]
        assert files == [[["a"], ["a"]], [["b"]]]

    def test_wrong_limits(self, tmp_path):
        with pytest.raises(ValueError, match=r"min_rows_per_file .* got 0"):
            options(tmp_path, min_rows_per_file=0)
        with pytest.raises(ValueError, match=r"\(5\) is greater than max_rows_per_file \(3\)"):
            options(tmp_path, min_rows_per_file=5, max_rows_per_file=3)

    def test_a_file_of_many_blocks_has_a_row_group_each(self, tmp_path):
        drive(ParquetSink(options(tmp_path, min_rows_per_file=6)), [ints(0, 2), ints(2, 4), ints(4, 7)])
        (name,) = visible(tmp_path)
        assert pq.ParquetFile(tmp_path / name).num_row_groups == 3


class TestPartitions:
    def test_hive_folders(self, tmp_path):
        table = pa.table({"y": [2020, 2021, 2020, None], "k": ["a b", "a/b", "a b", "c"], "v": [1, 2, 3, 4]})
        drive(ParquetSink(options(tmp_path, partition_cols=("y", "k"))), [table], [table])
        back = pads.dataset(tmp_path, partitioning="hive").to_table().sort_by("v")
        assert back["v"].to_pylist() == [1, 1, 2, 2, 3, 3, 4, 4]
        assert back["y"].to_pylist() == [2020, 2020, 2021, 2021, 2020, 2020, None, None]
        assert back["k"].to_pylist() == ["a b", "a b", "a/b", "a/b", "a b", "a b", "c", "c"]
        assert len(visible(tmp_path)) == 6
        assert pq.read_table(tmp_path / visible(tmp_path)[0], partitioning=None).column_names == ["v"]

    def test_blocks_of_a_task_share_a_file(self, tmp_path):
        blocks = [pa.table({"p": [i % 2, 1], "v": [i, i]}) for i in range(6)]
        drive(ParquetSink(options(tmp_path, partition_cols=("p",))), blocks)
        assert len(visible(tmp_path)) == 2

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.none() | st.booleans(), st.none() | st.integers(0, 3)), min_size=1, max_size=30))
    def test_rows_keep_their_order(self, rows):
        table = pa.table(
            {
                "a": pa.array([r[0] for r in rows], pa.bool_()),
                "b": pa.array([r[1] for r in rows], pa.int8()),
                "i": pa.array(range(len(rows))),
            }
        )
        found = {folder: part["i"].to_pylist() for folder, part in split_by_values(table, ["a", "b"])}
        expected = {}
        for i, (a, b) in enumerate(rows):
            texts = ["__HIVE_DEFAULT_PARTITION__" if v is None else str(v).lower() for v in (a, b)]
            expected.setdefault(f"a={texts[0]}/b={texts[1]}", []).append(i)
        assert found == expected and list(found) == list(expected)

    def test_wrong_columns(self):
        with pytest.raises(SchemaError, match=r"\['x'\]"):
            list(split_by_values(ints(0, 2), ["x"]))
        with pytest.raises(SchemaError, match="none is left"):
            list(split_by_values(ints(0, 2), ["a"]))


class TestModes:
    def test_append_keeps_and_overwrite_replaces(self, tmp_path):
        drive(CSVSink(options(tmp_path)), [ints(0, 1)])
        drive(CSVSink(options(tmp_path)), [ints(1, 2)])
        assert len(visible(tmp_path)) == 2
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "x.csv").write_text("a\n9\n")
        drive(CSVSink(options(tmp_path, mode=SaveMode.OVERWRITE)), [ints(2, 3)])
        (name,) = visible(tmp_path)
        assert (tmp_path / name).read_text() == '"a"\n2\n'
        beside = [name for name in os.listdir(tmp_path.parent) if not name.startswith("test_")]
        assert not [name for name in beside if "aktis" in name]

    def test_error_and_ignore(self, tmp_path):
        drive(CSVSink(options(tmp_path / "o", mode="error")), [ints(0, 1)])
        with pytest.raises(TargetExistsError, match="SaveMode") as caught:
            drive(CSVSink(options(tmp_path / "o", mode="error")), [ints(0, 1)])
        assert isinstance(caught.value, FileExistsError) and isinstance(caught.value, ValueError)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), TargetExistsError)
        before = visible(tmp_path)
        drive(CSVSink(options(tmp_path / "o", mode="IGNORE")), [ints(5, 6)])
        assert visible(tmp_path) == before

    def test_hidden_files_are_no_data(self, tmp_path):
        (tmp_path / "_SUCCESS").write_text("")
        drive(CSVSink(options(tmp_path, mode="error")), [ints(0, 1)])

    def test_unknown_mode(self, tmp_path):
        with pytest.raises(ValueError, match=r"'append'.*got 'replace'"):
            options(tmp_path, mode="replace")

    def test_overwrite_with_no_rows_leaves_the_schema_only(self, tmp_path):
        drive(ParquetSink(options(tmp_path)), [ints(0, 5)])
        drive(ParquetSink(options(tmp_path, mode="overwrite")), [ints(0, 0)])
        (name,) = visible(tmp_path)
        assert pq.read_table(tmp_path / name).num_rows == 0

    def test_target_is_a_link_to_a_folder(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "old.csv").write_text("a\n0\n")
        (tmp_path / "link").symlink_to("real")
        drive(CSVSink(options(tmp_path / "link", mode="overwrite")), [ints(1, 2)])
        assert (tmp_path / "link").is_symlink() and len(visible(tmp_path / "real")) == 1

    def test_target_is_a_file(self, tmp_path):
        (tmp_path / "f").write_text("x")
        with pytest.raises(WriteError, match="it is a file"):
            drive(CSVSink(options(tmp_path / "f")), [ints(0, 1)])

    def test_folder_is_not_made_unless_wanted(self, tmp_path):
        with pytest.raises(WriteError, match="try_create_dir"):
            drive(CSVSink(options(tmp_path / "no", try_create_dir=False)), [ints(0, 1)])
        drive(CSVSink(options(tmp_path, try_create_dir=False)), [ints(0, 1)])


class TestFormats:
    def test_parquet_arguments(self, tmp_path):
        sink = ParquetSink(options(tmp_path), {"compression": "gzip", "row_group_size": 2}, lambda: {"version": "1.0"})
        drive(sink, [ints(0, 5)])
        (name,) = visible(tmp_path)
        file = pq.ParquetFile(tmp_path / name)
        assert file.num_row_groups == 3
        assert file.metadata.row_group(0).column(0).compression == "GZIP"
        assert file.metadata.format_version == "1.0"

    def test_tensors_survive_parquet(self, tmp_path):
        images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        ragged = [np.ones((1, 2)), np.zeros((3, 1))]
        block = from_rows([{"i": images[n], "r": ragged[n]} for n in range(2)])
        drive(ParquetSink(options(tmp_path)), [block])
        back = pq.read_table(tmp_path / visible(tmp_path)[0])
        assert back.schema.equals(block.schema)
        assert back.equals(block)

    def test_plain_items_are_called_value(self, tmp_path):
        drive(JSONSink(options(tmp_path)), [from_rows([1, 2, 3])])
        assert (tmp_path / visible(tmp_path)[0]).read_text() == '{"value":1}\n{"value":2}\n{"value":3}\n'

    @pytest.mark.parametrize("sink", [ParquetSink, CSVSink, JSONSink, TFRecordsSink])
    def test_objects_are_never_pickled(self, tmp_path, sink):
        block = from_rows([{"a": 1, "what": object()}])
        with pytest.raises(SchemaError, match=rf"{sink.name}: column 'what' holds Python objects.*drop_columns"):
            drive(sink(options(tmp_path / "o")), [block])
        assert visible(tmp_path) == []

    @pytest.mark.parametrize("sink", [CSVSink, JSONSink])
    def test_text_formats_have_no_tensors(self, tmp_path, sink):
        block = from_rows([{"t": np.ones((2, 2))}])
        with pytest.raises(SchemaError, match=r"column 't' holds tensors.*write_parquet"):
            drive(sink(options(tmp_path)), [block])

    def test_csv_has_no_lists(self, tmp_path):
        with pytest.raises(SchemaError, match=r"column 'l' has type list.*write_json"):
            drive(CSVSink(options(tmp_path)), [pa.table({"l": [[1]]})])

    def test_csv_values(self, tmp_path):
        table = pa.table(
            {
                "s": ['a,"b"', "", None],
                "f": [1.5, None, 0.1 + 0.2],
                "t": [datetime.datetime(2024, 5, 1, 12), None, datetime.datetime(1970, 1, 1)],
                "d": pa.array(["x", "y", "x"]).dictionary_encode(),
                "b": [True, False, None],
                "n": [decimal.Decimal("1.10"), None, decimal.Decimal("2.00")],
            }
        )
        drive(CSVSink(options(tmp_path), {"write_options": pacsv.WriteOptions(delimiter=";")}), [table])
        with open(tmp_path / visible(tmp_path)[0], newline="") as stream:
            rows = list(csv.reader(stream, delimiter=";"))
        assert rows[0] == ["s", "f", "t", "d", "b", "n"]
        assert rows[1] == ['a,"b"', "1.5", "2024-05-01 12:00:00.000000", "x", "true", "1.10"]
        assert float(rows[3][1]) == 0.1 + 0.2

    def test_json_through_pandas(self, tmp_path):
        sink = JSONSink(options(tmp_path), {"double_precision": 2})
        drive(sink, [pa.table({"f": [1.23456]})])
        assert (tmp_path / visible(tmp_path)[0]).read_text() == '{"f":1.23}\n'
        with pytest.raises(ValueError, match="orient can only be 'records'"):
            JSONSink(options(tmp_path), {"orient": "split"})

    def test_numpy(self, tmp_path):
        block = from_rows([{"x": np.full((2, 2), n, np.float32), "s": "ab" * n, "n": n} for n in range(3)])
        for column, expected in (("x", np.float32), ("s", np.str_), ("n", np.int64)):
            drive(NumpySink(options(tmp_path / column), column), [block])
            array = np.load(tmp_path / column / visible(tmp_path / column)[0])
            assert array.dtype.type is expected and len(array) == 3
        with pytest.raises(SchemaError, match=r"no column 'y'; the columns are \['x', 's', 'n'\]"):
            drive(NumpySink(options(tmp_path / "z"), "y"), [block])
        with pytest.raises(SchemaError, match="nulls"):
            drive(NumpySink(options(tmp_path / "z"), "s"), [pa.table({"s": ["a", None]})])

    def test_images(self, tmp_path):
        image = pytest.importorskip("PIL.Image")
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        block = from_rows([{"image": pixels, "label": "cat"}, {"image": pixels[::-1].copy(), "label": "dog"}])

        class Provider(FilenameProvider):
            def get_filename_for_row(self, row, write_uuid, task_index, block_index, row_index):
                return f"{row['label']}/{task_index}{block_index}{row_index}.png"

        drive(ImagesSink(options(tmp_path, filename_provider=Provider()), "image", "png"), [block])
        assert visible(tmp_path) == ["cat/000.png", "dog/001.png"]
        assert np.array_equal(np.asarray(image.open(tmp_path / "dog/001.png")), pixels[::-1])
        with pytest.raises(SchemaError, match=r"column 'image': an array of dtype float64 and shape \(4, 4, 3\)"):
            wrong = from_rows([{"image": pixels.astype(float)}])
            drive(ImagesSink(options(tmp_path / "z"), "image", "png"), [wrong])
        with pytest.raises(SchemaError, match="no column 'x'"):
            drive(ImagesSink(options(tmp_path / "z"), "x", "png"), [block])

    def test_webdataset(self, tmp_path):
        pytest.importorskip("PIL.Image")
        pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        rows = [
            {"__key__": "a", "png": pixels, "cls": 3, "txt": "é", "json": {"k": [1]}, "npy": np.ones(2), "bin": b"\0"},
            {"__key__": "b", "png": pixels, "cls": 4, "txt": None, "json": {"k": []}, "npy": np.ones(2), "bin": b"\1"},
        ]
        drive(WebDatasetSink(options(tmp_path)), [from_rows(rows)])
        with tarfile.open(tmp_path / visible(tmp_path)[0]) as tar:
            files = {info.name: tar.extractfile(info).read() for info in tar}
        assert list(files)[:6] == ["a.png", "a.cls", "a.txt", "a.json", "a.npy", "a.bin"]
        assert files["a.cls"] == b"3" and files["a.txt"].decode() == "é" and "b.txt" not in files
        assert json.loads(files["a.json"]) == {"k": [1]}
        assert np.array_equal(np.load(io.BytesIO(files["b.npy"])), np.ones(2))
        with pytest.raises(SchemaError, match="column 'pkl' asks for a pickle"):
            drive(WebDatasetSink(options(tmp_path / "z")), [pa.table({"pkl": [1]})])
        with pytest.raises(SchemaError, match="column 'cls' is a int after encoding"):
            drive(WebDatasetSink(options(tmp_path / "z"), None), [pa.table({"cls": [1]})])

    def test_webdataset_can_read_it(self, tmp_path):
        tariterators = pytest.importorskip("webdataset.tariterators")
        drive(WebDatasetSink(options(tmp_path)), [pa.table({"__key__": ["x", "y"], "cls": [1, 2]})])
        with open(tmp_path / visible(tmp_path)[0], "rb") as stream:
            files = tariterators.tar_file_expander([{"url": "", "stream": stream}])
            read = list(tariterators.group_by_keys(files))
        assert [(row["__key__"], row["cls"]) for row in read] == [("x", b"1"), ("y", b"2")]


class TestJSON:
    def test_values(self):
        table = pa.table(
            {
                'q"': ['a"\\', "\n\u2028é", None],
                "f": [1.0, float("nan"), 1e300],
                "i": pa.array([1, None, 2**63 - 1], pa.int64()),
                "b": [True, None, False],
                "t": pa.array([datetime.datetime(2024, 5, 1, 12, 30), None, None], pa.timestamp("us")),
                "z": pa.array([datetime.datetime(2024, 5, 1, 12, 30), None, None], pa.timestamp("ms", "Europe/Berlin")),
                "d": pa.array([datetime.date(2024, 5, 1), None, None]),
                "n": [{"x": [1, None], "y": b"\0", "f": math.inf}, None, {"x": [], "y": None, "f": 0.5}],
                "dec": [decimal.Decimal("1.10"), None, None],
                "o": pa.nulls(3),
                "c": pa.array(["u", None, "u"]).dictionary_encode(),
                "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            }
        )
        rows = [json.loads(line) for line in bytes(json_lines(table)).decode().split("\n")[:-1]]
        assert rows[0] == {
            'q"': 'a"\\',
            "f": 1.0,
            "i": 1,
            "b": True,
            "t": "2024-05-01T12:30:00.000000",
            "z": "2024-05-01T12:30:00.000Z",
            "d": "2024-05-01",
            "n": {"x": [1, None], "y": "AA==", "f": None},
            "dec": "1.10",
            "o": None,
            "c": "u",
            "m": {"k": 1},
        }
        assert isinstance(rows[0]["f"], float)
        assert rows[1] == dict.fromkeys(table.column_names) | {'q"': "\n\u2028é"}
        assert rows[2]["i"] == 2**63 - 1 and rows[2]["m"] == {}

    @settings(max_examples=80, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.none() | st.text(st.characters(exclude_categories=("Cs",))),
                st.none() | st.floats(),
                st.none() | st.integers(-(2**63), 2**63 - 1),
            )
        ),
        st.integers(0, 5),
    )
    def test_round_trip(self, rows, skip):
        table = pa.table(
            {
                "s": pa.array([r[0] for r in rows], pa.string()),
                "f": pa.array([r[1] for r in rows], pa.float64()),
                "i": pa.array([r[2] for r in rows], pa.int64()),
            }
        ).slice(skip)
        lines = bytes(json_lines(table)).decode().split("\n")
        assert lines.pop() == ""
        for (s, f, i), line in zip(rows[skip:], lines, strict=True):
            finite = None if f is None or not math.isfinite(f) else f
            assert json.loads(line) == {"s": s, "f": finite, "i": i}

    def test_arrow_reads_it(self):
        table = pa.table({"s": ["x", "y"], "l": [[1, 2], []], "t": [{"a": 1.5}, {"a": 2.0}]})
        assert pajson.read_json(io.BytesIO(bytes(json_lines(table)))).to_pylist() == table.to_pylist()
