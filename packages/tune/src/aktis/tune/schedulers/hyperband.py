"""HyperBand: successive halving with several trade-offs between many short trials and few long ones.

Lisha Li, Kevin Jamieson, Giulia DeSalvo, Afshin Rostamizadeh, Ameet Talwalkar: "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 18(185), 2018. Names in comments are those of its Algorithm 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aktis.tune.schedulers._objective import ObjectiveScheduler
from aktis.tune.schedulers.trial_scheduler import first_that_fits

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["HyperBandScheduler"]

_ROUNDING = 1e-9  # so that 3 ** 4 / 3 ** 2 is never a little less than 9


class HyperBandScheduler(ObjectiveScheduler):
    """HyperBand (Algorithm 1). Trials pause at each rung of their bracket until all of it are there; the best 1/eta go on.

    A bracket takes the next n trials, the most aggressive (s = s_max: most trials, shortest first rung) first, then the
    next, down to s = 0, where every trial runs to ``max_t``; after that the next band begins, with s_max again. Trials
    pause, so they must be able to save their state.

    Where the sizes are not known beforehand: a bracket that is not full halves when all of its trials are at the rung and no
    other can join it, and then counts as if it had been made for the trials that it has. A trial that ends by itself
    keeps its rank: it takes one of the places among the best. One that failed gives its place up; if it is tried again it goes
    on in its bracket.

    Differences from Ray, where the paper says otherwise: brackets come in the paper's order (Ray begins with s = 0, in
    which nothing is stopped early); a rung keeps floor(n_i / eta) trials, not the ceiling; s_max is the floor of
    log_eta(R), not the rounded value; the last rung is R (Ray stops the best of 81 trials at 54, not at 81); milestones are
    not cut to integers.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must grow.
        metric: The attribute of results that decides. None: that of the run.
        mode: "min" or "max". None: that of the run.
        max_t: R, the most time that a trial gets (in units of ``time_attr``).
        reduction_factor: eta: one of so many goes on.
        stop_last_trials: Whether trials are stopped at ``max_t``.

    Raises:
        ValueError: an argument that makes no sense.
    """

    _supports_buffered_results = False  # a trial must stop exactly at its milestone

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        if not max_t > 0:
            raise ValueError(f"max_t must be above 0, got {max_t!r}")
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor must be above 1, got {reduction_factor!r}")
        self._max_t = max_t
        self._eta = reduction_factor
        self._stop_last_trials = stop_last_trials
        # s_max = floor(log_eta(R)) (Algorithm 1, initialization)
        self._s_max = 0
        while reduction_factor ** (self._s_max + 1) <= max_t * (1 + _ROUNDING):
            self._s_max += 1
        self._next_s = self._s_max
        self._num_bands = 0
        self._num_brackets = 0
        self._num_stopped = 0
        self._bands: dict[int, dict[int, _Bracket]] = {}  # what is not finished: band -> s -> bracket
        self._open: _Bracket | None = None  # the one that takes new trials
        self._bracket_of: dict[str, _Bracket] = {}
        self._unsettled: dict[tuple[int, int], _Bracket] = {}  # lost a trial: perhaps the others need not wait any more
        self._kinds: set[Any] = set()  # resources that trials need

    # -- events -------------------------------------------------------------------------------------

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        self._require_objective()
        self._kinds.add(trial.placement_group_factory)
        bracket = self._bracket_of.get(trial.trial_id)
        if bracket is None or bracket.finished:
            bracket = self._open if self._open is not None and not self._open.closed else self._open_bracket()
            bracket.added += 1
            bracket.closed = bracket.added >= bracket.n
        bracket.active[trial.trial_id] = bracket.queue[trial.trial_id] = trial
        self._bracket_of[trial.trial_id] = bracket

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        bracket = self._bracket_of.get(trial.trial_id)
        time, score = self._time(result), self._score(result)
        if bracket is None or time is None or score is None:
            return self.CONTINUE
        bracket.queue.pop(trial.trial_id, None)  # it runs
        bracket.progress(trial.trial_id, time)
        if time < bracket.milestone:
            return self.CONTINUE
        if bracket.at_last_rung:
            return self._at_the_end(bracket, trial)
        bracket.reached[trial.trial_id] = score
        if not self._is_ready(controller, bracket):
            return self.PAUSE
        return self._halve(controller, bracket, trial)

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        bracket = self._forget(trial)
        score = self._score(result)
        if bracket is not None and score is not None:
            bracket.ended[trial.trial_id] = score

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        self._forget(trial)

    def on_trial_error(self, controller: TrialController, trial: Trial) -> None:
        bracket = self._forget(trial)
        if bracket is not None:
            self._bracket_of[trial.trial_id] = bracket  # it may be added again

    def choose_trial_to_run(self, controller: TrialController) -> Trial | None:
        self._settle(controller)
        queued = False
        for bracket in self._in_order():
            trial, some = self._first_of(bracket, controller)
            if trial is not None:
                return trial
            queued = queued or some
            if some and len(self._kinds) == 1:
                break  # all need the same, and that is not there
        if queued:
            return None
        # Restarted or paused by somebody else: a user, or a scheduler around this one.
        return first_that_fits(controller.pending, controller) or first_that_fits(
            controller.paused, controller, lambda trial: not self._waits(trial)
        )

    def debug_string(self) -> str:
        lines = [f"Using HyperBand: num_stopped={self._num_stopped} total_brackets={self._num_brackets}"]
        for number, band in self._bands.items():
            lines.append(f"Round #{number}:")
            lines += [f"  {bracket}" for bracket in band.values()]
        return "\n".join(lines)

    def state(self) -> dict[str, int]:
        """How many brackets were opened, and how many trials were stopped early."""
        return {"num_brackets": self._num_brackets, "num_stopped": self._num_stopped}

    # -- brackets -----------------------------------------------------------------------------------

    def _open_bracket(self) -> _Bracket:
        """The next bracket: s = s_max, s_max - 1, ... 0, and again (Algorithm 1, line 1)."""
        if self._next_s == self._s_max:
            self._num_bands += 1
        s = self._next_s
        self._next_s = s - 1 if s > 0 else self._s_max
        self._num_brackets += 1
        bracket = self._open = _Bracket(self._num_bands - 1, s, self._s_max, self._max_t, self._eta)
        self._bands.setdefault(bracket.band, {})[s] = bracket
        return bracket

    def _in_order(self) -> Iterable[_Bracket]:
        """Earlier bands first, and in a band what is least complete: its brackets advance together."""
        for band in self._bands.values():
            yield from sorted(band.values(), key=_Bracket.completion)

    def _first_of(self, bracket: _Bracket, controller: TrialController) -> tuple[Trial | None, bool]:
        """The first trial of the bracket that can start, and whether there is one that waits to be started."""
        found, some = None, False
        stale = []
        for trial_id, trial in bracket.queue.items():
            if trial_id not in controller.pending:
                stale.append(trial_id)  # started since
                continue
            some = True
            if controller.has_resources_for_trial(trial):
                found = trial
                break
            if len(self._kinds) == 1:
                break  # the others need the same
        for trial_id in stale:
            del bracket.queue[trial_id]
        return found, some

    def _is_ready(self, controller: TrialController, bracket: _Bracket) -> bool:
        """Whether all that run in the bracket are at the rung, and nobody else can join it."""
        if len(bracket.reached) < len(bracket.active) or not bracket.active:
            return False
        return bracket.closed or not (controller.pending or controller.expects_trials)

    def _settle(self, controller: TrialController) -> None:
        """Halve the brackets whose last missing trial was lost, and the open one when nothing can join it any more."""
        candidates = list(self._unsettled.values())
        self._unsettled = {}
        if self._open is not None and not self._open.closed:
            candidates.append(self._open)
        for bracket in candidates:
            if not bracket.at_last_rung and self._is_ready(controller, bracket):
                self._halve(controller, bracket, None)

    def _halve(self, controller: TrialController, bracket: _Bracket, reporting: Trial | None) -> str:
        """T = top_k(T, L, floor(n_i / eta)) (Algorithm 1, line 8): the best go on to the next rung, the others end here.

        Returns what becomes of the reporting trial. The others are told through the controller, when all is settled here.
        """
        dropped: list[Trial] = []
        while True:
            dropped += bracket.halve()
            waiting = bracket.wait_for_next_rung()
            if bracket.at_last_rung or len(waiting) < len(bracket.active) or not bracket.active:
                break
        for trial in dropped:
            del self._bracket_of[trial.trial_id]
        self._num_stopped += len(dropped)
        decision = self.PAUSE
        going_on = [trial for trial in bracket.active.values() if trial.trial_id not in bracket.reached]
        bracket.queue.update((trial.trial_id, trial) for trial in going_on)
        self._drop_if_finished(bracket)
        for trial in going_on:
            if trial == reporting:
                decision = self.CONTINUE
            else:
                controller.unpause_trial(trial)
        for trial in dropped:
            if trial == reporting:
                decision = self.STOP
            else:
                controller.stop_trial(trial)
        if bracket.at_last_rung:  # some were ahead of their time, and have reached R already
            for trial_id in list(bracket.reached):
                trial = bracket.active[trial_id]
                if trial == reporting:
                    decision = self._at_the_end(bracket, trial)
                elif self._at_the_end(bracket, trial) == self.STOP:
                    controller.stop_trial(trial)
                else:
                    controller.unpause_trial(trial)
        return decision

    def _at_the_end(self, bracket: _Bracket, trial: Trial) -> str:
        bracket.reached.pop(trial.trial_id, None)
        if not self._stop_last_trials:
            return self.CONTINUE
        self._forget(trial)
        return self.STOP

    def _forget(self, trial: Trial) -> _Bracket | None:
        """Take the trial out of its bracket."""
        bracket = self._bracket_of.pop(trial.trial_id, None)
        if bracket is None or bracket.active.pop(trial.trial_id, None) is None:
            return None
        bracket.queue.pop(trial.trial_id, None)
        bracket.reached.pop(trial.trial_id, None)
        bracket.times.pop(trial.trial_id, None)
        if not self._drop_if_finished(bracket):
            self._unsettled[bracket.band, bracket.s] = bracket
        return bracket

    def _drop_if_finished(self, bracket: _Bracket) -> bool:
        if bracket.active or not bracket.closed:
            return False
        bracket.finished = True
        band = self._bands.get(bracket.band, {})
        band.pop(bracket.s, None)
        if not band:
            self._bands.pop(bracket.band, None)
        self._unsettled.pop((bracket.band, bracket.s), None)
        return True

    def _waits(self, trial: Trial) -> bool:
        """Whether the trial is paused because others of its bracket are not there yet."""
        bracket = self._bracket_of.get(trial.trial_id)
        return bracket is not None and trial.trial_id in bracket.reached

    def validate(self) -> None:
        for number, band in self._bands.items():
            for s, bracket in band.items():
                assert (bracket.band, bracket.s) == (number, s) and not bracket.finished
                bracket.validate()
                assert all(self._bracket_of[trial_id] is bracket for trial_id in bracket.active)


class _Bracket:
    """Bracket s of a band: one run of successive halving (Algorithm 1, lines 2 to 9; Table 1 has the numbers for R = 81)."""

    def __init__(self, band: int, s: int, s_max: int, big_r: float, eta: float) -> None:
        self.band = band
        self.s = s
        self.eta = eta
        # n = ceil(B/R * eta^s / (s + 1)), with B = (s_max + 1) R (line 2)
        self.n = math.ceil((s_max + 1) * eta**s / (s + 1) - _ROUNDING)
        # r_i = r eta^i, with r = R eta^-s (lines 2 and 6)
        self.milestones = [big_r / eta ** (s - i) for i in range(s + 1)]
        self.rung = 0  # i
        self.added = 0  # how many trials it took so far
        self.closed = False  # it takes no more
        self.finished = False
        self.active: dict[str, Trial] = {}  # T: who has not ended
        self.queue: dict[str, Trial] = {}  # those of T that are to be started
        self.reached: dict[str, float] = {}  # the score of those of T that wait at the rung
        self.ended: dict[str, float] = {}  # the score of those that ended by themselves: they keep their rank
        self.times: dict[str, float] = {}
        self.work = 0.0  # time that trials have run in it

    @property
    def milestone(self) -> float:
        """r_i"""
        return self.milestones[self.rung]

    @property
    def at_last_rung(self) -> bool:
        return self.rung == self.s

    def size(self, i: int) -> int:
        """n_i = floor(n eta^-i) (line 5)"""
        return math.floor(self.n / self.eta**i + _ROUNDING)

    def progress(self, trial_id: str, time: float) -> None:
        self.work += max(0.0, time - self.times.get(trial_id, 0.0))
        self.times[trial_id] = time

    def completion(self) -> float:
        """The part of its work that is done; an estimate, since trials may end early."""
        steps = [high - low for low, high in zip([0.0, *self.milestones], self.milestones)]
        return min(1.0, self.work / sum(max(1, self.size(i)) * step for i, step in enumerate(steps)))

    def halve(self) -> list[Trial]:
        """Go to the next rung with the best floor(n_i / eta) of those here (at least one). Returns those who do not."""
        if not self.closed:
            self.closed = True
            self.n = self.added
        keep = max(1, math.floor(self.size(self.rung) / self.eta + _ROUNDING))
        self.rung += 1
        scores = {**self.ended, **self.reached}
        best = set(sorted(scores, key=lambda trial_id: -scores[trial_id])[:keep])
        dropped = [trial for trial_id, trial in self.active.items() if trial_id not in best]
        for trial in dropped:
            del self.active[trial.trial_id], self.reached[trial.trial_id]
            self.times.pop(trial.trial_id, None)
            self.queue.pop(trial.trial_id, None)
        self.ended = {trial_id: score for trial_id, score in self.ended.items() if trial_id in best}
        return dropped

    def wait_for_next_rung(self) -> dict[str, float]:
        """Those that are beyond the new rung already. The others have to run."""
        self.reached = {
            trial_id: score for trial_id, score in self.reached.items() if self.times[trial_id] >= self.milestone
        }
        return self.reached

    def __str__(self) -> str:
        states = ", ".join(f"{k}: {v}" for k, v in sorted(Counter(t.status for t in self.active.values()).items()))
        return (
            f"Bracket(Max Size (n)={self.size(self.rung)}, Milestone (r)={self.milestone:g}, "
            f"completed={self.completion():.1%}): {{{states}}}"
        )

    def validate(self) -> None:
        assert self.reached.keys() <= self.active.keys()
        assert self.queue.keys() <= self.active.keys()
        assert not self.reached.keys() & self.queue.keys()
        assert not self.ended.keys() & self.active.keys()
        assert self.added <= self.n and self.rung <= self.s
