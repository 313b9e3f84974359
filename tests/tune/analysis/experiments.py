"""Experiments as a run leaves them, made without one."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

from aktis.air.nested import flatten
from aktis.tune.analysis.state_format import write_experiment_state
from aktis.tune.experiment.trial import Trial

RAY_EXPERIMENT = Path(__file__).parents[1] / "fixtures" / "ray23_experiment"
START = 1_700_000_000.0


def make_trial(directory: Path, number: int, config: dict[str, Any], searched: list[str]) -> Trial:
    trial = Trial(
        "train",
        trial_id=f"abcde_{number:05d}",
        config=config,
        evaluated_params={key: flatten(config)[key] for key in searched},
        experiment_tag=f"{number}_tag",
        experiment_dir=str(directory),
    )
    trial.relative_logdir = f"train_{trial.trial_id}"
    return trial


def result_of(trial: Trial, iteration: int, done: bool, **metrics: Any) -> dict[str, Any]:
    return {
        **metrics,
        "training_iteration": iteration,
        "time_total_s": 1.5 * iteration,
        "timestamp": START + iteration,
        "done": done,
        "trial_id": trial.trial_id,
        "pid": 1000,
        "hostname": "host",
        "config": trial.config,
    }


def write_results(trial: Trial, results: list[dict[str, Any]]) -> None:
    """The files of a trial, and what the runner knows of it then."""
    logdir = Path(trial.logdir)
    logdir.mkdir(parents=True, exist_ok=True)
    (logdir / "params.json").write_text(json.dumps(trial.config, default=str))
    with open(logdir / "result.json", "w") as file:
        for result in results:
            file.write(json.dumps(result, default=str) + "\n")
            trial.record(result, result["timestamp"])
    rows = [flatten({key: value for key, value in result.items() if key != "config"}) for result in results]
    if rows:
        with open(logdir / "progress.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def make_experiment(
    directory: Path, trials: int = 4, results: int = 5, seed: int = 0, failing: tuple[int, ...] = (), **runner_data: Any
) -> list[Trial]:
    """An experiment that ended: accuracy depends on ``lr`` (best at 0.001) and a little on ``act``, and grows over time."""
    rng = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(trials):
        config = {
            "lr": 10 ** rng.uniform(-5, -1),
            "act": rng.choice(["relu", "tanh"]),
            "opt": {"momentum": rng.random()},
            "batch": 64,
        }
        trial = make_trial(directory, number, config, ["lr", "act", "opt/momentum"])
        trial.start_time = START
        level = 1.0 - abs(math.log10(config["lr"]) + 3) / 3 + (0.05 if config["act"] == "relu" else 0.0)
        rows = []
        for iteration in range(1, results + 1):
            acc = level * (1 - 0.5**iteration) + rng.gauss(0, 0.001)
            rows.append(
                result_of(
                    trial,
                    iteration,
                    iteration == results,
                    acc=acc,
                    val={"loss": 1 - acc},
                    size=config["opt"]["momentum"],
                )
            )
        write_results(trial, rows)
        trial.status = Trial.TERMINATED
        if number in failing:
            trial.status, trial.num_failures = Trial.ERROR, 1
            trial.error = RuntimeError("out of memory")
            Path(trial.logdir, "error.txt").write_text(
                "Failure # 1\nTraceback (most recent call last):\n"
                '  File "train.py", line 7, in train\nRuntimeError: out of memory\n'
            )
        made.append(trial)
    write_experiment_state(
        directory / "experiment_state-2026-01-01_00-00-00.json",
        made,
        runner_data,
        {"start_time": START, "timestamp": START + 60},
    )
    return made
