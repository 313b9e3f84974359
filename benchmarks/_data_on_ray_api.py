"""The programs on Ray's API, which is also ours: ``aktis`` and ``ray``."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _data_files import NUMBERS, TINY_FILES, TINY_ROWS
from _data_programs import Run, program
from _data_work import BATCH, FEATURES, GROUPS, KEYS, Scorer, features, row_function, sort_key_is_sorted

both = program("aktis", "ray")


def warm_up() -> None:
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    try:
        import fsspec.implementations.http  # noqa: F401  (Ray's reading threads trip over each other importing it)
    except ImportError:
        pass
    time.sleep(0.3)  # so that every worker gets one


@contextmanager
def session(run: Run, **options: Any) -> Iterator[Any]:
    """The peer's ``data`` module, with a session that is up: its workers are there, and have imported pandas and Arrow."""
    api = importlib.import_module(run.peer)
    data = importlib.import_module(f"{run.peer}.data")
    if run.peer == "ray":
        options |= {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        data.DataContext.get_current().enable_progress_bars = False
    api.init(num_cpus=run.cpus, **options)
    warm_up()
    try:
        task = api.remote(warm_up)
        api.get([task.remote() for _ in range(run.cpus)])
        yield data
    finally:
        api.shutdown()


@both
def read_count(run: Run) -> None:
    with session(run) as data:
        with run.timed():
            rows = data.read_parquet(run.files).count()
        run.check(rows, run.rows)


@both
def map_write(run: Run) -> None:
    with session(run) as data, run.output() as folder:
        with run.timed():
            data.read_parquet(run.files).map_batches(features, batch_format="pandas").write_parquet(folder)
        run.check_written(folder, run.rows, 10 + FEATURES)


@both
def groupby(run: Run) -> None:
    with session(run) as data:
        aggregate = importlib.import_module(f"{data.__name__}.aggregate")
        with run.timed():
            wanted = aggregate.Count(), aggregate.Mean("fare"), aggregate.Sum("tip")
            rows = data.read_parquet(run.files).groupby(KEYS).aggregate(*wanted).take_all()
        run.check((len(rows), sum(row["count()"] for row in rows)), (GROUPS, run.rows))


@both
def sort(run: Run) -> None:
    with session(run) as data:
        with run.timed():
            ds = data.read_parquet(run.files).sort("pickup").materialize()
        last, rows = None, 0
        for batch in ds.iter_batches(batch_size=None, batch_format="numpy"):
            values = batch["pickup"]
            run.check(sort_key_is_sorted(values) and (last is None or values[0] >= last), True)
            last, rows = values[-1], rows + len(values)
        run.check(rows, run.rows)


@both
def shuffle(run: Run) -> None:
    with session(run) as data:
        with run.timed():
            ds = data.read_parquet(run.files).random_shuffle(seed=1).materialize()
        run.check(ds.count(), run.rows)


@both
def iter_batches(run: Run) -> None:
    with session(run) as data:
        rows = 0
        with run.timed():
            for batch in data.read_parquet(run.files).iter_batches(batch_size=BATCH, batch_format="pandas"):
                rows += len(batch)
        run.check(rows, run.rows)


@both
def iter_torch_batches(run: Run) -> None:
    import torch

    with session(run) as data:
        rows = 0
        with run.timed():
            for batch in data.read_parquet(run.files, columns=NUMBERS).iter_torch_batches(batch_size=BATCH):
                rows += len(batch["fare"])
        run.check((rows, type(batch["fare"])), (run.rows, torch.Tensor))


@program("aktis")
def aktis_map_rows(run: Run) -> None:
    map_rows(run, "range_table", {"value": "id"})


@program("ray")
def ray_map_rows(run: Run) -> None:
    map_rows(run, "range", {})


def map_rows(run: Run, source: str, names: dict[str, str]) -> None:
    """Rows are dicts, on the way in and on the way out."""
    with session(run) as data:
        rows = min(1_000_000, run.rows)
        numbers = getattr(data, source)(rows)
        if names:
            numbers = numbers.rename_columns(names)
        numbers = numbers.materialize()
        with run.timed():
            ds = numbers.map(row_function).materialize()
        run.check((ds.count(), ds.take(3)[2]), (rows, {"id": 2, "square": 4}))


@both
def stateful(run: Run) -> None:
    with session(run) as data:
        with run.timed():
            ds = (
                data.read_parquet(run.files)
                .map_batches(Scorer, batch_format="pandas", concurrency=(1, run.cpus))
                .materialize()
            )
        run.check(ds.count(), run.rows)


@both
def small(run: Run) -> None:
    """10 MB: what does the framework cost where there is next to nothing to do?"""
    with session(run) as data:
        path = str(run.data.small)

        def work() -> int:
            return len(data.read_parquet(path).map_batches(features, batch_format="pandas").to_pandas(limit=10**9))

        run.best_of(work)
        run.check(work(), run.data.small_rows)


@both
def tiny_files(run: Run) -> None:
    """Time to the first batch."""
    with session(run) as data:
        with run.timed():
            ds = data.read_parquet(str(run.data.tiny))
            first = next(iter(ds.iter_batches(batch_size=TINY_ROWS, batch_format="pandas")))
        run.check((len(first), ds.count()), (TINY_ROWS, TINY_FILES * TINY_ROWS))


@both
def four_times_store(run: Run) -> None:
    with session(run, object_store_memory=run.store_bytes) as data, run.output() as folder:
        with run.timed():
            data.read_parquet(str(run.data.big)).map_batches(features, batch_format="pandas").write_parquet(folder)
        run.check_written(folder, run.data.big_rows(), 10 + FEATURES)
