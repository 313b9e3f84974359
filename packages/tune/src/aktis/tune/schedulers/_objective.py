"""What all schedulers share that look at results: a time attribute, and a metric that is to grow or to shrink."""

from __future__ import annotations

import math
from typing import Any

from aktis.air.nested import lookup
from aktis.tune.schedulers.trial_scheduler import TrialScheduler

__all__ = ["DEFAULT_METRIC", "ObjectiveScheduler"]

DEFAULT_METRIC = "_metric"
"""The metric when only a mode is given: what a function gets that reports a bare number."""

WORST = float("-inf")


class ObjectiveScheduler(TrialScheduler):
    """Base of schedulers that compare trials. Inside, larger scores are better whatever the mode.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must not shrink while a trial goes on.
        metric: The attribute of results that decides.
        mode: "min" or "max".
    """

    def __init__(self, time_attr: str, metric: str | None, mode: str | None) -> None:
        self._check_mode(mode)
        self._time_attr = time_attr
        self._metric = metric
        self._mode = mode

    def _check_mode(self, mode: str | None) -> None:
        if mode is not None and mode not in ("min", "max"):
            raise ValueError(f"the mode of {type(self).__name__} must be 'min' or 'max', not {mode!r}")

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        self._check_mode(mode)
        if not super().set_search_properties(metric, mode, **spec):
            return False
        if self._metric is None and self._mode:
            self._metric = DEFAULT_METRIC
        return True

    def _require_objective(self) -> None:
        """ValueError unless it is known what is good."""
        if not self._metric or not self._mode:
            raise ValueError(
                f"{type(self).__name__} compares trials, so it needs a metric (now {self._metric!r}) and a mode (now "
                f"{self._mode!r}): give them to the scheduler, or to tune.TuneConfig() or tune.run()"
            )

    def _time(self, result: dict[str, Any]) -> float | None:
        """How far the trial is, None when the result does not say."""
        value = lookup(result, self._time_attr)
        return None if value is None else self._number(self._time_attr, value)

    def _score(self, result: dict[str, Any]) -> float | None:
        """The metric, larger is better; None when the result lacks it. What is no number any more (NaN) is the worst."""
        value = lookup(result, self._metric or DEFAULT_METRIC)
        if value is None:
            return None
        score = self._number(str(self._metric), value)
        if math.isnan(score):
            return WORST
        return score if self._mode == "max" else -score

    def _number(self, key: str, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"{type(self).__name__} needs a number in {key!r}, but a trial reported {value!r} "
                f"({type(value).__name__})"
            ) from None
