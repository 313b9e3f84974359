"""ASHA: asynchronous successive halving.

Liam Li, Kevin Jamieson, Afshin Rostamizadeh, Ekaterina Gonina, Jonathan Ben-tzur, Moritz Hardt, Benjamin Recht, Ameet Talwalkar:
"A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, arXiv:1810.05934. Names in comments are the paper's.
"""

from __future__ import annotations

import math
import random
from bisect import insort
from typing import TYPE_CHECKING, Any

from aktis.tune.schedulers._objective import WORST, ObjectiveScheduler

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["ASHAScheduler", "AsyncHyperBandScheduler"]


class AsyncHyperBandScheduler(ObjectiveScheduler):
    """Asynchronous successive halving: at each rung of a ladder of times, go on with the best 1/eta so far and stop the rest.

    Nobody waits for anybody, so no machine idles behind a slow trial. A trial that reaches a rung is compared with all that
    came there before it. It is the variant of the paper's Algorithm 2 that stops at once instead of pausing: what is not in
    the top 1/eta when it arrives will not be promoted later.

    Differences from Ray: a trial whose metric is NaN is stopped at the first rung where others had a number (Ray lets it go
    on); a trial that jumped over a rung is not entered there afterwards with a later result; one that failed and
    is tried again stays in its bracket; a rung at exactly ``max_t`` is not lost to rounding.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must grow.
        metric: The attribute of results that decides. None: that of the run.
        mode: "min" or "max". None: that of the run.
        max_t: R, the most time that a trial gets (in units of ``time_attr``).
        grace_period: r, the time that each trial gets at least: the lowest rung.
        reduction_factor: eta: one of so many goes on.
        brackets: How many brackets there are. Bracket s has its lowest rung at r * eta^s. A trial joins one at random, with
            probability proportional to e^(number of rungs).
        stop_last_trials: Whether trials are stopped at ``max_t``.
        seed: For the choice of the bracket.

    Raises:
        ValueError: an argument that makes no sense.
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        if not max_t > 0:
            raise ValueError(f"max_t must be above 0, got {max_t!r}")
        if not grace_period > 0:
            raise ValueError(f"grace_period must be above 0, got {grace_period!r}")
        if grace_period > max_t:
            raise ValueError(f"grace_period must not be above max_t, got {grace_period!r} and {max_t!r}")
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor must be above 1, got {reduction_factor!r}")
        if brackets < 1:
            raise ValueError(f"brackets must be at least 1, got {brackets!r}")
        self._max_t = max_t
        self._stop_last_trials = stop_last_trials
        self._brackets = [_Bracket(grace_period, max_t, reduction_factor, s) for s in range(brackets)]
        self._places: dict[str, _Place] = {}  # of live trials
        self._num_stopped = 0
        self._rng = random.Random(seed)

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        self._require_objective()
        if trial.trial_id in self._places:  # it failed, and is tried again
            return
        bracket = self._brackets[0]
        if len(self._brackets) > 1:
            weights = [math.exp(len(b.rungs) - len(self._brackets[0].rungs)) for b in self._brackets]
            bracket = self._rng.choices(self._brackets, weights)[0]
        self._places[trial.trial_id] = _Place(bracket)

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        time, score = self._time(result), self._score(result)
        if time is None or score is None:
            return self.CONTINUE
        if time >= self._max_t and self._stop_last_trials:
            self._num_stopped += 1
            return self.STOP
        if self._places[trial.trial_id].promote(time, score):
            return self.CONTINUE
        self._num_stopped += 1
        return self.STOP

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        place = self._places.pop(trial.trial_id, None)
        time, score = self._time(result), self._score(result)
        if place is not None and time is not None and score is not None:
            place.promote(time, score)  # its last score counts for the others

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        self._places.pop(trial.trial_id, None)

    def debug_string(self) -> str:
        lines = [f"Using AsyncHyperBand: num_stopped={self._num_stopped}"]
        return "\n".join(lines + [str(bracket) for bracket in self._brackets])

    def validate(self) -> None:
        for bracket in self._brackets:
            assert all(low.time < high.time for low, high in zip(bracket.rungs, bracket.rungs[1:]))
            for rung in bracket.rungs:
                assert rung.scores == sorted(rung.scores)
        assert all(place.bracket in self._brackets for place in self._places.values())


ASHAScheduler = AsyncHyperBandScheduler


class _Bracket:
    """The rungs of bracket s, lowest first: r_k = r * eta^(s+k), for k = 0 ... floor(log_eta(R/r)) - s (Algorithm 1)."""

    def __init__(self, r: float, big_r: float, eta: float, s: int) -> None:
        self.rungs: list[_Rung] = []
        k = 0
        while r * eta ** (s + k) <= big_r * (1 + 1e-12):
            self.rungs.append(_Rung(r * eta ** (s + k), eta))
            k += 1

    def __str__(self) -> str:
        return "Bracket: " + " | ".join(f"Iter {rung.time:.3f}: {rung.cutoff()}" for rung in reversed(self.rungs))


class _Rung:
    """The scores of all that came to a rung, sorted: a new one costs a bisection, the cutoff a look at two of them."""

    __slots__ = ("quantile", "scores", "time")

    def __init__(self, time: float, eta: float) -> None:
        self.time = time
        # Written like numpy.percentile(scores, (1 - 1 / eta) * 100), so that the last bit is the same.
        self.quantile = ((1 - 1 / eta) * 100) / 100
        self.scores: list[float] = []

    def cutoff(self) -> float | None:
        """What the best 1/eta of the scores have at least (interpolated linearly); None when there are none."""
        if not self.scores:
            return None
        position = (len(self.scores) - 1) * self.quantile
        index = math.floor(position)
        fraction = position - index
        low = self.scores[index]
        high = self.scores[min(index + 1, len(self.scores) - 1)]
        if low == high or fraction == 0:
            return low
        if math.isinf(high - low):  # between infinities is nothing: take the nearer one
            return low if fraction < 0.5 else high
        return high - (high - low) * (1 - fraction) if fraction >= 0.5 else low + (high - low) * fraction

    def enter(self, score: float) -> bool:
        """Whether a trial with this score is among the best 1/eta of those before it. It counts from now on."""
        cutoff = self.cutoff()
        if score != WORST:  # what has diverged tells the others nothing
            insort(self.scores, score)
        return cutoff is None or not score < cutoff


class _Place:
    """Where a trial stands in its bracket."""

    __slots__ = ("bracket", "passed")

    def __init__(self, bracket: _Bracket) -> None:
        self.bracket = bracket
        self.passed = 0  # so many rungs lie behind it

    def promote(self, time: float, score: float) -> bool:
        """Whether it may go on. Only the highest rung that it has reached matters: those between were jumped over."""
        rungs = self.bracket.rungs
        reached = self.passed
        while reached < len(rungs) and rungs[reached].time <= time:
            reached += 1
        if reached == self.passed:
            return True
        self.passed = reached
        return rungs[reached - 1].enter(score)
