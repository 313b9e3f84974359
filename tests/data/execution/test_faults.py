"""What goes wrong while a plan runs: workers that die, consumers that leave, two plans at a time, Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aktis
import aktis.data as data
from aktis.data import DatasetContext


def die_once(folder: Path, name: str) -> None:
    """Kill this process, unless that has happened before."""
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_in_a_map_changes_nothing(workers: DatasetContext, tmp_path: Path) -> None:
    def fragile(x: int) -> int:
        if x in (0, 500, 999):
            die_once(tmp_path, str(x))
        return x * 2

    assert data.range(1000, parallelism=20).map(fragile).take_all() == list(range(0, 2000, 2))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_worker_killed_between_two_blocks_of_a_task_changes_nothing(workers: DatasetContext, tmp_path: Path) -> None:
    """The blocks that were delivered before are not delivered again."""
    workers.target_max_block_size = 1 << 16

    def fragile(batch: Any) -> Any:
        for i in range(10):
            if i == 5:
                die_once(tmp_path, "x")
            yield {"i": np.full(10_000, i)}

    rows = data.range(1, parallelism=1).map_batches(fragile).map_batches(lambda b: b, concurrency=1).take_all()
    assert [row["i"] for row in rows] == [i for i in range(10) for _ in range(10_000)]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_actor_of_a_pool_that_is_killed_is_replaced(workers: DatasetContext, tmp_path: Path) -> None:
    class Fragile:
        def __call__(self, batch: list[int]) -> list[int]:
            if 300 in batch:
                die_once(tmp_path, "x")
            return [-x for x in batch]

    ds = data.range(1000, parallelism=20).map_batches(Fragile, concurrency=2)
    assert ds.take_all() == [-x for x in range(1000)]


def test_a_worker_killed_in_a_shuffle_or_sort_changes_nothing(workers: DatasetContext, tmp_path: Path) -> None:
    """Killed from outside, at moments of their own choosing."""
    ds = data.range(200_000, parallelism=20)
    wanted = ds.random_shuffle(seed=3).take_all()
    assert sorted(wanted) == list(range(200_000))

    def pids(batch: list[int]) -> list[int]:
        (tmp_path / str(os.getpid())).touch()
        return batch

    stop = threading.Event()

    def killer() -> None:
        for _ in range(3):
            if stop.wait(0.15):
                return
            for path in list(tmp_path.iterdir()):
                path.unlink()
                try:
                    os.kill(int(path.name), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                break

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        assert ds.map_batches(pids).random_shuffle(seed=3).take_all() == wanted
        assert ds.map_batches(pids).random_shuffle(seed=4).sort().take_all() == list(range(200_000))
    finally:
        stop.set()
        thread.join()


def test_a_worker_that_always_dies_is_an_error_that_names_the_operator(workers: DatasetContext) -> None:
    def fatal(x: int) -> int:
        os._exit(7)

    with pytest.raises(aktis.exceptions.WorkerCrashedError, match=r"Map\(fatal\)"):
        data.range(5, parallelism=1).map(fatal).take_all()


def test_one_bad_row_in_a_million(workers: DatasetContext) -> None:
    def inverse(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if (batch["value"] == 765_432).any():
            raise ArithmeticError("that one")
        return batch

    ds = data.range_table(1_000_000, parallelism=10).map_batches(inverse, batch_format="numpy")
    with pytest.raises(ArithmeticError, match="that one"):
        ds.count()
    workers.max_errored_blocks = 1
    ds = data.range_table(1_000_000, parallelism=10).map_batches(inverse, batch_format="numpy")
    assert ds.count() == 900_000


def _aktis_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aktis-data"]


def test_an_iterator_that_is_dropped_early_stops_everything(workers: DatasetContext, tmp_path: Path) -> None:
    def slow(x: int) -> int:
        (tmp_path / str(x)).touch()
        time.sleep(0.02)
        return x

    rows = data.range(1000, parallelism=1000).map(slow).iter_rows()
    assert [next(rows) for _ in range(3)] == [0, 1, 2]
    rows.close()
    del rows
    gc.collect()
    deadline = time.monotonic() + 10
    while _aktis_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _aktis_threads()
    done = len(list(tmp_path.iterdir()))
    assert done < 900


def test_two_executions_at_once_both_end(workers: DatasetContext) -> None:
    results: dict[int, int] = {}

    def run(k: int) -> None:
        results[k] = sum(data.range(20_000, parallelism=30).map(lambda x: x + k).iter_rows())

    threads = [threading.Thread(target=run, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert results == {k: sum(range(20_000)) + 20_000 * k for k in range(3)}


def test_interleaved_iterators(workers: DatasetContext) -> None:
    first = data.range(5000, parallelism=20).map(lambda x: x).iter_rows()
    second = data.range(5000, parallelism=20).map(lambda x: -x).iter_rows()
    assert all(a == -b for a, b in zip(first, second))


def test_pools_that_ask_for_all_cpus_do_not_starve_the_tasks_before_them(workers: DatasetContext) -> None:
    class Model:
        def __call__(self, batch: list[int]) -> list[int]:
            return batch

    ds = data.range(1000, parallelism=10).map(lambda x: x, num_cpus=0.5)
    ds = ds.map_batches(Model, concurrency=2, num_cpus=1).map_batches(Model, concurrency=2, num_cpus=1)
    assert ds.take_all() == list(range(1000))


def test_a_task_with_a_big_output_waits_for_its_consumer(workers: DatasetContext) -> None:
    """One task makes many times what the budget allows; a slow consumer keeps it back."""
    workers.target_max_block_size = 1 << 20
    workers.execution_options.resource_limits.object_store_memory = 8 << 20

    def explode(x: list[int]) -> Any:
        for i in range(100):
            yield {"i": np.full(1 << 17, i)}  # 1 MiB each

    sizes = []
    ds = data.range(1, parallelism=1).map_batches(explode)
    for i, batch in enumerate(ds.iter_batches(batch_size=None, batch_format="numpy")):
        assert (batch["i"] == i).all()
        if i == 20:
            time.sleep(0.5)
            sizes.append(_stored())
    assert sizes[0] < 40 << 20, "the task ran on although nobody took its blocks"


def _stored() -> int:
    return sum(getattr(entry, "size", 0) for entry in aktis.util.state.list_objects(limit=10_000))


SCRIPT = """
import sys, time
import aktis, aktis.data as data
aktis.init(num_cpus=2, log_to_driver=False)
data.DatasetContext.get_current().enable_local_execution = False

def slow(x):
    time.sleep(0.05)
    return x

ds = data.range(10_000, parallelism=2000)
ds = {plan}
print("ready", flush=True)
try:
    {consume}
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert ds.limit(1).count() == 1
aktis.shutdown()
print("over", flush=True)
"""


@pytest.mark.parametrize(
    ("plan", "consume"),
    [
        ("ds.map(slow)", "ds.take_all()"),
        ("ds.map(slow)", "list(ds.iter_rows())"),
        ("ds.map(slow).random_shuffle()", "ds.materialize()"),
        ("ds.map(slow).sort()", "ds.take_all()"),
    ],
)
def test_ctrl_c_ends_an_execution_and_the_session_goes_on(plan: str, consume: str) -> None:
    script = textwrap.dedent(SCRIPT).replace("{plan}", plan).replace("{consume}", consume)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.6)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=40)
    finally:
        process.kill()
    assert out == "interrupted\nover\n"
    assert process.returncode == 0


@aktis.remote(num_cpus=1)
class Holder:
    """Takes a CPU for as long as it lives."""

    def ready(self) -> bool:
        return True

    def run(self) -> list[int]:
        data.DatasetContext.get_current().enable_local_execution = False
        return data.range(50, parallelism=4).map(lambda x: x).take_all()


def test_actors_that_hold_all_cpus_can_use_datasets(workers: DatasetContext) -> None:
    holders = [Holder.remote() for _ in range(2)]
    aktis.get([holder.ready.remote() for holder in holders])
    try:
        assert aktis.get(holders[0].run.remote(), timeout=40) == list(range(50))
    finally:
        for holder in holders:
            aktis.kill(holder)


def test_an_execution_whose_cpus_are_taken_away_goes_on(
    workers: DatasetContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aktis.data._execution.runner.STALL", 0.5)

    def slow(x: int) -> int:
        time.sleep(0.2)
        return x

    with data.range(12, parallelism=12).map(slow)._stream(background=True) as stream:
        first = next(stream).num_rows
        holders = [Holder.remote() for _ in range(2)]
        aktis.get([holder.ready.remote() for holder in holders])
        try:
            assert first + sum(handle.num_rows for handle in stream) == 12
        finally:
            for holder in holders:
                aktis.kill(holder)
