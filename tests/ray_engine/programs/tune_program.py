"""Trials on two nodes: ASHA stops bad ones, and one trial's actor dies and goes on from its checkpoint."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import aktis
from aktis import air, tune
from aktis.air import Checkpoint, session
from aktis.tune.schedulers import ASHAScheduler

STEPS = 8


def train(config: dict[str, Any]) -> None:
    checkpoint = session.get_checkpoint()
    first = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    for step in range(first, STEPS):
        marker = Path(config["marker"])
        if config["x"] == 5 and step == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        session.report(
            {"score": config["x"] * (step + 1), "first": first}, checkpoint=Checkpoint.from_dict({"step": step})
        )


def main(folder: Path) -> None:
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3, 4, 5]), "marker": str(folder / "marker")},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", scheduler=ASHAScheduler(max_t=STEPS, grace_period=2, reduction_factor=2)
        ),
        run_config=air.RunConfig(
            name="trials", local_dir=str(folder), verbose=0, failure_config=air.FailureConfig(max_failures=1)
        ),
    )
    results = tuner.fit()
    assert not results.errors, results.errors
    assert len(results) == 5
    best = results.get_best_result()
    assert best.config["x"] == 5, best
    assert best.metrics["score"] == 5 * STEPS, best.metrics
    assert best.metrics["first"] == 3, best.metrics  # it went on from its checkpoint
    assert best.checkpoint is not None
    assert best.checkpoint.to_dict()["step"] == STEPS - 1


if __name__ == "__main__":
    with aktis.init():
        main(Path(sys.argv[1]))
    print("done")
