"""A run that is killed in the middle, and goes on where it was: kill -9, then Tuner.restore.

This program starts itself a second time, lets that one search for a while, and kills it. Then it takes the run up. Every trial
saves a checkpoint with each report, so no epoch is computed twice except the one that was being computed.

Run: python examples/tune_resume.py
Needs: pip install aktis-tune
Prints: how far the killed run was, and how little was computed twice.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aktis import air, tune
from aktis.air import Checkpoint, session

TRIALS, EPOCHS = 6, 5
NAME = "interrupted"


def train(config: dict[str, Any]) -> None:
    """Adds a line to a file for every epoch that it computes, so that they can be counted afterwards."""
    checkpoint = session.get_checkpoint()
    state = checkpoint.to_dict() if checkpoint else {"epoch": 0, "weight": 0.0}
    for epoch in range(state["epoch"], EPOCHS):
        with open(config["log"], "a") as log:
            log.write(f"{config['target']} {epoch}\n")
        time.sleep(0.05)  # the work
        state = {"epoch": epoch + 1, "weight": state["weight"] + 0.5 * (config["target"] - state["weight"])}
        distance = abs(config["target"] - state["weight"])
        session.report({"distance": distance}, checkpoint=Checkpoint.from_dict(state))


def search(results_dir: str) -> None:
    tuner = tune.Tuner(
        train,
        param_space={"target": tune.grid_search(list(range(1, TRIALS + 1))), "log": f"{results_dir}/epochs.txt"},
        tune_config=tune.TuneConfig(metric="distance", mode="min"),
        run_config=air.RunConfig(name=NAME, local_dir=results_dir, verbose=0),
    )
    tuner.fit()


def epochs_logged(results_dir: str) -> list[str]:
    log = Path(results_dir, "epochs.txt")
    return log.read_text().splitlines() if log.exists() else []


def kill_in_the_middle(results_dir: str) -> None:
    """Run :func:`search` in another process, and kill it when about half of the work is done."""
    process = subprocess.Popen([sys.executable, __file__, results_dir])
    while len(epochs_logged(results_dir)) < TRIALS * EPOCHS // 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def main() -> None:
    with tempfile.TemporaryDirectory() as results_dir:
        kill_in_the_middle(results_dir)
        before = len(epochs_logged(results_dir))

        print(f"killed after {before} of {TRIALS * EPOCHS} epochs")

        results = tune.Tuner.restore(f"{results_dir}/{NAME}", trainable=train).fit()
        epochs = epochs_logged(results_dir)
        print(
            f"then {results.num_terminated} of {TRIALS} trials ended, after {len(epochs)} epochs, {len(set(epochs))} different"
        )
        assert results.num_terminated == TRIALS and results.num_errors == 0
        assert len(set(epochs)) == TRIALS * EPOCHS
        assert all(result.metrics["training_iteration"] == EPOCHS for result in results)
        assert len(epochs) - len(set(epochs)) <= TRIALS  # at most the epoch that each trial was in
        best = results.get_best_result()
        print(f"best: distance {best.metrics['distance']:.4f} for target {best.config['target']}")
        assert best.config["target"] == 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        search(sys.argv[1])
    else:
        main()
