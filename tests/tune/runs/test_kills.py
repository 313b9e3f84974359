"""kill -9 of the driver at random moments, Ctrl-C once and twice, and workers that die: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from aktis import tune
from aktis.tune._execution.journal import Journal

DRIVER = Path(__file__).with_name("faulty.py")


def start(folder: Path, what: str) -> subprocess.Popen[str]:
    (folder / "notes").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(folder), what], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_results(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until so many results are in result.json files."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and process.poll() is None:
        found = sum(path.read_bytes().count(b"\n") for path in folder.glob("run/*/result.json"))
        if found >= count:
            return
        time.sleep(0.01)
    assert process.poll() is None, f"the driver ended: {process.communicate()}"
    pytest.fail("no results came")


def results(folder: Path) -> dict[int, list[int]]:
    """Steps in result.json, by x; every line must be whole."""
    found: dict[int, list[int]] = {}
    for path in folder.glob("run/*/result.json"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["x"], []).append(row["step"])
    return found


def journaled(folder: Path) -> Counter[tuple[int, int]]:
    from aktis.tune._execution import records

    journal = Journal.open(str(folder / "run"), read_only=True)
    rows = [row for record in journal.events(kinds=[records.STEPPED]) for row in records.results_of(record)]
    journal._db.close()
    return Counter((row["x"], row["step"]) for row in rows)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["new", "class"])
def test_a_killed_run_goes_on_and_loses_nothing(tmp_path: Path, what: str) -> None:
    rng = random.Random(what)
    for count in (rng.randrange(1, 30), rng.randrange(40, 80)):
        driver = start(tmp_path, what if not (tmp_path / "run").exists() else "restore")
        wait_for_results(tmp_path, count, driver)
        time.sleep(rng.random() * 0.05)
        driver.kill()
        driver.communicate()
        # Who looks at the directory now sees all that was reported, whenever the state file was written last.
        latest: dict[int, int] = {}
        for x, step in journaled(tmp_path):
            latest[x] = max(step, latest.get(x, 0))
        looked = tune.ExperimentAnalysis(str(tmp_path / "run"))
        assert {trial.config["x"]: trial.last_result["step"] for trial in looked.trials if trial.last_result} == latest
    driver = start(tmp_path, "restore")
    output, errors = driver.communicate(timeout=60)
    assert "finished 12 0" in output, errors
    kept = journaled(tmp_path)
    logged = results(tmp_path)
    assert {x: sorted(set(steps)) for x, steps in logged.items()} == {x: list(range(1, 11)) for x in range(12)}
    # What report() returned from is in the journal, and the log has exactly what the journal has.
    notes = {
        (int(path.name), int(line)) for path in (tmp_path / "notes").iterdir() for line in path.read_text().split()
    }
    assert notes <= set(kept)
    assert Counter((x, step) for x, steps in logged.items() for step in steps) == kept
    if what == "new":  # each report had its checkpoint: at most what was cut off on the way was done again
        assert max(kept.values()) == 1
    assert len(list(tmp_path.glob("run/*_x=*"))) == 12


@pytest.mark.timeout(60)
def test_ctrl_c_once_saves_and_can_be_resumed(tmp_path: Path) -> None:
    driver = start(tmp_path, "class")
    wait_for_results(tmp_path, 12, driver)
    driver.send_signal(signal.SIGINT)
    output, errors = driver.communicate(timeout=30)
    assert "finished" in output, errors
    assert "Ctrl-C" in errors
    before = results(tmp_path)
    assert sum(map(len, before.values())) < 120
    driver = start(tmp_path, "restore")
    output, errors = driver.communicate(timeout=60)
    assert "finished 12 0" in output, errors
    # Every trial went on from a last checkpoint: no step was done twice.
    assert results(tmp_path) == {x: list(range(1, 11)) for x in range(12)}


@pytest.mark.timeout(60)
def test_ctrl_c_twice_ends_at_once(tmp_path: Path) -> None:
    driver = start(tmp_path, "new")
    wait_for_results(tmp_path, 5, driver)
    driver.send_signal(signal.SIGINT)
    driver.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 20
    while driver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        driver.send_signal(signal.SIGINT)
    output, errors = driver.communicate(timeout=10)
    assert driver.returncode is not None
    assert os.path.isfile(tmp_path / "run" / "experiment.sqlite"), output + errors
    driver = start(tmp_path, "restore")
    output, errors = driver.communicate(timeout=60)
    assert "finished 12 0" in output, errors


@pytest.mark.timeout(60)
def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    driver = start(tmp_path, "new")
    wait_for_results(tmp_path, 2, driver)
    try:
        with pytest.raises(tune.TuneError, match=f"process {driver.pid} is running"):
            tune.run(lambda config: None, name="run", local_dir=str(tmp_path), verbose=0)
    finally:
        driver.kill()
        driver.communicate()
