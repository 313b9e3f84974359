"""The files that benchmarks/data.py reads: taxi-like rides, the same for the same number of rows on every machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILES = 6
TINY_FILES, TINY_ROWS = 2000, 100
ROW_GROUP = 250_000
NUMBERS = ["passengers", "distance", "pickup_zone", "dropoff_zone", "fare", "tip"]  # what a model would be fed with
EPOCH_2023 = 1_672_531_200


def rides(rows: int, seed: int) -> pa.Table:
    """Ten columns: two strings, two times, integers and floats."""
    rng = np.random.default_rng(seed)
    pickup = EPOCH_2023 + rng.integers(0, 365 * 86_400, rows)
    duration = rng.gamma(2.0, 420.0, rows).astype(np.int64) + 60
    distance = np.round(rng.gamma(1.8, 1.7, rows), 2)
    fare = np.round(3.0 + 2.5 * distance + duration / 120 + rng.normal(0, 1, rows), 2)
    vendors, payments = (
        pa.array(["Alpha", "Beta", "Gamma"]),
        pa.array(["card", "cash", "dispute", "no charge", "voucher"]),
    )
    return pa.table(
        {
            "vendor": vendors.take(pa.array(rng.integers(0, 3, rows))),
            "pickup": pa.array(pickup * 1_000_000, pa.timestamp("us")),
            "dropoff": pa.array((pickup + duration) * 1_000_000, pa.timestamp("us")),
            "passengers": pa.array(rng.integers(1, 7, rows)),
            "distance": distance,
            "pickup_zone": pa.array(rng.integers(1, 266, rows), pa.int32()),
            "dropoff_zone": pa.array(rng.integers(1, 266, rows), pa.int32()),
            "payment": payments.take(pa.array(rng.choice(5, rows, p=[0.7, 0.24, 0.01, 0.02, 0.03]))),
            "fare": fare,
            "tip": np.round(fare * rng.uniform(0, 0.3, rows), 2),
        }
    )


class Data:
    """The folders of the data sets, below ``root``."""

    def __init__(self, root: Path, rows: int, store_bytes: int) -> None:
        self.root, self.rows, self.store_bytes = root, rows, store_bytes
        self.rides = root / f"rides-{rows}"
        self.small_rows = min(rows, 125_000)  # ten columns of about eight bytes: 10 MB
        self.small = root / f"small-{self.small_rows}"
        self.tiny = root / "tiny"
        self.big = root / f"big-{rows}-{store_bytes}"

    def make(self) -> None:
        """Write what is not there yet."""
        per_file = self.rows // FILES
        self._folder(self.rides, lambda path: [write(rides(per_file, i), path / f"{i}.parquet") for i in range(FILES)])
        self._folder(self.small, lambda path: [write(rides(self.small_rows, 100), path / "0.parquet")])
        tiny = rides(TINY_FILES * TINY_ROWS, 200)
        pieces = [tiny.slice(i * TINY_ROWS, TINY_ROWS) for i in range(TINY_FILES)]
        self._folder(self.tiny, lambda path: [write(p, path / f"{i:04}.parquet") for i, p in enumerate(pieces)])
        self._folder(self.big, self._link_big)

    def big_rows(self) -> int:
        return self.rows // FILES * len(list(self.big.glob("*.parquet")))

    def _link_big(self, path: Path) -> None:
        """Four times the object store: the same files again and again, as links."""
        files = sorted(self.rides.glob("*.parquet"))
        size = sum(pq.read_table(file).nbytes for file in files)
        for i in range(-(-4 * self.store_bytes // size)):
            for file in files:
                os.link(file, path / f"{i:03}-{file.name}")

    @staticmethod
    def _folder(path: Path, fill: object) -> None:
        if path.is_dir():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="making-") as folder:
            fill(Path(folder))  # type: ignore[operator]
            shutil.copytree(folder, path, copy_function=os.link)


def write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=ROW_GROUP)
