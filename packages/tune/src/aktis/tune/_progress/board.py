"""What a display knows of the trials, kept up to date in steps that do not depend on how many trials there are.

New trials are taken from the end of the list. Which trials ended comes from the callback's hooks; without them (a reporter that
is only called now and then) all trials that have not ended are looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from aktis.air.nested import lookup
from aktis.tune.analysis._best import is_usable

__all__ = ["STATUSES", "Board"]

STATUSES = ("RUNNING", "PAUSED", "PENDING", "TERMINATED", "ERROR")
_ENDED = ("TERMINATED", "ERROR")


class Board:
    """Counts, the trials that run, the latest that ended, those that failed, and the best one."""

    def __init__(self, metric: str | None = None, mode: str | None = None) -> None:
        self.metric = metric
        self.mode = mode
        self.fed = False  # whether hooks tell of changes
        self.by_status: dict[str, dict[str, Any]] = {status: {} for status in STATUSES}
        self.recent: deque[Any] = deque(maxlen=64)  # that ended, oldest first
        self.results = 0
        self._status: dict[str, str] = {}
        self._seen = 0
        self._best: Any = None
        self._best_score: float | None = None
        self._best_is_stale = False

    # -- being told ---------------------------------------------------------------------------------------------------

    def set_metric(self, metric: str | None, mode: str | None) -> None:
        """Compare by another metric."""
        if (metric, mode) != (self.metric, self.mode):
            self.metric, self.mode = metric, mode
            self._best, self._best_score, self._best_is_stale = None, None, True

    def observe(self, trial: Any) -> None:
        """A trial is new, or its status may have changed."""
        trial_id, status = trial.trial_id, trial.status
        before = self._status.get(trial_id)
        if before == status:
            return
        if before is not None:
            del self.by_status[before][trial_id]
        self._status[trial_id] = status
        self.by_status.setdefault(status, {})[trial_id] = trial
        if status in _ENDED:
            self.recent.append(trial)
            self.observe_score(trial)

    def observe_result(self, trial: Any) -> None:
        """A trial reported."""
        self.results += 1
        self.observe(trial)
        self.observe_score(trial)

    def observe_score(self, trial: Any) -> None:
        """The trial's latest result may be the best, or worse than it was."""
        score = self.score(trial)
        is_best = self._best is not None and trial.trial_id == self._best.trial_id
        if score is not None and (self._best_score is None or score > self._best_score):
            self._best, self._best_score = trial, score
        elif is_best and (score is None or (self._best_score is not None and score < self._best_score)):
            self._best_is_stale = True

    def sync(self, trials: Sequence[Any]) -> None:
        """Take in new trials, and changes that no hook tells of (a trial that was paused)."""
        if len(trials) < self._seen:  # another run
            self.__init__(self.metric, self.mode)  # type: ignore[misc]
        for index in range(self._seen, len(trials)):
            self.observe(trials[index])
            self.observe_score(trials[index])
        self._seen = len(trials)
        live = ("RUNNING", "PAUSED") if self.fed else ("RUNNING", "PAUSED", "PENDING")
        for status in live:
            for trial in list(self.by_status[status].values()):
                self.observe(trial)
                if not self.fed:
                    self.observe_score(trial)

    # -- being asked --------------------------------------------------------------------------------------------------

    def score(self, trial: Any) -> float | None:
        """The trial's latest value of the metric, signed so that more is better; None when it has none."""
        if self.metric is None:
            return None
        value = lookup(trial.last_result, self.metric)
        if not is_usable(value):
            return None
        return -float(value) if self.mode == "min" else float(value)

    @property
    def best(self) -> Any:
        """The trial whose latest result is best; None before the first."""
        if self._best_is_stale:
            self._best, self._best_score, self._best_is_stale = None, None, False
            for trial in self.all():
                self.observe_score(trial)
            self._best_is_stale = False
        return self._best

    def all(self) -> Iterator[Any]:
        """All trials, by status."""
        for trials in self.by_status.values():
            yield from trials.values()

    def count(self, status: str) -> int:
        return len(self.by_status.get(status, ()))

    @property
    def counts(self) -> dict[str, int]:
        """How many trials there are of each status, without those that nobody has."""
        return {status: len(trials) for status, trials in self.by_status.items() if trials}

    @property
    def total(self) -> int:
        return len(self._status)

    @property
    def ended(self) -> int:
        return self.count("TERMINATED") + self.count("ERROR")
