"""What is written down of a run: whole after a crash, small, and never in the way."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.report.made_runs import Clock, make_run, samples, workers

from aktis.train._report.record import FILE_NAME, RecordTail, RunRecord, read_record
from aktis.train._report.recorder import RunRecorder
from aktis.train._report.thinning import thinned


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / FILE_NAME).read_text().splitlines()]


def play(recorder: RunRecorder, clock: Clock, rounds: int, seconds: float, size: int = 2) -> None:
    for index in range(rounds):
        clock.now += seconds
        loop = [seconds * 0.6] * size
        recorder.on_round(index + 1, [{"loss": float(index)}] * size, loop, [seconds * 0.4] * size, None)


def test_a_slow_run_has_a_line_for_each_round(tmp_path: Path) -> None:
    clock = Clock()
    recorder = RunRecorder(tmp_path, {"trainer": "T"}, clock=clock)
    recorder.on_start(workers(2))
    play(recorder, clock, 3, 1.0)
    record = read_record(tmp_path / FILE_NAME)
    assert [(rounds.first, rounds.count, rounds.seconds) for rounds in record.rounds] == [
        (0, 1, 1),
        (1, 1, 1),
        (2, 1, 1),
    ]
    assert record.rounds[0].loop == [0.6, 0.6] and record.rounds[0].waited == [0.4, 0.4]
    assert record.rounds[2].metrics == {"loss": [2.0, 2.0]}
    assert record.info["trainer"] == "T" and record.workers[1]["pid"] == 101
    assert record.state == "running"
    recorder.on_end()
    assert read_record(tmp_path / FILE_NAME).state == "ended"


def test_rounds_of_a_fast_run_share_lines(tmp_path: Path) -> None:
    clock = Clock()
    recorder = RunRecorder(tmp_path, clock=clock)
    recorder.on_start(workers(2))
    play(recorder, clock, 1000, 0.001)
    recorder.on_end()
    record = read_record(tmp_path / FILE_NAME)
    assert sum(rounds.count for rounds in record.rounds) == 1000
    assert len(record.rounds) <= 21
    assert record.rate() == pytest.approx(1000, rel=0.01)
    assert sum(rounds.loop[0] for rounds in record.rounds) == pytest.approx(0.6, rel=1e-3)


def test_the_file_stays_small_and_the_sums_stay_true(tmp_path: Path) -> None:
    clock = Clock()
    limit = 20_000
    recorder = RunRecorder(tmp_path, limit_bytes=limit, clock=clock)
    recorder.on_start(workers(2))
    for _ in range(40):
        play(recorder, clock, 50, 1.0)
        recorder.on_sample(samples(2, 1))
        assert os.path.getsize(tmp_path / FILE_NAME) <= limit + 1000
    recorder.on_restart("lost")
    recorder.on_start(workers(3))
    play(recorder, clock, 5, 1.0, size=3)
    recorder.on_end()
    record = read_record(tmp_path / FILE_NAME)
    assert sum(rounds.count for rounds in record.rounds) == 2005
    assert sum(rounds.seconds for rounds in record.rounds) == pytest.approx(2005, rel=0.01)
    assert [len(event.workers) for event in record.of_kind("start")] == [2, 3]
    assert len(record.rounds) > 20, "and it still says something"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_torn_line_does_not_take_the_next_with_it(tmp_path: Path) -> None:
    clock = Clock()
    first = RunRecorder(tmp_path, clock=clock)
    first.on_start(workers(2))
    play(first, clock, 2, 1.0)
    with open(tmp_path / FILE_NAME, "a") as file:
        file.write('{"kind":"rounds","time":1,"cou')  # killed here
    second = RunRecorder(tmp_path, clock=clock)
    second.on_start(workers(1))
    play(second, clock, 1, 1.0, size=1)
    record = read_record(tmp_path / FILE_NAME)
    assert [len(rounds.loop) for rounds in record.rounds] == [2, 2, 1]
    assert [event.text for event in record.restarts] == [""]


def test_rounds_are_written_before_what_comes_after_them(tmp_path: Path) -> None:
    clock = Clock()
    recorder = RunRecorder(tmp_path, clock=clock)
    recorder.on_start(workers(1))
    play(recorder, clock, 1, 0.001, size=1)
    recorder.on_failure("ValueError: boom\n" + "x" * 50_000)
    assert [line["kind"] for line in lines(tmp_path)] == ["run", "start", "rounds", "failure"]
    text = lines(tmp_path)[-1]["text"]
    assert text.startswith("ValueError: boom") and len(text) < 21_000 and "left out" in text


def test_a_directory_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.WARNING):
        recorder = RunRecorder(tmp_path / "gone", clock=clock)
        recorder.on_start(workers(2))
        play(recorder, clock, 3, 1.0)
        recorder.on_end()
    assert len(caplog.records) == 1 and "gone" in caplog.text


def test_odd_values_are_no_reason_to_fail(tmp_path: Path) -> None:
    recorder = RunRecorder(tmp_path, {"odd": object(), "nan": float("nan")})
    recorder.on_start(workers(2))
    metrics = {"nan": float("nan"), "text": "x", "nested": {"a": 1}, "_timestamp": 3, "flag": True}
    recorder.on_round(1, [metrics, metrics], [float("nan"), 1.0], [0.0, float("inf")], None)
    recorder.on_sample([{"rank": 0, "cpu_percent": float("nan"), "odd": object(), "gpus": [1]}])
    recorder.on_end()
    record = read_record(tmp_path / FILE_NAME)
    assert record.rounds[0].metrics == {"nan": [None, None], "nested/a": [1.0, 1.0]}
    assert record.rounds[0].loop == [0.0, 1.0]
    assert record.samples[0].ranks == [{"rank": 0, "cpu_percent": None, "gpus": [1]}]


def test_a_tail_sees_what_is_new(tmp_path: Path) -> None:
    clock = Clock()
    tail = RecordTail(tmp_path / FILE_NAME)
    assert not tail.look() and not tail.record
    recorder = RunRecorder(tmp_path, clock=clock)
    recorder.on_start(workers(2))
    assert tail.look() and tail.record.workers
    assert not tail.look()
    play(recorder, clock, 2, 1.0)
    assert tail.look() and len(tail.record.rounds) == 2
    with open(tmp_path / FILE_NAME, "a") as file:
        file.write('{"kind":"end","ti')
    assert not tail.look(), "the line is not whole yet"
    with open(tmp_path / FILE_NAME, "a") as file:
        file.write('me":5}\n')
    assert tail.look() and tail.record.state == "ended"


def test_a_tail_begins_anew_when_the_file_was_thinned_out(tmp_path: Path) -> None:
    clock = Clock()
    tail = RecordTail(tmp_path / FILE_NAME)
    recorder = RunRecorder(tmp_path, limit_bytes=8000, clock=clock)
    recorder.on_start(workers(2))
    for _ in range(30):
        play(recorder, clock, 10, 1.0)
        tail.look()
    recorder.on_end()
    tail.look()
    assert sum(rounds.count for rounds in tail.record.rounds) == 300
    assert len(tail.record.rounds) < 100


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["rounds", "sample", "start", "junk"]), st.integers(1, 3)), max_size=120),
    st.integers(200, 4000),
)
def test_thinning_keeps_counts_and_order(story: list[tuple[str, int]], limit: int) -> None:
    records: list[bytes] = []
    size = 1
    for number, (kind, value) in enumerate(story):
        if kind == "junk":
            records.append(b'{"kind":"rou')
            continue
        record: dict[str, Any] = {"kind": kind, "time": float(number)}
        if kind == "start":
            size = value
            record["workers"] = [{"rank": rank} for rank in range(size)]
        elif kind == "rounds":
            record |= {"count": value, "seconds": 1.0, "loop": [0.5] * size, "waited": [0.5] * size}
        else:
            record["ranks"] = [{"rank": rank, "rss_bytes": value} for rank in range(size)]
        records.append(json.dumps(record).encode())
    before, after = RunRecord(), RunRecord()
    for line in records:
        before.feed(line)
    kept, _ = thinned(records, limit)
    for line in kept:
        after.feed(line)
    assert len(after.events) == len(before.events)
    for name in ("rounds", "samples"):
        times = [item.time for item in getattr(after, name)]
        assert times == sorted(times)
        assert bool(times) == bool(getattr(before, name)), "something is always left"
    assert sum(r.count for r in after.rounds) <= sum(r.count for r in before.rounds)
    if sum(map(len, kept)) + len(kept) > limit:  # nothing more can be merged
        rounds_between = [json.loads(line)["kind"] for line in kept]
        assert rounds_between.count("rounds") <= 1 + rounds_between.count("start")
    if all(len(r.loop) == len(before.rounds[0].loop) for r in before.rounds):
        assert sum(r.count for r in after.rounds) == sum(r.count for r in before.rounds)


def test_ever_so_many_restarts_are_bounded() -> None:
    records = []
    for number in range(2000):
        records.append(json.dumps({"kind": "restart", "time": number, "text": "lost"}).encode())
        records.append(json.dumps({"kind": "start", "time": number, "workers": [{"rank": 0}]}).encode())
    kept, _ = thinned(records, 10)
    assert len(kept) == 150
    assert json.loads(kept[0])["time"] == 0 and json.loads(kept[-1])["time"] == 1999


def test_states_of_a_record(tmp_path: Path) -> None:
    record = read_record(make_run(tmp_path / "a", 12, restart_at=6, resize_to=1) / FILE_NAME)
    assert record.state == "ended"
    (restart,) = record.restarts
    assert restart.text.startswith("rank 1 (pid 101) was killed") and len(restart.workers) == 1
    assert read_record(make_run(tmp_path / "b", 3, ends=False) / FILE_NAME).state == "running"
    assert read_record(make_run(tmp_path / "c", 3, fails_with="boom") / FILE_NAME).state == "failed"
    assert read_record(tmp_path / "nowhere" / FILE_NAME).state == ""
