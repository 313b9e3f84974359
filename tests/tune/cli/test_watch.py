"""``tune watch``: a run from its directory alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.tune.analysis.experiments import RAY_EXPERIMENT, START, make_experiment, result_of

from aktis.tune.analysis.state_format import write_experiment_state
from aktis.tune.cli import _watch, main
from aktis.tune.cli._watch import Watcher
from aktis.tune.experiment.trial import Trial


def state_of(
    directory: Path, trials: list[Trial], name: str = "experiment_state-2026-02-01.json", **runner_data: Any
) -> None:
    write_experiment_state(directory / name, trials, runner_data, {"start_time": START, "timestamp": START + 9})


def running(directory: Path, count: int = 3) -> list[Trial]:
    trials = make_experiment(directory, count)
    for trial in trials[1:]:
        trial.status = Trial.RUNNING
    return trials


def test_what_happened_since_the_state_was_written(tmp_path: Path) -> None:
    trials = running(tmp_path)
    trials[2].status = Trial.PENDING
    state_of(tmp_path, trials, _finished=False, _total_samples=10, _pid=os.getpid())
    watcher = Watcher(tmp_path)
    assert watcher.look()
    assert [trial.status for trial in watcher.trials.values()] == ["TERMINATED", "TERMINATED", "TERMINATED"]

    with open(Path(trials[1].logdir, "result.json"), "a") as file:
        file.write(json.dumps(result_of(trials[1], 6, False, acc=0.99)) + "\n")
    state_of(tmp_path, trials, _finished=False, _total_samples=10, _pid=os.getpid())
    assert watcher.look()
    live = watcher.trials[trials[1].trial_id]
    assert (live.status, live.last_result["acc"]) == ("RUNNING", 0.99)
    assert watcher.expected == 10
    assert not watcher.ended
    assert not watcher.look(), "nothing changed, nothing is read"


def test_a_run_ends(tmp_path: Path) -> None:
    trials = running(tmp_path)
    state_of(tmp_path, trials, _finished=True)
    watcher = Watcher(tmp_path)
    watcher.look()
    assert watcher.ended == "finished"
    assert watcher.elapsed() == 9, "up to the last news"


def test_a_run_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    trials = running(tmp_path)
    for trial in trials[1:]:
        Path(trial.logdir, "result.json").unlink()
        Path(trial.logdir, "progress.csv").unlink()
    state_of(tmp_path, trials, _finished=False, _pid=gone.pid)
    watcher = Watcher(tmp_path)
    watcher.look()
    assert not watcher.ended, "it may just have begun on another machine"
    now = time.time()
    monkeypatch.setattr(_watch.time, "time", lambda: now + 3600)
    assert watcher.ended.startswith(f"interrupted: its process ({gone.pid}) is gone; `tune resume")
    state_of(tmp_path, trials, _finished=False, _pid=gone.pid, _host="elsewhere")
    watcher.look()
    assert not watcher.ended


def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state_of(tmp_path, running(tmp_path, 5), _finished=False, _total_samples=8, _metric="acc", _mode="max")
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(tmp_path), "--once", "--rows", "3"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "of 8 trials" in out
    assert "best  acc" in out
    assert "... 2 more trials not shown" in out


def test_an_experiment_of_ray_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["watch", str(RAY_EXPERIMENT)])
    out = capsys.readouterr().out
    assert "3 trials" in out
    assert "finished" in out
    assert "RuntimeError: boom at x=3" in out


def test_it_ends_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = running(tmp_path)
    state_of(tmp_path, trials, _finished=False, _pid=os.getpid())
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            for trial in trials:
                trial.status = Trial.TERMINATED
            state_of(tmp_path, trials, "experiment_state-2026-02-02.json", _finished=True)

    monkeypatch.setattr(_watch.time, "sleep", sleep)
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(tmp_path), "--interval", "0.5"])
    assert ended.value.code == 0
    assert slept == [0.5, 0.5, 0.5]
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("[9 s] 3 trials:") or out[0].startswith("[")
    assert any("finished" in line for line in out)


def test_several_experiments_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_experiment(tmp_path / "a", 1)
    make_experiment(tmp_path / "b", 1)
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(tmp_path)])
    assert ended.value.code == 2
    assert "holds 2 experiments: give the directory of one (a, b" in capsys.readouterr().err
