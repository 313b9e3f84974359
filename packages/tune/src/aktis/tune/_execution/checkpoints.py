"""Which checkpoint a trial starts from, and which ones may go. Pure: only names of directories are known here.

A trial's own checkpoints are kept by its :class:`CheckpointManager`. What a trial took over from another (exploitation in
population based training) is *borrowed*: it stays its starting point until it makes a checkpoint of its own. What somebody
starts from is *pinned*: it is deleted only when nobody does any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from aktis.air.config import CheckpointConfig
from aktis.air.retention import CheckpointManager, TrackedCheckpoint

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial


class StartPoint(NamedTuple):
    """A checkpoint to start from."""

    owner: str  # id of the trial that made it
    path: str  # relative to the owner's directory
    iteration: int  # training_iteration of the state in it


class CheckpointKeeper:
    """The checkpoints of all trials of a run."""

    def __init__(self) -> None:
        self._borrowed: dict[str, StartPoint] = {}  # by the borrower's id
        self._pins: dict[tuple[str, str], int] = {}  # by owner and path
        self._doomed: dict[tuple[str, str], StartPoint] = {}  # not kept any more, but pinned

    def register(
        self, trial: Trial, path: str, metrics: dict[str, Any], *, exploiting: bool = False
    ) -> list[StartPoint]:
        """Take over a new checkpoint. Returns those to delete now.

        ``exploiting``: the trial will go on from the checkpoint that it borrowed all the same.
        """
        if trial.checkpoints is None:
            trial.checkpoints = CheckpointManager(trial.checkpoint_config or CheckpointConfig(), trial.logdir)
        kept = {key: value for key, value in metrics.items() if key != "config"}
        full = os.path.join(trial.logdir, path)
        for tracked in trial.checkpoints.kept:
            if (
                tracked.path == full
            ):  # made again, after the trial went on from an earlier one: the directory is the new one
                trial.checkpoints.forget(tracked)
        self._doomed.pop((trial.trial_id, path), None)
        gone = trial.checkpoints.register(TrackedCheckpoint(full, kept))
        freed = [point for point in (_point(trial, tracked) for tracked in gone) if not self._doom(point)]
        return freed if exploiting else freed + self.forget(trial)

    def _doom(self, point: StartPoint) -> bool:
        """Whether the checkpoint must wait, because somebody starts from it."""
        place = point.owner, point.path
        if not self._pins.get(place):
            return False
        self._doomed[place] = point
        return True

    def starting_point(self, trial: Trial) -> StartPoint | None:
        """What a start of this trial goes on from."""
        borrowed = self._borrowed.get(trial.trial_id)
        if borrowed is not None:
            return borrowed
        latest = trial.checkpoints.latest if trial.checkpoints is not None else None
        return _point(trial, latest) if latest is not None else None

    def borrow(self, trial: Trial, donor: Trial) -> list[StartPoint]:
        """Let ``trial`` start from the latest checkpoint of ``donor``, if it has one. Returns what is to be deleted."""
        point = self.starting_point(donor)
        if point is None:
            return []
        self.pin(point)
        before = self._borrowed.get(trial.trial_id)
        self._borrowed[trial.trial_id] = point
        return self.unpin(before) if before is not None else []

    def forget(self, trial: Trial) -> list[StartPoint]:
        """The trial needs no starting point any more. Returns what is to be deleted."""
        borrowed = self._borrowed.pop(trial.trial_id, None)
        return self.unpin(borrowed) if borrowed is not None else []

    def forget_lost(self, trial: Trial, is_there: Callable[[StartPoint], bool]) -> list[StartPoint]:
        """Drop what this trial would start from, as long as it is not there. Returns what was dropped: nothing is to be deleted."""
        lost = []
        while (point := self.starting_point(trial)) is not None and not is_there(point):
            lost.append(point)
            if self._borrowed.pop(trial.trial_id, None) is not None:
                self.unpin(point)
            elif trial.checkpoints is not None and trial.checkpoints.latest is not None:
                trial.checkpoints.forget(trial.checkpoints.latest)
        return lost

    def pin(self, point: StartPoint) -> None:
        place = point.owner, point.path
        self._pins[place] = self._pins.get(place, 0) + 1

    def unpin(self, point: StartPoint) -> list[StartPoint]:
        """One less starts from it; returns it when it is to be deleted now."""
        place = point.owner, point.path
        left = self._pins[place] - 1
        if left:
            self._pins[place] = left
            return []
        del self._pins[place]
        doomed = self._doomed.pop(place, None)
        return [doomed] if doomed is not None else []

    def pinned(self) -> dict[tuple[str, str], int]:
        """Pins, for checks."""
        return dict(self._pins)


def _point(trial: Trial, tracked: TrackedCheckpoint) -> StartPoint:
    path = os.path.relpath(tracked.path or "", trial.logdir)
    return StartPoint(trial.trial_id, path, int(tracked.metrics.get("training_iteration") or 0))
