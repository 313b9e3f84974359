"""Parquet: what comes out, what is not read, how tasks are cut."""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

import aktis.data
from aktis.data import DatasetContext
from aktis.data.datasource import FileShuffleConfig, Partitioning, PathPartitionFilter
from aktis.data.exceptions import ReadError, SchemaError

from .helpers import read_all, reader_of, table_of, task_blocks

field = pc.field


def numbers(start: int, stop: int) -> pa.Table:
    values = np.arange(start, stop)
    return pa.table({"id": values, "half": values / 2, "name": [f"n{v}" for v in values]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 files of 100 rows, in row groups of 30; in natural order, ids count up."""
    for i in range(12):
        pq.write_table(numbers(i * 100, i * 100 + 100), tmp_path / f"part-{i}.parquet", row_group_size=30)
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.parquet").write_bytes(b"junk")
    return tmp_path


def ids(dataset: Any) -> list[int]:
    return table_of(dataset)["id"].to_pylist()


def test_directory_in_natural_order_without_hidden_files(folder: Path) -> None:
    assert ids(aktis.data.read_parquet(folder)) == list(range(1200))


def test_paths_of_all_kinds(folder: Path) -> None:
    first, second = folder / "part-0.parquet", str(folder / "part-1.parquet")
    assert ids(aktis.data.read_parquet([second, first])) == [*range(100, 200), *range(100)]
    assert ids(aktis.data.read_parquet(f"file://{second}")) == list(range(100, 200))
    assert ids(aktis.data.read_parquet(f"local://{second}")) == list(range(100, 200))
    assert ids(aktis.data.read_parquet(str(folder / "part-1*.parquet"))) == [*range(100, 200), *range(1000, 1200)]
    assert (
        ids(
            aktis.data.read_parquet(
                "part-2.parquet", filesystem=pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
            )
        )[0]
        == 200
    )


def test_count_reads_footers_only(folder: Path) -> None:
    reader = reader_of(aktis.data.read_parquet(folder))
    start = time.perf_counter()
    assert reader.count_rows() == 1200
    assert time.perf_counter() - start < 0.5
    assert reader.with_filter(field("id") > 3).count_rows() is None


def test_schema_without_data_and_estimates(folder: Path) -> None:
    reader = reader_of(aktis.data.read_parquet(folder))
    assert reader.schema() == pa.schema({"id": pa.int64(), "half": pa.float64(), "name": pa.string()})
    assert 20_000 < reader.estimate_inmemory_data_size() < 60_000
    assert reader.with_columns(["half"]).estimate_inmemory_data_size() == pytest.approx(9600, rel=0.2)
    assert len(reader.input_files()) == 12


def test_columns_in_the_order_asked_for(folder: Path) -> None:
    assert table_of(aktis.data.read_parquet(folder, columns=["name", "id"])).column_names == ["name", "id"]
    reader = reader_of(aktis.data.read_parquet(folder))
    assert read_all(reader.with_columns(["half"])).column_names == ["half"]
    assert reader.with_columns(["nothing"]) is None


def test_no_columns_keep_the_number_of_rows(folder: Path) -> None:
    reader = reader_of(aktis.data.read_parquet(folder)).with_columns([])
    assert read_all(reader).num_rows == 1200
    assert read_all(reader.with_filter(field("id") < 10)).num_rows == 10


def test_unknown_column_is_named_at_once(folder: Path) -> None:
    with pytest.raises(SchemaError, match="no column 'nope' in .*part-0.parquet: it has .'id', 'half', 'name'"):
        aktis.data.read_parquet(folder, columns=["id", "nope"])


def test_filter_is_exact_and_skips_row_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of(aktis.data.read_parquet(folder)).with_filter((field("id") >= 115) & (field("id") < 125))
    read = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, i, **kw: read.append(i) or original(self, i, **kw)
    )
    assert read_all(reader.with_columns(["name"]))["name"].to_pylist() == [f"n{v}" for v in range(115, 125)]
    assert len(read) == 1


def test_filters_combine(folder: Path) -> None:
    dataset = aktis.data.read_parquet(folder, filter=field("id") > 1190, columns=["half"])
    reader = reader_of(dataset).with_filter(field("name") != "n1195")
    assert [v * 2 for v in read_all(reader)["half"].to_pylist()] == [*range(1191, 1195), *range(1196, 1200)]
    assert reader.with_filter(field("nope") > 1) is None


def test_null_is_not_true_in_a_filter(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, None, 3]}), tmp_path / "a.parquet")
    assert read_all(reader_of(aktis.data.read_parquet(tmp_path)).with_filter(field("a") != 1)).num_rows == 1


def test_limit_reads_no_more_than_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of(aktis.data.read_parquet(folder)).with_limit(105)
    tasks = reader.get_read_tasks(-1)
    assert [path.rsplit("/")[-1] for task in tasks for path in task.get_metadata().input_files] == [
        "part-0.parquet",
        "part-1.parquet",
    ]
    assert read_all(reader)["id"].to_pylist() == list(range(105))
    filtered = reader_of(aktis.data.read_parquet(folder)).with_filter(field("id") >= 95).with_limit(7)
    assert read_all(filtered)["id"].to_pylist()[:7] == list(range(95, 102))


@pytest.mark.parametrize("tasks", [1, 2, 5, 12, 20, 48, 100, 1200])
def test_parallelism_is_honoured_exactly(folder: Path, tasks: int) -> None:
    blocks = task_blocks(reader_of(aktis.data.read_parquet(folder)), tasks)
    assert len(blocks) == tasks
    assert all(sum(block.num_rows for block in part) for part in blocks)
    assert [v for part in blocks for block in part for v in block["id"].to_pylist()] == list(range(1200))


def test_no_more_tasks_than_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "a.parquet")
    reader = reader_of(aktis.data.read_parquet(tmp_path))
    assert len(reader.get_read_tasks(10)) == 3
    assert read_all(reader, 10)["id"].to_pylist() == [1, 2, 3]


def test_small_data_is_one_task_and_big_data_is_split(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert len(reader_of(aktis.data.read_parquet(folder)).get_read_tasks()) == 1
    other = tmp_path_factory.mktemp("big") / "big.parquet"
    pq.write_table(
        pa.table({"id": np.random.default_rng(0).integers(0, 1 << 60, 2_000_000)}), other, row_group_size=100_000
    )
    context = replace(DatasetContext.get_current(), read_task_size=2 << 20, target_max_block_size=1 << 20)
    tasks = reader_of(aktis.data.read_parquet(other)).fitted(context).get_read_tasks()
    assert max(block.nbytes for block in tasks[0]()) < 2 << 20
    assert 6 <= len(tasks) <= 10
    assert sum(task.get_metadata().num_rows for task in tasks) == 2_000_000


def test_tasks_are_cheap_to_pickle(folder: Path) -> None:
    tasks = reader_of(aktis.data.read_parquet(folder)).get_read_tasks(12)
    assert max(len(pickle.dumps(task)) for task in tasks) < 3000


def test_big_row_groups_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(numbers(0, 100_000), tmp_path / "a.parquet")
    monkeypatch.setattr(DatasetContext.get_current(), "target_max_block_size", 200_000)
    (blocks,) = task_blocks(reader_of(aktis.data.read_parquet(tmp_path)), 1)
    assert len(blocks) > 5
    assert max(block.nbytes for block in blocks) < 400_000
    assert pa.concat_tables(blocks)["id"].to_pylist() == list(range(100_000))


def test_origin_says_file_and_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatasetContext.get_current(), "target_max_block_size", 800)
    (task,) = reader_of(aktis.data.read_parquet(folder / "part-1.parquet")).get_read_tasks(1)
    blocks = task()
    origins = []
    for block in blocks:
        first = block["id"][0].as_py() - 100
        origins.append((blocks.origin, first, first + block.num_rows - 1))
        assert blocks.input_files == [str(folder / "part-1.parquet")]
    assert len(origins) > 3
    for origin, first, last in origins:
        assert origin == f"{folder}/part-1.parquet, rows {first} to {last}"


def test_hive_partitions_have_types(tmp_path: Path) -> None:
    for year in (2019, 2020):
        for city in ("a b", "ü%2F"):
            place = tmp_path / f"year={year}" / f"city={city}"
            place.mkdir(parents=True)
            pq.write_table(pa.table({"x": [1, 2]}), place / "d.parquet")
    dataset = aktis.data.read_parquet(tmp_path)
    table = table_of(dataset)
    assert table.schema.field("year").type == pa.int64()
    assert table["city"].to_pylist() == ["a b"] * 2 + ["ü/"] * 2 + ["a b"] * 2 + ["ü/"] * 2
    narrowed = reader_of(dataset).with_filter((field("year") == 2020) & (field("x") == 2))
    assert len(narrowed.input_files()) == 2
    assert read_all(narrowed.with_columns(["year", "x"])).to_pydict() == {"year": [2020, 2020], "x": [2, 2]}
    typed = aktis.data.read_parquet(tmp_path, partitioning=Partitioning("hive", field_types={"year": str}))
    assert table_of(typed)["year"].to_pylist()[0] == "2019"
    assert "year" not in table_of(aktis.data.read_parquet(tmp_path, partitioning=None)).column_names
    chosen = aktis.data.read_parquet(tmp_path, partition_filter=PathPartitionFilter.of(lambda p: p["year"] == "2019"))
    assert set(table_of(chosen)["year"].to_pylist()) == {2019}


def test_paths_column(folder: Path) -> None:
    dataset = aktis.data.read_parquet(folder, include_paths=True)
    table = table_of(dataset)
    assert table.column_names[-1] == "path"
    assert table["path"][150].as_py() == str(folder / "part-1.parquet")
    assert read_all(reader_of(dataset).with_columns(["path"])).column_names == ["path"]


def test_shuffled_files(folder: Path) -> None:
    one, two, other = (ids(aktis.data.read_parquet(folder, shuffle=FileShuffleConfig(seed=s))) for s in (1, 1, 2))
    assert one == two != other
    assert sorted(one) == list(range(1200))
    with pytest.raises(ValueError, match="shuffle is None, 'files'"):
        aktis.data.read_parquet(folder, shuffle="rows")  # type: ignore[arg-type]


def test_missing_paths_fail_at_once(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing.parquet"):
        aktis.data.read_parquet([folder / "part-0.parquet", folder / "nothing.parquet"])
    with pytest.raises(FileNotFoundError, match=r"pattern .*x\*"):
        aktis.data.read_parquet(str(folder / "x*"))
    kept = aktis.data.read_parquet([folder / "part-0.parquet", folder / "no.parquet"], ignore_missing_paths=True)
    assert ids(kept) == list(range(100))
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="no file to read in .*empty"):
        aktis.data.read_parquet(folder / "empty")


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" + b"x" * 100, "truncated"])
def test_unreadable_files_are_named_or_skipped(folder: Path, content: Any) -> None:
    bad = folder / "part-5.parquet"
    bad.write_bytes(bad.read_bytes()[:500] if content == "truncated" else content)
    with pytest.raises(ReadError, match="part-5.parquet") as caught:
        ids(aktis.data.read_parquet(folder))
    assert caught.value.path == str(bad)
    if content == b"":
        assert "0 bytes" in str(caught.value)
    left = aktis.data.read_parquet(folder, on_error="skip")
    assert ids(left) == [*range(500), *range(600, 1200)]
    assert reader_of(left).count_rows() == 1100


def test_damaged_data_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(numbers(0, 1000), path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(bytes(content))
    with pytest.raises(ReadError, match="a.parquet"):
        ids(aktis.data.read_parquet(path))


def test_schemas_of_files_are_unified(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": pa.nulls(1)}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2.5], "b": ["x"], "c": [True]}), tmp_path / "2.parquet")
    for parallelism in (-1, 1, 2):
        table = table_of(aktis.data.read_parquet(tmp_path, parallelism=parallelism))
        assert table.to_pydict() == {"a": [1.0, 2.5], "b": [None, "x"], "c": [None, True]}
    assert table_of(aktis.data.read_parquet(tmp_path, columns=["c"]))["c"].to_pylist() == [None, True]


def test_given_schema_is_the_result(folder: Path) -> None:
    schema = pa.schema({"half": pa.float32(), "new": pa.string()})
    table = table_of(aktis.data.read_parquet(folder / "part-0.parquet", schema=schema))
    assert table.schema == schema
    assert table.to_pylist()[3] == {"half": 1.5, "new": None}
    with pytest.raises(SchemaError, match=r"part-0.parquet does not fit the given schema: .*'name'"):
        table_of(aktis.data.read_parquet(folder, schema=pa.schema({"name": pa.int64()})))


def test_schemas_that_do_not_fit_name_both_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "2.parquet")
    with pytest.raises(SchemaError, match=r"1\.parquet and .*2\.parquet do not fit together: 'a' is int64 and list"):
        table_of(aktis.data.read_parquet(tmp_path))


def test_empty_tables_keep_their_schema(tmp_path: Path) -> None:
    pq.write_table(numbers(0, 0), tmp_path / "a.parquet")
    table = table_of(aktis.data.read_parquet(tmp_path))
    assert (table.num_rows, table.column_names) == (0, ["id", "half", "name"])


def test_nothing_in_a_file_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    blob = pickle.dumps(Bomb())
    for number, name in enumerate(["aktis.object", "arrow.py_extension_type", "ray.data.arrow_tensor"]):
        marks = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": blob}
        schema = pa.schema([pa.field("x", pa.binary(), metadata=marks)])
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"x": [blob]}, schema=schema), path)
        table = table_of(aktis.data.read_parquet(path))
        assert table.schema.field("x").type == pa.binary()
        assert not table.schema.field("x").metadata
        assert table.to_pylist() == [{"x": blob}]


def test_tensor_columns(tmp_path: Path) -> None:
    arrays = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    pq.write_table(pa.table({"t": [a.tobytes() for a in arrays]}), tmp_path / "a.parquet")
    dataset = aktis.data.read_parquet(tmp_path, tensor_column_schema={"t": (np.float32, (2, 2))})
    column = table_of(dataset)["t"].combine_chunks()
    np.testing.assert_array_equal(column.to_numpy_ndarray(), arrays)
    assert reader_of(dataset).schema().field("t").type == column.type
    with pytest.raises(ReadError, match="a.parquet: column 't' should hold 12 bytes"):
        table_of(aktis.data.read_parquet(tmp_path, tensor_column_schema={"t": (np.float32, (3,))}))


def test_transient_errors_are_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import aktis.data.datasource._parquet_scan as scan

    failures = iter([OSError("Connection reset by peer"), OSError("SlowDown: please")])
    original = scan.open_parquet

    def flaky(*args: Any) -> Any:
        error = next(failures, None)
        if error:
            raise error
        return original(*args)

    monkeypatch.setattr("aktis.data.datasource._policy.time.sleep", lambda seconds: None)
    reader = reader_of(aktis.data.read_parquet(folder))
    tasks = reader.get_read_tasks(12)
    monkeypatch.setattr(scan, "open_parquet", flaky)
    assert [block["id"][0].as_py() for task in tasks for block in task()] == list(range(0, 1200, 100))
    assert next(failures, None) is None


def test_arguments_of_the_arrow_reader(folder: Path) -> None:
    assert ids(aktis.data.read_parquet(folder, memory_map=False, batch_size=7)) == list(range(1200))
    with pytest.raises(TypeError, match="'nonsense'"):
        aktis.data.read_parquet(folder, nonsense=1)
    with pytest.raises(ValueError, match="parallelism is a positive number"):
        aktis.data.read_parquet(folder, parallelism=0)
    with pytest.raises(ValueError, match="on_error is 'raise' or 'skip'"):
        aktis.data.read_parquet(folder, on_error="ignore")  # type: ignore[arg-type]


def test_bulk_lists_nothing(folder: Path) -> None:
    paths = [str(folder / f"part-{i}.parquet") for i in range(3)]
    assert ids(aktis.data.read_parquet_bulk(paths)) == list(range(300))
    with pytest.raises(ReadError, match="gone"):
        ids(aktis.data.read_parquet_bulk([str(folder / "gone.parquet")]))


def test_a_scan_whose_footers_were_read_can_be_sent(folder: Path) -> None:
    dataset = aktis.data.read_parquet(str(folder))
    rows = dataset.count()
    sent = cloudpickle.loads(cloudpickle.dumps(dataset))
    assert sent._known_rows() == rows and sent.count() == rows
