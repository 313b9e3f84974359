"""Calls a callback as a run calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aktis.train.callbacks import TrainingCallback


def report(number: int, **values: Any) -> list[dict[str, Any]]:
    return [{"rank": rank, "_training_iteration": number, "_timestamp": 100 + number, **values} for rank in range(2)]


def drive(callback: TrainingCallback, logdir: Path, reports: list[list[dict[str, Any]]], error: bool = False) -> None:
    callback.start_training(logdir=str(logdir), config={"lr": 0.1, "model": {"width": 8}})
    for results in reports:
        callback.process_results(results)
    callback.finish_training(error=error)
