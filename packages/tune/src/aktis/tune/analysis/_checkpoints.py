"""The checkpoints of a trial: of one that runs, from what keeps track of them; of one that was read, from its directory."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.tune.analysis._results import read_results

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.retention import TrackedCheckpoint
    from aktis.tune.experiment.trial import Trial

__all__ = ["StoredCheckpoints", "checkpoint_records", "checkpoints_in", "checkpoints_of"]

_NAME = re.compile(r"checkpoint_(\d+)\Z")


class StoredCheckpoints:
    """Stands where a running trial has a ``CheckpointManager``; looks at the trial's directory when it is asked.

    Args:
        logdir: The trial's directory.
        records: What the state says (see :func:`checkpoint_records`): these have metrics and scores. Others are found by name.
    """

    def __init__(self, logdir: str, records: Any = None) -> None:
        self._logdir = logdir
        self._records = records if isinstance(records, list) else []
        self._found: list[TrackedCheckpoint] | None = None

    @property
    def kept(self) -> list[TrackedCheckpoint]:
        """All that exist, oldest first."""
        if self._found is None:
            self._found = checkpoints_in(self._logdir, self._records)
        return list(self._found)

    @property
    def latest(self) -> TrackedCheckpoint | None:
        """The newest one; None when there is none."""
        return self.kept[-1] if self.kept else None

    @property
    def best_tracked(self) -> list[TrackedCheckpoint]:
        """All by score, the best last; in their order where the state does not say a score."""
        return sorted(
            self.kept, key=lambda one: (not math.isnan(one.score), 0.0 if math.isnan(one.score) else one.score)
        )

    @property
    def best(self) -> TrackedCheckpoint | None:
        """The best one; None when there is none."""
        return self.best_tracked[-1] if self.kept else None

    @property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """All with their metrics, the best last."""
        return [(one.checkpoint, one.metrics) for one in self.best_tracked]

    def __len__(self) -> int:
        return len(self.kept)


def checkpoints_in(logdir: str, records: list[Any] | None = None) -> list[TrackedCheckpoint]:
    """Checkpoints that lie in a trial's directory, oldest first, with the results that they belong to.

    Nothing is unpickled: the result is the recorded one, or the one that the number in the name tells. A class trainable counts
    iterations from 1; a function's first checkpoint belongs to its first result and may be called 0.
    """
    from aktis.air.retention import TrackedCheckpoint

    if not logdir or not os.path.isdir(logdir):
        return []
    known = {os.path.normpath(str(record["path"])): record for record in records or () if isinstance(record, Mapping)}
    numbered: list[tuple[int, str]] = []
    with os.scandir(logdir) as entries:
        for entry in entries:
            match = _NAME.match(entry.name)
            if (match or entry.name in known) and entry.is_dir():
                number = int(match.group(1)) if match else int(known[entry.name].get("id") or 0)
                numbered.append((number, entry.name))
    rows: dict[int, dict[str, Any]] | None = None
    found = []
    for number, name in sorted(numbered):
        record = known.get(name)
        if record is None and rows is None:
            rows = {int(row.get("training_iteration") or 0): row for row in read_results(logdir)}
        metrics = dict(record.get("metrics") or {}) if record is not None else _result_of(number, rows or {})
        one = TrackedCheckpoint(os.path.join(logdir, name), metrics, number)
        one.score = float(record.get("score", math.nan)) if record is not None else math.nan
        found.append(one)
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


def checkpoints_of(trial: Trial) -> list[TrackedCheckpoint]:
    """The checkpoints of a trial that lie in files, oldest first."""
    if trial.checkpoints is None:
        return checkpoints_in(trial.logdir)
    return [one for one in trial.checkpoints.kept if one.path is not None]


def checkpoint_records(trial: Trial) -> list[dict[str, Any]] | None:
    """The same for a file: paths relative to the trial's directory. None when nothing keeps track of them."""
    if trial.checkpoints is None:
        return None
    records = []
    for one in checkpoints_of(trial):
        path = str(one.path)
        path = os.path.relpath(path, trial.logdir) if trial.logdir and os.path.isabs(path) else path
        metrics = {key: value for key, value in one.metrics.items() if key != "config"}
        records.append({"id": one.id, "path": path, "score": one.score, "metrics": metrics})
    return records
