"""A session that writes down what is reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from aktis.air.session_host import SessionHost


class Recorder(SessionHost):
    """Keeps metrics, and copies of the directories of checkpoints."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.rank = rank
        self.reports: list[tuple[dict[str, Any], Path | None]] = []

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return [metrics for metrics, _ in self.reports]

    def report(self, metrics: dict[str, Any], *, checkpoint: Any = None) -> None:
        kept = None
        if checkpoint is not None:
            kept = self.folder / f"checkpoint_{len(self.reports)}"
            with checkpoint.as_directory() as source:
                shutil.copytree(source, kept)
        self.reports.append((dict(metrics), kept))

    def get_checkpoint(self) -> Any:
        return None

    def get_experiment_name(self) -> str:
        return "experiment"

    def get_trial_name(self) -> str:
        return "train_t1"

    def get_trial_id(self) -> str:
        return "t1"

    def get_trial_resources(self) -> Any:
        return None

    def get_trial_dir(self) -> str:
        return str(self.folder)

    def get_world_rank(self) -> int:
        return self.rank
