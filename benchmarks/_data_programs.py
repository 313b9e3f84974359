"""One measured program in a process of its own: ``python _data_programs.py PEER NAME --data DIR ...``.

Writes a line of JSON when the clock starts (everything is imported, the session is up) and one when it stops; what comes
after that checks the result. benchmarks/data.py reads them, and looks at the memory of the processes meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _data_files import Data

Program = Callable[["Run"], None]
PROGRAMS: dict[tuple[str, str], Program] = {}  # (peer, name)
PEERS = {
    "aktis": "_data_on_ray_api", "ray": "_data_on_ray_api", "dask": "_data_on_peers", "polars": "_data_on_peers",
    "torch": "_data_on_peers", "plain": "_data_on_peers",
}  # fmt: skip


def program(*peers: str) -> Callable[[Program], Program]:
    """Register a program, which is named after its function, for these peers."""

    def register(function: Program) -> Program:
        for peer in peers:
            PROGRAMS[peer, function.__name__.removeprefix(f"{peer}_")] = function
        return function

    return register


class Run:
    """What a program gets: the data, a clock, a place to write to, and a way to say that a result is wrong."""

    def __init__(self, peer: str, name: str, data: Data, cpus: int, work: Path) -> None:
        self.peer, self.name, self.data, self.cpus, self.work = peer, name, data, cpus, work
        self.rows = data.rows
        self.store_bytes = data.store_bytes

    @property
    def files(self) -> list[str]:
        return [str(path) for path in sorted(self.data.rides.glob("*.parquet"))]

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The part that counts."""
        self.say(event="start")
        begin = time.perf_counter()
        yield
        self.say(event="end", seconds=time.perf_counter() - begin)

    def best_of(self, call: Callable[[], Any], repeats: int = 9) -> None:
        """For what is over in a moment: the median of several calls, after one that warms up."""
        call()
        self.say(event="start")
        samples = []
        for _ in range(repeats):
            begin = time.perf_counter()
            call()
            samples.append(time.perf_counter() - begin)
        self.say(event="end", seconds=sorted(samples)[repeats // 2])

    @contextmanager
    def output(self) -> Iterator[str]:
        """A folder to write to, which is gone afterwards."""
        folder = tempfile.mkdtemp(dir=self.work, prefix="output-")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check(self, found: Any, expected: Any) -> None:
        if found != expected:
            raise ValueError(f"{self.peer} {self.name}: the result is wrong: {found!r} instead of {expected!r}")

    def check_written(self, folder: str, rows: int, columns: int) -> None:
        import pyarrow.parquet as pq

        files = [path for path in sorted(Path(folder).rglob("*.parquet")) if path.is_file()]
        self.check(sum(pq.read_metadata(path).num_rows for path in files), rows)
        self.check(len([name for name in pq.read_schema(files[0]).names if not name.startswith("__")]), columns)

    @staticmethod
    def say(**what: Any) -> None:
        sys.__stdout__.write(json.dumps(what) + "\n")  # type: ignore[union-attr]
        sys.__stdout__.flush()  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--store-bytes", type=int, required=True)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    data = Data(arguments.data, arguments.rows, arguments.store_bytes)
    importlib.import_module(PEERS[arguments.peer])
    registered = sys.modules["_data_programs"].PROGRAMS  # this file is __main__; the peers registered with the module
    run = Run(arguments.peer, arguments.name, data, arguments.cpus, arguments.data)
    try:
        registered[arguments.peer, arguments.name](run)
    except Exception as error:
        run.say(event="error", error=f"{type(error).__name__}: {error}"[:500])
        raise
    run.say(event="checked")


if __name__ == "__main__":
    main()
