"""The checkpoints of a trial: of one that runs, from what keeps track of them; of one that was read, from its directory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.tune.analysis._results import read_results

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.tune.experiment.trial import Trial

__all__ = ["StoredCheckpoint", "StoredCheckpoints", "checkpoints_in", "checkpoints_of", "tracked"]

_NAME = re.compile(r"checkpoint_(\d+)\Z")


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint in a directory, and the result that it belongs to."""

    path: str
    metrics: dict[str, Any]

    @property
    def checkpoint(self) -> Checkpoint:
        from aktis.air.checkpoint import Checkpoint

        return Checkpoint.from_directory(self.path)


class StoredCheckpoints:
    """Stands where a running trial has what keeps track of its checkpoints; looks at the directory when it is asked.

    ``recorded`` is what the state says: checkpoints of which it knows are taken with their metrics, others are found by their name.
    """

    def __init__(self, trial: Trial, recorded: Any = None) -> None:
        self._logdir = trial.logdir
        self._recorded = recorded if isinstance(recorded, list) else None
        self._found: list[StoredCheckpoint] | None = None

    @property
    def all(self) -> list[StoredCheckpoint]:
        """All that exist, oldest first."""
        if self._found is None:
            self._found = checkpoints_in(self._logdir, self._recorded)
        return self._found

    @property
    def latest(self) -> StoredCheckpoint | None:
        return self.all[-1] if self.all else None

    def best_checkpoints(self) -> list[StoredCheckpoint]:
        return list(self.all)


def checkpoints_in(logdir: str, recorded: list[Any] | None = None) -> list[StoredCheckpoint]:
    """Checkpoints that lie in a trial's directory, oldest first, with the results that they belong to.

    Nothing is unpickled: the result is the recorded one, or the one that the number in the name tells. A class trainable counts
    iterations from 1; a function's first checkpoint belongs to its first result and may be called 0.
    """
    if not logdir or not os.path.isdir(logdir):
        return []
    by_path = {
        os.path.normpath(str(entry.get("path"))): dict(entry.get("metrics") or {})
        for entry in recorded or ()
        if isinstance(entry, Mapping)
    }
    numbered: list[tuple[int, str]] = []
    with os.scandir(logdir) as entries:
        for entry in entries:
            match = _NAME.match(entry.name)
            if match and entry.is_dir():
                numbered.append((int(match.group(1)), entry.name))
    rows: dict[int, dict[str, Any]] | None = None
    found = []
    for number, name in sorted(numbered):
        metrics = by_path.get(name)
        if metrics is None:
            if rows is None:
                rows = {int(row.get("training_iteration") or 0): row for row in read_results(logdir)}
            metrics = _result_of(number, rows)
        found.append(StoredCheckpoint(str(Path(logdir, name)), metrics))
    return found


def _result_of(number: int, rows: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    following = rows.get(number + 1)
    # Results of functions say that a checkpoint came with them, and number n came with result n + 1.
    if (
        following is not None
        and following.get("should_checkpoint")
        and not rows.get(number, {}).get("should_checkpoint")
    ):
        return following
    return rows.get(number) or following or {}


def tracked(trial: Trial) -> list[StoredCheckpoint] | None:
    """Checkpoints that a trial knows to have, oldest first; None when nothing keeps track of them."""
    manager: Any = trial.checkpoints
    if manager is None:
        return None
    if isinstance(manager, StoredCheckpoints):
        return manager.all
    found = []
    for kept in manager.best_checkpoints():
        path = getattr(kept, "path", None) or getattr(kept.checkpoint, "path", None)
        found.append(StoredCheckpoint(str(path), dict(kept.metrics)))
    return found


def checkpoints_of(trial: Trial) -> list[dict[str, Any]] | None:
    """The same for a file: paths relative to the trial's directory."""
    kept = tracked(trial)
    if kept is None:
        return None
    records = []
    for one in kept:
        path = os.path.relpath(one.path, trial.logdir) if trial.logdir and os.path.isabs(one.path) else one.path
        records.append({"path": path, "metrics": {key: value for key, value in one.metrics.items() if key != "config"}})
    return records
