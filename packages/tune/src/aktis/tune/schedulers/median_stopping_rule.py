"""The median stopping rule.

Daniel Golovin, Benjamin Solnik, Subhodeep Moitra, Greg Kochanski, John Karro, D. Sculley: "Google Vizier: A Service for
Black-Box Optimization", KDD 2017, section 3.2.2.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Any

from aktis.tune.schedulers._objective import WORST, ObjectiveScheduler

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["MedianStoppingRule"]

FEW = 256
"""Up to so many trials are asked one by one for their running mean (0.3 microseconds each)."""


class MedianStoppingRule(ObjectiveScheduler):
    """Stop a trial at time t if its best result so far is worse than the median of the others' running means up to t.

    Vizier compares with completed trials; like Ray, this compares with all that are at least as far, since many trials run
    at once here. The running mean of a trial is that of its results from ``grace_period`` to t.

    The cost of a result does not grow with the number of trials: when more than 256 are as far as t, the median is read
    off a list that is kept for that time, and t is rounded down to 8 binary digits for this (by less than 0.8 %; integers
    up to 256 are exact).

    Differences from Ray: a trial without a result between ``grace_period`` and t has no running mean, and is not counted (in
    Ray it makes the median NaN, which stops nobody or everybody); the last result is not counted twice when a trial ends.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must grow.
        metric: The attribute of results that decides. None: that of the run.
        mode: "min" or "max". None: that of the run.
        grace_period: Trials younger than this are not stopped, and their results do not count.
        min_samples_required: The number of other trials that it takes for a median.
        min_time_slice: While there are too few for a median, a trial that has run for longer than this pauses
            when others wait (in units of ``time_attr``).
        hard_stop: Whether to stop trials. False: to pause them; they go on when nothing else is left to start.

    Raises:
        ValueError: an argument that makes no sense.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        if grace_period < 0:
            raise ValueError(f"grace_period must not be negative, got {grace_period!r}")
        if min_samples_required < 1:
            raise ValueError(f"min_samples_required must be at least 1, got {min_samples_required!r}")
        if min_time_slice < 0:
            raise ValueError(f"min_time_slice must not be negative, got {min_time_slice!r}")
        self._grace_period = grace_period
        self._min_samples_required = min_samples_required
        self._min_time_slice = min_time_slice
        self._hard_stop = hard_stop
        self._curves: dict[str, _Curve] = {}
        self._fronts: list[tuple[float, str]] = []  # how far each trial is, sorted
        self._rungs: dict[float, list[float]] = {}  # for these times the running means of all that are as far, sorted
        self._rung_times: list[float] = []
        self._paused_for_good: set[str] = set()  # with hard_stop=False: those that were judged, until they end
        self._last_pause: dict[str, float] = {}
        self._num_stopped = 0

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        self._require_objective()

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        time, score = self._time(result), self._score(result)
        if time is None or score is None or trial.trial_id in self._paused_for_good:
            return self.CONTINUE
        curve = self._record(trial.trial_id, time, score)
        if time < self._grace_period:
            return self.CONTINUE
        count, median = self._median_of_others(trial.trial_id, time)
        if count < self._min_samples_required:
            return self._too_few(controller, trial, time)
        if not curve.best < median:
            return self.CONTINUE
        self._num_stopped += 1
        if self._hard_stop:
            return self.STOP
        self._paused_for_good.add(trial.trial_id)
        return self.PAUSE

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        time, score = self._time(result), self._score(result)
        if time is not None and score is not None:
            self._record(trial.trial_id, time, score)
        self.on_trial_remove(controller, trial)

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        self._paused_for_good.discard(trial.trial_id)
        self._last_pause.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        return f"Using MedianStoppingRule: num_stopped={self._num_stopped}."

    def _too_few(self, controller: TrialController, trial: Trial, time: float) -> str:
        """Let others have a turn, so that there will be a median."""
        since = time - self._last_pause.get(trial.trial_id, -math.inf)
        if since > self._min_time_slice and (controller.pending or controller.paused):
            self._last_pause[trial.trial_id] = time
            return self.PAUSE
        return self.CONTINUE

    def _record(self, trial_id: str, time: float, score: float) -> _Curve:
        curve = self._curves.get(trial_id)
        if curve is None:
            curve = self._curves[trial_id] = _Curve()
            before = -math.inf
        else:
            before = curve.times[-1]
            if time <= before:  # it went back to a checkpoint: what it did there is known
                curve.best = max(curve.best, score)
                return curve
            del self._fronts[bisect_left(self._fronts, (before, trial_id))]
        curve.add(time, score, time >= self._grace_period)
        insort(self._fronts, (time, trial_id))
        # It has passed the rungs in between, too.
        start = bisect_right(self._rung_times, before)
        for rung_time in self._rung_times[start : bisect_right(self._rung_times, time)]:
            mean = curve.mean_up_to(rung_time)
            if mean is not None:
                insort(self._rungs[rung_time], mean)
        return curve

    def _median_of_others(self, trial_id: str, time: float) -> tuple[int, float]:
        """How many other trials have a running mean at ``time``, and the median of those means."""
        first = bisect_left(self._fronts, (time, ""))
        if len(self._fronts) - first <= FEW:
            means = self._means_at(time, first)
        else:
            mantissa, exponent = math.frexp(time)
            time = max(math.ldexp(math.floor(mantissa * 256) / 256, exponent), self._grace_period)
            if time not in self._rungs:
                self._rungs[time] = self._means_at(time, bisect_left(self._fronts, (time, "")))
                insort(self._rung_times, time)
            means = self._rungs[time]
        own = self._curves[trial_id].mean_up_to(time)
        count = len(means)
        skip = count
        if own is not None:  # as if it were not in the list
            count -= 1
            skip = bisect_left(means, own)
        if count == 0:
            return 0, WORST
        low, high = ((count - 1) // 2, count // 2)
        low, high = low + (low >= skip), high + (high >= skip)
        return count, means[low] if low == high else (means[low] + means[high]) / 2

    def _means_at(self, time: float, first: int) -> list[float]:
        found = (self._curves[trial_id].mean_up_to(time) for _, trial_id in self._fronts[first:])
        return sorted(mean for mean in found if mean is not None)

    def validate(self) -> None:
        assert self._fronts == sorted((curve.times[-1], trial_id) for trial_id, curve in self._curves.items())
        assert self._rung_times == sorted(self._rungs)
        for time, means in self._rungs.items():
            assert means == self._means_at(time, bisect_left(self._fronts, (time, "")))


class _Curve:
    """What a trial reported: its times, the running mean at each, and its best score."""

    __slots__ = ("best", "means", "times", "total")

    def __init__(self) -> None:
        self.times = array("d")
        self.means = array("d")  # from the grace period on: the last ones belong to the last times
        self.total = 0.0
        self.best = WORST

    def add(self, time: float, score: float, counts: bool) -> None:
        self.times.append(time)
        self.best = max(self.best, score)
        if counts:
            self.total += score
            if self.total != self.total:  # of +inf and -inf
                self.total = WORST
            self.means.append(self.total / (len(self.means) + 1))

    def mean_up_to(self, time: float) -> float | None:
        """The running mean at ``time``; None before the first result that counts."""
        index = bisect_right(self.times, time) - 1 - (len(self.times) - len(self.means))
        return self.means[index] if index >= 0 else None
