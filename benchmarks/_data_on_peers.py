"""The same work in the way of others: Dask, Polars, torch's DataLoader, and plain pandas or a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from _data_files import NUMBERS, TINY_FILES, TINY_ROWS
from _data_programs import Run, program
from _data_work import BATCH, FEATURES, GROUPS, KEYS, MODEL_INPUT, Scorer, features, row_function, sort_key_is_sorted

# ---- Dask: data frames in threads, bags in processes, which are its defaults ----


def dask_frame(run: Run) -> Any:
    import dask.dataframe as dd

    return dd.read_parquet(run.files)


@program("dask")
def dask_read_count(run: Run) -> None:
    frame = dask_frame(run)
    with run.timed():
        rows = len(frame)
    run.check(rows, run.rows)


@program("dask")
def dask_map_write(run: Run) -> None:
    frame = dask_frame(run)
    with run.output() as folder:
        with run.timed():
            frame.map_partitions(features).to_parquet(folder, write_index=False)
        run.check_written(folder, run.rows, 10 + FEATURES)


@program("dask")
def dask_groupby(run: Run) -> None:
    frame = dask_frame(run)
    with run.timed():
        result = frame.groupby(KEYS).agg({"vendor": "count", "fare": "mean", "tip": "sum"}).compute()
    run.check((len(result), int(result["vendor"].sum())), (GROUPS, run.rows))


@program("dask")
def dask_sort(run: Run) -> None:
    frame = dask_frame(run)
    with run.timed():
        result = frame.sort_values("pickup").persist()
    run.check((len(result), sort_key_is_sorted(result["pickup"].compute().to_numpy())), (run.rows, True))


@program("dask")
def dask_shuffle(run: Run) -> None:
    frame = dask_frame(run)
    with run.timed():
        result = frame.map_partitions(
            lambda part: part.assign(key=np.random.default_rng(len(part)).integers(0, 1 << 30, len(part)))
        )
        result = (
            result.shuffle("key")
            .map_partitions(lambda part: part.drop(columns="key").sample(frac=1, random_state=1))
            .persist()
        )
    run.check(len(result), run.rows)


@program("dask")
def dask_iter_batches(run: Run) -> None:
    frame = dask_frame(run)
    rows = 0
    with run.timed():
        for part in frame.to_delayed():
            loaded = part.compute()
            for i in range(0, len(loaded), BATCH):
                rows += len(loaded.iloc[i : i + BATCH])
    run.check(rows, run.rows)


@program("dask")
def dask_map_rows(run: Run) -> None:
    import dask.bag as db

    rows = min(1_000_000, run.rows)
    bag = db.from_sequence([{"id": i} for i in range(rows)], npartitions=run.cpus)
    with run.timed():
        found = bag.map(row_function).count().compute(num_workers=run.cpus)
    run.check(found, rows)


@program("dask")
def dask_stateful(run: Run) -> None:
    frame = dask_frame(run)
    with run.timed():
        result = frame.map_partitions(Scorer(), meta={"score": "f8"}).persist()
    run.check(len(result), run.rows)


@program("dask")
def dask_small(run: Run) -> None:
    import dask.dataframe as dd

    def work() -> int:
        return len(dd.read_parquet(str(run.data.small)).map_partitions(features).compute())

    run.best_of(work)
    run.check(work(), run.data.small_rows)


@program("dask")
def dask_tiny_files(run: Run) -> None:
    import dask.dataframe as dd

    with run.timed():
        first = dd.read_parquet(str(run.data.tiny)).get_partition(0).compute().iloc[:TINY_ROWS]
    run.check(len(first), TINY_ROWS)


@program("dask")
def dask_four_times_store(run: Run) -> None:
    import dask.dataframe as dd

    with run.output() as folder:
        with run.timed():
            dd.read_parquet(str(run.data.big)).map_partitions(features).to_parquet(folder, write_index=False)
        run.check_written(folder, run.data.big_rows(), 10 + FEATURES)


# ---- Polars: expressions, in threads ----


def polars_features(frame: Any) -> Any:
    import polars as pl

    minutes = (pl.col("dropoff") - pl.col("pickup")).dt.total_microseconds() / 60e6
    return frame.with_columns(
        minutes=minutes,
        speed=pl.col("distance") / (minutes / 60),
        hour=pl.col("pickup").dt.hour(),
        weekday=pl.col("pickup").dt.weekday() - 1,
        tip_share=pl.col("tip") / pl.col("fare"),
        by_card=pl.col("payment") == "card",
        log_fare=pl.col("fare").clip(lower_bound=0).log1p(),
    )


@program("polars")
def polars_read_count(run: Run) -> None:
    import polars as pl

    with run.timed():
        rows = pl.scan_parquet(run.files).select(pl.len()).collect().item()
    run.check(rows, run.rows)


@program("polars")
def polars_map_write(run: Run) -> None:
    import polars as pl

    with run.output() as folder:
        with run.timed():
            polars_features(pl.scan_parquet(run.files)).sink_parquet(Path(folder, "0.parquet"))
        run.check_written(folder, run.rows, 10 + FEATURES)


@program("polars")
def polars_groupby(run: Run) -> None:
    import polars as pl

    with run.timed():
        frame = pl.scan_parquet(run.files).group_by(KEYS)
        result = frame.agg(pl.len().alias("n"), pl.mean("fare"), pl.sum("tip")).collect()
    run.check((len(result), int(result["n"].sum())), (GROUPS, run.rows))


@program("polars")
def polars_sort(run: Run) -> None:
    import polars as pl

    with run.timed():
        result = pl.scan_parquet(run.files).sort("pickup").collect()
    run.check((len(result), result["pickup"].is_sorted()), (run.rows, True))


@program("polars")
def polars_shuffle(run: Run) -> None:
    import polars as pl

    with run.timed():
        result = pl.read_parquet(run.files).sample(fraction=1.0, shuffle=True, seed=1)
    run.check(len(result), run.rows)


@program("polars")
def polars_iter_batches(run: Run) -> None:
    import polars as pl

    rows = 0
    with run.timed():
        for file in run.files:
            for batch in pl.read_parquet(file).iter_slices(BATCH):
                rows += len(batch.to_pandas())
    run.check(rows, run.rows)


@program("polars")
def polars_stateful(run: Run) -> None:
    import polars as pl

    scorer = Scorer()
    with run.timed():
        inputs = pl.scan_parquet(run.files).select(MODEL_INPUT).collect().to_numpy().astype(np.float64)
        result = pl.DataFrame({"score": scorer.score(inputs)})
    run.check(len(result), run.rows)


@program("polars")
def polars_small(run: Run) -> None:
    import polars as pl

    def work() -> int:
        return len(polars_features(pl.scan_parquet(run.data.small / "*.parquet")).collect())

    run.best_of(work)
    run.check(work(), run.data.small_rows)


@program("polars")
def polars_tiny_files(run: Run) -> None:
    import polars as pl

    with run.timed():
        first = pl.scan_parquet(run.data.tiny / "*.parquet").head(TINY_ROWS).collect()
    run.check(len(first), TINY_ROWS)


@program("polars")
def polars_four_times_store(run: Run) -> None:
    import polars as pl

    with run.output() as folder:
        with run.timed():
            polars_features(pl.scan_parquet(run.data.big / "*.parquet")).sink_parquet(Path(folder, "0.parquet"))
        run.check_written(folder, run.data.big_rows(), 10 + FEATURES)


# ---- torch: a DataLoader with two workers, which read batches of rows ----


@program("torch")
def torch_iter_torch_batches(run: Run) -> None:
    import pyarrow.parquet as pq
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    files = run.files

    class Rides(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
            worker = get_worker_info()
            for file in files[worker.id :: worker.num_workers] if worker else files:
                for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=NUMBERS):
                    yield {name: torch.tensor(batch.column(name).to_numpy()) for name in NUMBERS}

    loader = DataLoader(Rides(), batch_size=None, num_workers=2)
    rows = 0
    with run.timed():
        for batch in loader:
            rows += len(batch["fare"])
    run.check(rows, run.rows)


# ---- plain Python and pandas, in one process ----


@program("plain")
def plain_read_count(run: Run) -> None:
    import pyarrow.parquet as pq

    with run.timed():
        rows = sum(pq.read_metadata(file).num_rows for file in run.files)
    run.check(rows, run.rows)


@program("plain")
def plain_map_write(run: Run) -> None:
    import pandas as pd

    with run.output() as folder:
        with run.timed():
            for i, file in enumerate(run.files):
                features(pd.read_parquet(file)).to_parquet(Path(folder, f"{i}.parquet"))
        run.check_written(folder, run.rows, 10 + FEATURES)


@program("plain")
def plain_groupby(run: Run) -> None:
    import pandas as pd

    with run.timed():
        frame = pd.read_parquet(run.data.rides, columns=[*KEYS, "fare", "tip"])
        result = frame.groupby(KEYS).agg(n=("fare", "size"), fare=("fare", "mean"), tip=("tip", "sum"))
    run.check((len(result), int(result["n"].sum())), (GROUPS, run.rows))


@program("plain")
def plain_sort(run: Run) -> None:
    import pandas as pd

    with run.timed():
        result = pd.read_parquet(run.data.rides).sort_values("pickup")
    run.check(len(result), run.rows)


@program("plain")
def plain_iter_batches(run: Run) -> None:
    import pyarrow.parquet as pq

    rows = 0
    with run.timed():
        for file in run.files:
            for batch in pq.ParquetFile(file).iter_batches(BATCH):
                rows += len(batch.to_pandas())
    run.check(rows, run.rows)


@program("plain")
def plain_map_rows(run: Run) -> None:
    """A loop over rows that are there already. The result is what the data sets' is: a table."""
    import pyarrow as pa

    rows = [{"id": i} for i in range(min(1_000_000, run.rows))]
    with run.timed():
        result = pa.Table.from_pylist([row_function(row) for row in rows])
    run.check(len(result), len(rows))


@program("plain")
def plain_stateful(run: Run) -> None:
    import pandas as pd

    scorer = Scorer()
    with run.timed():
        result = pd.concat([scorer(pd.read_parquet(file)) for file in run.files])
    run.check(len(result), run.rows)


@program("plain")
def plain_small(run: Run) -> None:
    import pandas as pd

    def work() -> int:
        return len(features(pd.read_parquet(run.data.small)))

    run.best_of(work)
    run.check(work(), run.data.small_rows)


@program("plain")
def plain_tiny_files(run: Run) -> None:
    import pandas as pd

    with run.timed():
        files = sorted(run.data.tiny.glob("*.parquet"))
        first = pd.read_parquet(files[0])
    run.check((len(first), len(files)), (TINY_ROWS, TINY_FILES))
