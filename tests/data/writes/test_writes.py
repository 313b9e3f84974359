"""Writes from end to end, through the public API."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import types

import numpy as np
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

import aktis
from aktis import data
from aktis.data.context import DatasetContext
from aktis.data.datasource import (
    BlockBasedFileDatasink,
    Datasink,
    Datasource,
    DummyOutputDatasource,
    RowBasedFileDatasink,
    SaveMode,
    Sink,
    WriteResult,
)
from aktis.data.exceptions import SchemaError, WriteError


def visible(path):
    return sorted(os.path.relpath(os.path.join(d, f), path) for d, _, fs in os.walk(path) for f in fs)


def everything(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def values(path, column="value"):
    return sorted(pads.dataset(path).to_table()[column].to_pylist())


@pytest.fixture(scope="module")
def session():
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


@pytest.fixture(params=["driver", "workers"])
def where(request, monkeypatch, session):
    """Everything in the driver, or everything in workers."""
    context = DatasetContext.get_current()
    monkeypatch.setattr(context, "enable_local_execution", request.param == "driver")
    if request.param == "driver":
        monkeypatch.setattr(context, "local_seconds", 60.0)
    return request.param


class TestEndToEnd:
    def test_parquet(self, tmp_path, where):
        data.range_table(100, parallelism=5).write_parquet(tmp_path / "o")
        assert values(tmp_path / "o") == list(range(100))
        assert len(visible(tmp_path / "o")) == 5

    def test_order_of_files_is_the_order_of_rows(self, tmp_path, where):
        data.range_table(60, parallelism=6).map_batches(lambda frame: frame).write_parquet(tmp_path / "o")
        read = [pq.read_table(tmp_path / "o" / name)["value"].to_pylist() for name in visible(tmp_path / "o")]
        assert [v for values in read for v in values] == list(range(60))

    def test_rows_per_file(self, tmp_path, where):
        ds = data.range_table(100, parallelism=10)
        ds.write_parquet(tmp_path / "a", min_rows_per_file=50)
        assert [pq.read_metadata(tmp_path / "a" / n).num_rows for n in visible(tmp_path / "a")] == [50, 50]
        ds.write_parquet(tmp_path / "b", num_rows_per_file=25)
        assert [pq.read_metadata(tmp_path / "b" / n).num_rows for n in visible(tmp_path / "b")] == [25, 25, 25, 25]
        data.range_table(100, parallelism=1).write_parquet(tmp_path / "d", num_rows_per_file=30)
        assert [pq.read_metadata(tmp_path / "d" / n).num_rows for n in visible(tmp_path / "d")] == [30, 30, 30, 10]
        with pytest.raises(ValueError, match="num_rows_per_file, or min_rows_per_file and max_rows_per_file"):
            ds.write_parquet(tmp_path / "c", num_rows_per_file=25, max_rows_per_file=3)

    def test_json_and_csv_read_back(self, tmp_path, where):
        ds = data.from_items([{"a": n, "b": str(n)} for n in range(10)])
        ds.write_json(tmp_path / "j")
        ds.write_csv(tmp_path / "c", concurrency=1)
        frame = pd.concat(
            pd.read_json(tmp_path / "j" / n, lines=True, dtype={"b": str}) for n in visible(tmp_path / "j")
        )
        assert frame["a"].tolist() == list(range(10)) and frame["b"].tolist() == [str(n) for n in range(10)]
        assert len(pads.dataset(tmp_path / "c", format="csv").to_table()) == 10

    def test_partitions(self, tmp_path, where):
        data.range_table(20).map_batches(lambda f: f.assign(p=f["value"] % 3)).write_parquet(
            tmp_path / "o", partition_cols=["p"]
        )
        assert {name.split("/")[0] for name in visible(tmp_path / "o")} == {"p=0", "p=1", "p=2"}
        with pytest.raises(TypeError, match="list of column names, got 'p'"):
            data.range_table(20).write_parquet(tmp_path / "x", partition_cols="p")

    def test_args_fn_may_be_a_lambda(self, tmp_path, where):
        data.range_table(3).write_parquet(tmp_path / "o", arrow_parquet_args_fn=lambda: {"compression": "gzip"})
        meta = pq.read_metadata(tmp_path / "o" / visible(tmp_path / "o")[0])
        assert meta.row_group(0).column(0).compression == "GZIP"

    def test_numpy_of_arrays(self, tmp_path, where):
        data.range_tensor(6, shape=(2, 2), parallelism=2).write_numpy(tmp_path / "o")
        arrays = [np.load(tmp_path / "o" / name) for name in visible(tmp_path / "o")]
        assert [a.shape for a in arrays] == [(3, 2, 2), (3, 2, 2)]

    def test_modes(self, tmp_path, where):
        for mode, expected in ((SaveMode.APPEND, 2), ("append", 4), ("overwrite", 2), (SaveMode.IGNORE, 2)):
            data.range_table(4, parallelism=2).write_csv(tmp_path / "o", mode=mode)
            assert len(visible(tmp_path / "o")) == expected
        with pytest.raises(FileExistsError):
            data.range_table(4).write_csv(tmp_path / "o", mode=SaveMode.ERROR)

    def test_empty_data_set_keeps_its_schema(self, tmp_path, where):
        data.range_table(10).filter(lambda row: False).write_parquet(tmp_path / "o")
        table = pads.dataset(tmp_path / "o").to_table()
        assert table.num_rows == 0 and table.column_names == ["value"]

    def test_nobody_else_can_see_files_before_the_end(self, tmp_path, where):
        target = str(tmp_path / "o")

        def look(frame):
            assert not [name for name in os.listdir(target) if not name.startswith(".")]
            return frame

        data.range_table(6, parallelism=3).map_batches(look).write_parquet(target)
        assert len(visible(target)) == 3


class TestFailures:
    def test_function_that_raises(self, tmp_path, where):
        def bad(row):
            if row["value"] == 77:
                raise ZeroDivisionError("seventy-seven")
            return row

        with pytest.raises(ZeroDivisionError, match="seventy-seven"):
            data.range_table(100, parallelism=10).map(bad).write_parquet(tmp_path / "o")
        assert everything(tmp_path) == []
        data.range_table(100, parallelism=10).write_parquet(tmp_path / "o")
        assert len(values(tmp_path / "o")) == 100

    def test_column_that_cannot_be_written(self, tmp_path, where):
        ds = data.from_items([{"a": 1, "o": {1, 2}}])
        with pytest.raises(SchemaError, match="column 'o' holds Python objects"):
            ds.write_csv(tmp_path / "o")
        assert everything(tmp_path) == []

    def test_no_permission(self, tmp_path, where):
        with pytest.raises(WriteError, match="cannot write to '/proc/nope'"):
            data.range_table(1).write_csv("/proc/nope")

    def test_wrong_concurrency(self, tmp_path):
        with pytest.raises(ValueError, match="concurrency is a positive number of tasks, got 0"):
            data.range_table(1).write_csv(tmp_path / "o", concurrency=0)

    def test_blocks_that_fail_may_be_left_out_but_files_may_not(self, tmp_path, where):
        def bad(row):
            if row["value"] == 7:
                raise ValueError
            return row

        ds = data.range_table(10, parallelism=5).map(bad)
        ds._context.max_errored_blocks = 1
        ds.write_parquet(tmp_path / "o")
        assert values(tmp_path / "o") == [0, 1, 2, 3, 4, 5, 8, 9]
        ds = data.from_items([{"o": {1}}])
        ds._context.max_errored_blocks = -1
        with pytest.raises(SchemaError, match="Python objects"):
            ds.write_parquet(tmp_path / "p")

    def test_storage_error_in_a_task_names_path_and_cause(self, tmp_path, where):
        def full():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.raises(WriteError, match="No space left on device") as caught:
            data.range_table(1000, parallelism=4).write_parquet(str(tmp_path / "o"), arrow_parquet_args_fn=full)
        assert f"WriteParquet: cannot write to '{tmp_path / 'o'}'" in str(caught.value)
        assert caught.value.errno == errno.ENOSPC and isinstance(caught.value.__cause__, OSError)
        assert everything(tmp_path) == []


class Doubled(Datasink):
    """Remembers what is called, in files: it is used in several processes."""

    def __init__(self, folder, fail=False):
        self.folder, self.fail = folder, fail

    def note(self, text):
        with open(self.folder / "calls", "a") as stream:
            stream.write(text + "\n")

    def calls(self):
        return (self.folder / "calls").read_text().splitlines()

    def on_write_start(self):
        self.note("start")

    def write(self, blocks, ctx):
        rows = sum(block.num_rows for block in blocks)
        if self.fail:
            raise RuntimeError("no room")
        return ctx.task_idx, rows * 2

    def on_write_complete(self, result):
        assert isinstance(result, WriteResult)
        self.note(f"complete {result.num_rows} {result.size_bytes} {result.write_returns}")

    def on_write_failed(self, error):
        self.note(f"failed {type(error).__name__}")


class TestOnesOwn:
    def test_datasink(self, tmp_path, where):
        sink = Doubled(tmp_path)
        data.range_table(10, parallelism=2).write_datasink(sink)
        assert sink.calls() == ["start", "complete 10 80 [(0, 10), (1, 10)]"]
        assert sink.get_name() == "Doubled"

    def test_datasink_that_fails(self, tmp_path, where):
        sink = Doubled(tmp_path, fail=True)
        with pytest.raises(RuntimeError, match="no room"):
            data.range_table(10, parallelism=2).write_datasink(sink)
        assert sink.calls()[0] == "start" and sink.calls()[1].startswith("failed") and len(sink.calls()) == 2

    def test_file_datasinks(self, tmp_path, where):
        class Lines(BlockBasedFileDatasink):
            def write_block_to_file(self, block, file):
                file.write("\n".join(map(str, block.to_pandas()["value"])).encode())

        class Rows(RowBasedFileDatasink):
            def write_row_to_file(self, row, file):
                file.write(str(row["value"]).encode())

        ds = data.range_table(6, parallelism=2)
        ds.write_datasink(Lines(str(tmp_path / "b"), file_format="txt", min_rows_per_file=6))
        (name,) = visible(tmp_path / "b")
        assert name.endswith(".txt") and (tmp_path / "b" / name).read_text().split() == list("012345")
        ds.write_datasink(Rows(str(tmp_path / "r"), file_format="txt"))
        assert [(tmp_path / "r" / name).read_text() for name in visible(tmp_path / "r")] == list("012345")

    def test_start_that_fails_leaves_nothing(self, tmp_path):
        class Never(BlockBasedFileDatasink):
            def on_write_start(self):
                raise RuntimeError("not today")

        with pytest.raises(RuntimeError, match="not today"):
            data.range_table(1).write_datasink(Never(str(tmp_path / "o")))
        assert everything(tmp_path) == []

    def test_wrong_datasink(self):
        with pytest.raises(TypeError, match="instance of a subclass of Datasink, got 3"):
            data.range_table(1).write_datasink(3)

    def test_datasource_with_write(self, where):
        sink = DummyOutputDatasource()
        data.range_table(10, parallelism=2).write_datasource(sink)
        assert (sink.rows_written, sink.num_ok, sink.num_failed) == (10, 1, 0)

    def test_sink_of_a_datasource(self, tmp_path, where):
        class Rows(Sink):
            name = "WriteRows"

            def __init__(self, folder):
                self.folder = folder

            def write(self, blocks, task):
                rows = [row["value"] for block in blocks for row in block.to_pylist()]
                (self.folder / f"{task.index}.hidden").write_text(" ".join(map(str, rows)))
                return task.index

            def commit(self, results):
                for index in results:
                    (self.folder / f"{index}.hidden").rename(self.folder / f"{index}.txt")

        class Mine(Datasource):
            def create_sink(self, *, folder):
                return Rows(folder)

        data.range_table(4, parallelism=2).write_datasource(Mine(), folder=tmp_path)
        assert [(tmp_path / name).read_text() for name in visible(tmp_path)] == ["0 1", "2 3"]

    def test_datasource_with_do_write(self, where):
        class Mine(Datasource):
            def do_write(self, blocks, metadata, ray_remote_args, *, factor):
                assert [m.num_rows for m in metadata] == [5, 5] and ray_remote_args == {"num_cpus": 1}
                rows = aktis.remote(lambda block: block.num_rows * factor)
                return [rows.remote(block) for block in blocks]

            def on_write_complete(self, results, **kwargs):
                self.results = results

            def on_write_failed(self, results, error, **kwargs):
                self.error = error

        mine = Mine()
        data.range_table(10, parallelism=2).write_datasource(mine, ray_remote_args={"num_cpus": 1}, factor=3)
        assert mine.results == [15, 15]
        with pytest.raises(TypeError):
            data.range_table(10, parallelism=2).write_datasource(mine, ray_remote_args={"num_cpus": 1}, factor=None)
        assert isinstance(mine.error, TypeError)


class TestDatabases:
    def test_sql(self, tmp_path, where):
        path = str(tmp_path / "db")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
            connection.commit()

        def rows():
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return connection.execute("SELECT a, b FROM t ORDER BY a").fetchall()

        ds = data.from_items([{"a": n, "b": f"x{n}" if n else None} for n in range(20)])
        sql = "INSERT INTO t VALUES (?, ?)"
        ds.write_sql(sql, lambda: sqlite3.connect(path), concurrency=1)
        assert rows() == [(n, f"x{n}" if n else None) for n in range(20)]
        twice = data.from_items([{"a": 100, "b": "y"}, {"a": 3, "b": "y"}], parallelism=1)
        with pytest.raises(WriteError, match=r"INSERT INTO t VALUES.*IntegrityError: UNIQUE"):
            twice.write_sql(sql, lambda: sqlite3.connect(path), concurrency=1)
        assert len(rows()) == 20  # the transaction was rolled back
        with pytest.raises(TypeError, match="connection_factory is a function"):
            ds.write_sql(sql, "sqlite://")

    def test_mongo(self, monkeypatch):
        documents = []

        class Collection:
            def insert_many(self, rows):
                if any(row["a"] == 13 for row in rows):
                    raise RuntimeError("duplicate key")
                documents.extend(rows)

        class Database(dict):
            def list_collection_names(self):
                return ["c"]

        class Client(dict):
            def __init__(self, uri):
                super().__init__(db=Database(c=Collection()))

            def list_database_names(self):
                return ["db"]

            def close(self):
                pass

        monkeypatch.setitem(sys.modules, "pymongo", types.SimpleNamespace(MongoClient=Client))
        ds = data.from_items([{"a": n} for n in range(5)])
        ds.write_mongo("mongodb://h", "db", "c")
        assert sorted(d["a"] for d in documents) == [0, 1, 2, 3, 4]
        with pytest.raises(WriteError, match=r"db\.c: RuntimeError: duplicate key"):
            data.from_items([{"a": 13}]).write_mongo("mongodb://h", "db", "c")
        with pytest.raises(ValueError, match="no database 'x'"):
            ds.write_mongo("mongodb://h", "x", "c")
        with pytest.raises(ValueError, match="no collection 'x' in 'db'"):
            ds.write_mongo("mongodb://h", "db", "x")
        monkeypatch.setitem(sys.modules, "pymongo", None)
        with pytest.raises(ImportError, match=r"aktis-data\[mongo\]"):
            ds.write_mongo("mongodb://h", "db", "c")


SCRIPT = """
import os, resource, signal, sys
from aktis import data
from aktis.data.context import DatasetContext
import pyarrow as pa

DatasetContext.get_current().local_seconds = 60.0
target, step = sys.argv[1:]

def table(n, rows=50):
    return pa.table({"value": pa.array(range(n, n + rows), pa.int64())})

new = data.from_arrow([table(1000), table(2000), table(3000)])
"""


def run_script(body, *args, expect=0):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(body), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == expect, done.stderr
    return done


class TestRealDisk:
    def test_file_size_limit(self, tmp_path):
        """A write that the system stops in the middle of a file, with the error that it really gives."""
        body = """
        from aktis.data.exceptions import WriteError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        big = data.from_arrow([table(0), table(0, 1_000_000)])
        try:
            big.write_csv(target)
        except WriteError as error:
            assert error.errno == 27 and isinstance(error, OSError) and target in str(error), repr(error)
            assert isinstance(error.__cause__, OSError) or "File too large" in str(error)
        else:
            raise AssertionError("no error")
        assert not os.path.exists(target)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        big.write_csv(target)
        assert len(os.listdir(target)) == 2
        """
        run_script(body, tmp_path / "o", "-")


KILL_AT = """
import pyarrow.fs
from aktis.data.datasource import _staging

count = 0

def step(*args, **kwargs):
    global count
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1

def before(module, name):
    original = getattr(module, name)
    def replacement(*args, **kwargs):
        step()
        return original(*args, **kwargs)
    setattr(module, name, replacement)

# Every way in which a commit changes the disk.
before(os, "rename"); before(os, "mkdir"); before(_staging, "_exchange"); before(_staging.shutil, "rmtree")
before(_staging, "write_file"); before(_staging, "_delete_all"); before(_staging.Staging, "_move")
before(_staging.Staging, "discard"); before(_staging.Staging, "commit")
"""


def steps(body, target, tmp_path, prepare, check):
    """Run ``body`` again and again, killed at its first, second, ... change to the disk, until it gets to its end."""
    for at in range(100):
        prepare(target)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT + KILL_AT + textwrap.dedent(body), str(target), str(at)],
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        check(target)
        if done.returncode == 0:
            return at
    raise AssertionError("it never ends")


class TestInterrupted:
    def test_ctrl_c(self, tmp_path, where):
        target = tmp_path / "o"

        driver = os.getpid()

        def interrupt(frame):
            if frame["value"][0] == 20:
                os.kill(driver, signal.SIGINT)
            return frame

        ds = data.range_table(1000, parallelism=100).map_batches(interrupt, batch_size=10)
        with pytest.raises(KeyboardInterrupt):
            ds.write_parquet(target)
        assert everything(tmp_path) == []
        data.range_table(10).write_parquet(target)
        assert values(target) == list(range(10))

    def test_a_worker_that_dies(self, tmp_path, session, monkeypatch):
        monkeypatch.setattr(DatasetContext.get_current(), "enable_local_execution", False)
        flag = tmp_path / "once"

        def die_once(frame):
            if frame["value"].iloc[-1] == 99 and not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return frame

        ds = data.range_table(100, parallelism=4).map_batches(die_once, batch_size=5)
        ds.write_parquet(tmp_path / "o", max_rows_per_file=5)
        assert values(tmp_path / "o") == list(range(100))
        assert everything(tmp_path) == ["o", "once"]


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestKilled:
    """Each test kills a write at each step of its commit, and looks at what a reader would find."""

    OLD = list(range(100))
    NEW = sorted([*range(1000, 1050), *range(2000, 2050), *range(3000, 3050)])

    def prepare(self, target):
        import shutil

        shutil.rmtree(target, ignore_errors=True)
        data.range_table(100, parallelism=4).write_parquet(target)

    def after(self, target, found):
        """The next write works, nothing hidden is left, and what was begun is either there or not."""
        data.range_table(1).write_parquet(target)
        assert not [name for name in everything(target) if name.startswith(".")]
        assert not [name for name in everything(target.parent) if name.startswith(".")]
        rest = values(target)
        rest.remove(0)
        assert rest in (sorted(self.OLD), self.NEW, sorted(self.OLD + self.NEW))

    def test_append(self, tmp_path):
        def check(target):
            found = [v for v in values(target) if v >= 1000]
            assert len(found) % 50 == 0  # whole files only
            self.after(target, found)

        assert steps("new.write_parquet(target)", tmp_path / "o", tmp_path, self.prepare, check) > 6

    def test_overwrite_in_one_step(self, tmp_path):
        def check(target):
            found = values(target)
            assert found in (self.OLD, self.NEW)
            self.after(target, found)

        body = "new.write_parquet(target, mode='overwrite')"
        assert steps(body, tmp_path / "o", tmp_path, self.prepare, check) > 6

    def test_overwrite_file_by_file(self, tmp_path):
        def check(target):
            found = set(values(target))
            assert found >= set(self.OLD) or found >= set(self.NEW)  # one of the two is complete
            self.after(target, found)

        body = "_staging._may_exchange = lambda target: False\nnew.write_parquet(target, mode='overwrite')"
        assert steps(body, tmp_path / "o", tmp_path, self.prepare, check) > 6
