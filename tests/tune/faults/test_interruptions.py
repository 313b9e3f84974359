"""Ctrl-C at awkward moments, and sessions that end under a run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import tune
from aktis.tune._execution import events as ev

DRIVER = Path(__file__).parents[1] / "runs" / "faulty.py"


class SavesLate(tune.Trainable):
    """Done after two steps; its last checkpoint takes as long as the flag is missing."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"count": self.count, "done": self.count == 2}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        while not os.path.exists(self.config["flag"]):
            time.sleep(0.01)
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = checkpoint["count"]


class StopsWhileSaving(tune.Callback):
    """Asks for the end, as Ctrl-C does, when a trial is done and not yet saved."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag
        self.runner: Any = None
        self.asked: Any = None

    def setup(self, **info: Any) -> None:
        self.runner = info["runner"]

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["done"]:
            self.asked = self.runner.request(ev.StopAll(time.time()))

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if self.asked is not None and self.asked.done():
            self.flag.touch()


@pytest.mark.usefixtures("session")
def test_a_trial_that_is_done_stays_done_though_its_last_checkpoint_came_after_ctrl_c(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "config": {"flag": str(tmp_path / "flag")}, "checkpoint_at_end": True, "name": "run",
        "local_dir": str(tmp_path), "verbose": 0,
    }  # fmt: skip
    tune.run(SavesLate, callbacks=[StopsWhileSaving(tmp_path / "flag")], **arguments)
    analysis = tune.run(SavesLate, resume=True, stop={"training_iteration": 9}, **arguments)
    trial = analysis.trials[0]
    assert (trial.status, trial.last_result["count"]) == ("TERMINATED", 2)
    assert trial.checkpoint is not None


def process_named(name: str) -> int:
    """The process of that name under this one."""
    parents: dict[int, tuple[str, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            head, _, rest = text.rpartition(")")
            parents[int(entry.name)] = head.partition("(")[2], int(rest.split()[1])

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid][1]
        return pid == os.getpid()

    return next(pid for pid, (found, _) in parents.items() if found == name and is_ours(pid))


def test_when_the_node_daemon_dies_the_run_says_so_and_can_be_resumed(tmp_path: Path) -> None:
    class Kills(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            if result["step"] == 3:
                with contextlib.suppress(ProcessLookupError, StopIteration):  # the second time
                    os.kill(process_named("aktis-node"), signal.SIGKILL)

    def endless(config: dict[str, Any]) -> None:
        step = 0
        while True:
            step += 1
            tune.report(step=step)
            time.sleep(0.02)

    arguments: dict[str, Any] = {"num_samples": 4, "name": "run", "local_dir": str(tmp_path), "verbose": 0}
    aktis.shutdown()
    aktis.init(num_cpus=2)
    try:
        with pytest.raises(tune.TuneError, match="its node daemon died"):
            tune.run(endless, callbacks=[Kills()], max_failures=-1, **arguments)
    finally:
        aktis.shutdown()
    aktis.init(num_cpus=2)
    try:
        analysis = tune.run(endless, resume=True, stop={"step": 5}, **arguments)
    finally:
        aktis.shutdown()
    assert [trial.status for trial in analysis.trials] == ["TERMINATED"] * 4


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_ctrl_c_at_any_moment_ends_in_order(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    (tmp_path / "notes").mkdir()

    def start(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(DRIVER), str(tmp_path), what]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    driver = start(rng.choice(["new", "class"]))
    assert driver.stdout is not None
    driver.stdout.readline()
    time.sleep(rng.random() * 1.6)
    driver.send_signal(signal.SIGINT)
    output, errors = driver.communicate(timeout=60)
    assert "finished" in output or "KeyboardInterrupt" in errors, errors
    if not tune.Tuner.can_restore(str(tmp_path / "run")):  # it had not begun
        return
    output, errors = start("restore").communicate(timeout=60)
    assert "finished 12 0" in output, errors
