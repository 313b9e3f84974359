"""What fit() shows: on a terminal, in a notebook, in a log, and when it is told to be silent."""

from __future__ import annotations

import copy
import io
import pickle
import pty
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.train.report.made_runs import make_run

from aktis.train._report import progress
from aktis.train._report.progress import TrainReporter
from aktis.train._report.record import FILE_NAME, RunRecord, read_record
from aktis.train._report.state import RankState, State, take_state
from aktis.train._report.views import closing_lines, html_view, rich_view, status_line


class MadeTrial:
    """As much of a trial as a reporter looks at."""

    def __init__(self, logdir: Path | None, status: str = "RUNNING", **result: Any) -> None:
        self.logdir = None if logdir is None else str(logdir)
        self.status = status
        self.last_result = result
        self.trainable_name = "TorchTrainer"
        self.experiment_dir_name = "digits"
        self.error: BaseException | None = None
        self.error_file: str | None = None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "digits" / "TorchTrainer_1", 12, restart_at=6, ends=False)


def state_of(directory: Path, **more: Any) -> State:
    record = read_record(directory / FILE_NAME)
    return take_state(
        MadeTrial(directory, training_iteration=12, val_loss=0.5, note="x", time_total_s=3.0), record, 65.0, **more
    )


def test_the_state_of_a_run(run: Path) -> None:
    state = state_of(run)
    assert (state.trainer, state.name, state.state, state.iteration) == ("TorchTrainer", "digits", "running", 12)
    assert state.metrics == {"val_loss": "0.5"}
    assert (state.workers, state.alive, state.slowest) == (2, 2, 1)
    assert state.rate == pytest.approx(0.75, abs=0.05)
    assert state.waiting == pytest.approx(0.19, abs=0.02)
    assert state.restarts == 1 and state.last_restart == "rank 1 (pid 101) was killed by signal 9"
    assert state.ranks[0].cpu == "", "the sample is of the process before"
    assert state.ranks[1].loop == "1.3 s" and state.ranks[1].waiting == "1%"


@pytest.mark.parametrize(
    ("status", "done", "state"),
    [
        ("PENDING", False, "waiting for resources"),
        ("RUNNING", False, "running"),
        ("TERMINATED", True, "finished"),
        ("ERROR", True, "failed"),
        ("PENDING", True, "stopped"),
    ],
)
def test_states_of_trials(run: Path, status: str, done: bool, state: str) -> None:
    trial = MadeTrial(run, status)
    assert take_state(trial, read_record(run / FILE_NAME), 1.0, done).state == state


def test_before_anything_is_known() -> None:
    state = take_state(MadeTrial(None), RunRecord(), 0.4)
    assert state.state == "starting"
    assert status_line(state) == "[0.4 s] TorchTrainer digits: starting"
    assert shown(state) == "train TorchTrainer digits  ○ starting  0.4 s\n"


def shown(state: State, width: int = 100, **more: Any) -> str:
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(rich_view(state, width, 30, **more))
    return re.sub(r" +\n", "\n", console.export_text())


def example(**more: Any) -> State:
    ranks = [
        RankState(0, "a", "12", "training", "98%", "410 MB", "", "103 ms", "34%"),
        RankState(1, "a", "13", loop="150 ms"),
    ]
    given: dict[str, Any] = {
        "trainer": "TorchTrainer", "name": "digits", "state": "running", "elapsed": 65.2, "iteration": 12,
        "metrics": {"loss": "0.12"}, "rate": 3.41, "waiting": 0.19, "slowest": 1, "workers": 2, "alive": 2, "ranks": ranks,
        "directory": "/results/digits/TorchTrainer_1",
    }  # fmt: skip
    return State(**{**given, **more})


def test_the_display() -> None:
    lines = shown(example(checkpoint="checkpoint_000009 (loss 0.1)", checkpoint_is_best=True)).splitlines()
    assert lines[:5] == [
        "train TorchTrainer digits  ● running  1 min 05 s",
        "metrics     iteration 12   loss 0.12",
        "group       2 workers  3.41 rounds/s, 19% of the time waiting, rank 1 is the slowest",
        "best        checkpoint_000009 (loss 0.1)",
        "",
    ]
    assert [line.split() for line in lines[5:6] + lines[7:]] == [
        ["rank", "pid", "CPU", "memory", "in", "the", "loop", "waiting"],
        ["0", "12", "training", "98%", "410", "MB", "103", "ms", "34%"],
        ["1", "13", "150", "ms"],
    ]
    assert "rank   pid" not in shown(example(), verbose=2)


def test_the_display_fits() -> None:
    many = example(
        metrics={f"metric_number_{n}": "0.123" for n in range(12)}, workers=40, ranks=[RankState(n) for n in range(40)]
    )
    for width in (40, 60, 200):
        lines = shown(many, width).splitlines()
        assert max(map(len, lines)) <= width and len(lines) <= 30
    assert "... 2" in shown(many) and all(f"metric_number_{n} " in shown(many) for n in range(12))


def test_a_worker_that_is_missing_is_seen() -> None:
    assert "1 of 2 workers alive" in shown(example(alive=1))
    assert "1 worker " in shown(example(workers=1, alive=1, ranks=[])) and "waiting" not in shown(
        example(workers=1, alive=1, ranks=[])
    )


def test_the_end_says_where_things_are() -> None:
    state = example(
        state="failed", error="ValueError: boom", error_file="/results/error.txt", checkpoint="checkpoint_000001"
    )
    assert dict(closing_lines(state)) == {
        "error": "ValueError: boom",
        "traceback": "/results/error.txt",
        "results": "/results/digits/TorchTrainer_1",
        "checkpoint": "checkpoint_000001",
        "page": "python -m aktis.train.html_report /results/digits/TorchTrainer_1",
    }
    text = shown(state, 40, done=True)
    assert "✗ failed" in text and "rounds/s" not in text
    assert "/results/digits/TorchTrainer_1" in text.replace("\n", ""), "folded, not cut"


def test_html_is_escaped() -> None:
    text = html_view(example(name="<b>", metrics={"<i>": "1"}))
    assert "<b>train TorchTrainer &lt;b&gt;</b>" in text and "&lt;i&gt;" in text and "<i>" not in text
    assert "python -m aktis.train.html_report" in html_view(example(state="finished"), done=True)


# -- the reporter ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that one sets: now[0]."""
    moment = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: moment[0])
    return moment


def told(reporter: TrainReporter, trial: MadeTrial, done: bool = False) -> None:
    if reporter.should_report([trial], done):
        reporter.report([trial], done)


def test_a_log_gets_a_line_now_and_then(run: Path, now: list[float]) -> None:
    stream = io.StringIO()
    reporter = TrainReporter(stream=stream)
    reporter.setup(verbose=2)
    trial = MadeTrial(run, training_iteration=1, loss=3.0)
    told(reporter, trial)
    restart = stream.getvalue()
    assert re.fullmatch(
        r"\[.* s\] TorchTrainer digits: restart 1 with 2 workers: rank 1 \(pid 101\) was killed.*\n", restart
    )
    for _ in range(40):  # ten seconds, a quarter at a time
        now[0] += 0.25
        trial.last_result["training_iteration"] += 1
        told(reporter, trial)
    lines = stream.getvalue()[len(restart) :].splitlines()
    assert len(lines) == 2 and "iteration 21, loss 3" in lines[0] and "rounds/s" not in lines[0]
    for _ in range(400):  # nothing new for a hundred seconds
        now[0] += 0.25
        told(reporter, trial)
    assert len(stream.getvalue().splitlines()) == 4, stream.getvalue()
    trial.status = "TERMINATED"
    told(reporter, trial, done=True)
    end = stream.getvalue().splitlines()[4:]
    assert "finished, iteration 41" in end[0]
    assert [line.split()[0] for line in end[1:]] == ["results", "page"]


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 1), (2, 2), (3, 2)])
def test_verbosity_in_a_log(tmp_path: Path, now: list[float], verbose: int, lines: int) -> None:
    run = make_run(tmp_path / "x" / "y", 12, ends=False)
    stream = io.StringIO()
    reporter = TrainReporter(stream=stream)
    reporter.setup(verbose=verbose)
    trial = MadeTrial(run, training_iteration=1, loss=3.0)
    for _ in range(3):
        told(reporter, trial)
        now[0] += 3
        trial.last_result["training_iteration"] += 1
    trial.status = "TERMINATED"
    told(reporter, trial, done=True)
    text = [line for line in stream.getvalue().splitlines() if line.startswith("[")]
    assert len(text) == lines
    assert (
        ("0.74" in text[0] and "; memory 409 MB 459 MB; CPU 92% 88%" in text[0]) == (verbose == 3)
        if len(text) > 1
        else True
    )


class Reader(threading.Thread):
    """Reads what is written to a terminal, until it is closed."""

    def __init__(self, leader: int) -> None:
        super().__init__()
        self.leader = leader
        self.parts: list[bytes] = []

    def run(self) -> None:
        with open(self.leader, "rb", buffering=0) as file:
            while True:
                try:
                    part = file.read(4096)
                except OSError:  # the other end is closed
                    return
                if not part:
                    return
                self.parts.append(part)


def test_a_terminal_is_painted_over(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    reading = Reader(leader)
    reading.start()
    with open(follower, "w") as stream:
        reporter = TrainReporter(stream=stream, period=0.0)
        reporter.setup(verbose=3)
        trial = MadeTrial(run, training_iteration=12, loss=3.0)
        told(reporter, trial)
        told(reporter, trial)
        trial.status = "TERMINATED"
        told(reporter, trial, done=True)
        reporter.close()
    reading.join()
    output = b"".join(reading.parts).decode()
    assert "\x1b[1A" in output, "the cursor goes up"
    assert output.count("restart 1") == 1, "what stays is printed once"
    last = output.rpartition("✓ finished")[2]
    assert "python -m aktis.train.html_report" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    assert output.count("\x1b[?25l") == output.count("\x1b[?25h"), "the cursor is seen again"


def test_a_reporter_can_be_stored_while_it_shows_something(run: Path) -> None:
    reporter = TrainReporter(stream=io.StringIO(), period=2.0)
    told(reporter, MadeTrial(run, training_iteration=1))
    for other in (pickle.loads(pickle.dumps(reporter)), copy.copy(reporter)):
        assert isinstance(other, TrainReporter) and other.should_report([])
