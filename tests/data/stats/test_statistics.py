"""Statistics of an execution: what they add up to, how they read, and the timeline."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from aktis.data._blocks.types import BlockMetadata, BlockStats
from aktis.data._execution import statistics
from aktis.data._execution.statistics import ExecutionStats, Spread
from aktis.data._iteration.stats import IterationStats

START = 1_700_000_000.0


def block(
    rows: int, *, start: float = 0.0, wall: float = 1.0, node: str = "a", pid: int = 1, **more: float
) -> BlockMetadata:
    stats = BlockStats("Map(f)", wall, wall / 2, wall / 4, 100_000_000, START + start, pid, node, rows, dict(more))
    return BlockMetadata(rows, rows * 8, None, None, stats)


@pytest.fixture
def stats() -> ExecutionStats:
    found = ExecutionStats(["ReadParquet->Map(f)", "Sort"])
    found.record(0, block(1000, start=0.0, wall=1.0, pid=1))
    found.record(0, block(3000, start=0.5, wall=2.5, pid=2))
    found.record(0, block(2000, start=1.0, wall=0.5, node="b", pid=1))
    found.record(1, block(6000, start=3.0, wall=1.0))
    found.record_queue(1, queued=3, running=1)
    found.record_queue(1, queued=1, running=2)
    found.started, found.finished = START, START + 4.0
    return found


def test_spread_of_nothing_and_of_numbers() -> None:
    spread = Spread()
    assert spread.mean == 0.0
    for value in (3.0, 1.0, 2.0):
        spread.add(value)
    assert (spread.least, spread.most, spread.mean, spread.total, spread.count) == (1.0, 3.0, 2.0, 6.0, 3)


def test_operators_add_up(stats: ExecutionStats) -> None:
    read, sort = stats.operators
    assert stats.operator_names == ["ReadParquet->Map(f)", "Sort"]
    assert (read.blocks, read.rows.total, read.bytes.total) == (3, 6000, 48_000)
    assert (read.wall.least, read.wall.most, read.wall.total) == (0.5, 2.5, 4.0)
    assert read.span == pytest.approx(3.0)
    assert read.tasks == {"a": 2, "b": 1}
    assert len(read.workers) == 3
    assert (sort.max_queued, sort.max_running) == (3, 2)


def test_text_has_what_a_person_asks_for(stats: ExecutionStats) -> None:
    text = stats.to_string()
    assert "Operator 1 ReadParquet->Map(f): 3 blocks executed in 3 s" in text
    assert "Operator 2 Sort: 1 block executed in 1 s" in text
    lines = [text_line.split(":", 1) for text_line in text.splitlines() if text_line.startswith("  ")]
    first = {name.strip(): value.strip() for name, value in reversed(lines[: len(lines) // 2])}
    assert first["wall time"] == "500 ms min, 2.5 s max, 1.33 s mean, 4 s total"
    assert first["cpu time"].startswith("250 ms min, 1.25 s max")
    assert first["in your functions"].startswith("125 ms min")
    assert first["output rows"] == "1,000 min, 3,000 max, 2,000 mean, 6,000 total"
    assert first["output bytes"] == "8 KB min, 24 KB max, 16 KB mean, 48 KB total"
    assert first["peak memory of workers"] == "100 MB max, 100 MB mean"
    assert first["blocks per node"] == "2 on a, 1 on b (3 processes)"
    assert first["throughput"] == "2,000 rows/s, 1,500 rows/s per worker"
    assert "2 running, 3 waiting, at most" in text
    assert text.endswith("Dataset: 6,000 rows, 48 KB in 4 s (1,500 rows/s, 12 KB/s)")


def test_text_of_an_execution_that_runs_or_did_nothing() -> None:
    stats = ExecutionStats(["Read"])
    assert stats.to_string().endswith("still running")
    assert "Operator 1 Read\n" in stats.to_string() + "\n"
    stats.finish()
    before = stats.finished
    stats.finish()
    assert stats.finished == before
    assert "running" not in stats.to_string()
    assert ExecutionStats([]).summary().startswith("0 rows")


def test_blocks_that_nobody_timed_count() -> None:
    stats = ExecutionStats(["InputBlocks"])
    stats.record(0, BlockMetadata(10, 80))
    stats.record(0, BlockMetadata(None, None))
    assert (stats.operators[0].blocks, stats.operators[0].rows.total) == (2, 10)
    assert stats.events == []
    assert "InputBlocks: 2 blocks" in stats.to_string()


def test_an_earlier_execution_comes_first_and_numbers_go_on(stats: ExecutionStats) -> None:
    text = ExecutionStats(["Map(g)"], parent=stats).to_string()
    assert text.index("Operator 1 ReadParquet") < text.index("Operator 2 Sort") < text.index("Operator 3 Map(g)")


def test_an_iteration_is_shown_before_the_whole(stats: ExecutionStats) -> None:
    iteration = IterationStats(total=4.0, batches=12, rows=6000, blocks=1)
    parts = stats.to_string(iteration).split("\n\n")
    assert parts[-2] == str(iteration)
    assert parts[-1].startswith("Dataset: ")


def test_what_tasks_report_besides_is_summed() -> None:
    stats = ExecutionStats(["Read"])
    stats.record(0, block(1, files=2))
    stats.record(0, block(1, files=3))
    stats.record_error(0)
    assert stats.operators[0].extra == {"files": 5}
    assert "files:                  5" in stats.to_string()
    assert "1 block that failed" in stats.to_string()


def test_timeline_has_a_row_per_worker(stats: ExecutionStats, tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    stats.save_timeline(path)
    events = json.loads(path.read_text())["traceEvents"]
    assert events == json.loads(json.dumps(stats.timeline()))
    slices = [event for event in events if event["ph"] == "X"]
    assert [event["name"] for event in slices] == ["execution", *["ReadParquet->Map(f)"] * 3, "Sort"]
    assert slices[0]["dur"] == pytest.approx(4e6)
    assert len({(event["pid"], event["tid"]) for event in slices}) == 1 + 3
    names = {event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {"driver", "node a", "node b", "worker 1", "worker 2"}


def test_timeline_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_EVENTS", 2)
    stats = ExecutionStats(["Read"])
    for _ in range(5):
        stats.record(0, block(1))
    assert (len(stats.events), stats.events_dropped, stats.operators[0].blocks) == (2, 3, 5)


def test_statistics_travel_with_a_dataset(stats: ExecutionStats) -> None:
    assert pickle.loads(pickle.dumps(stats)).to_string() == stats.to_string()
