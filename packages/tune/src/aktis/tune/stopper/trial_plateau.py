"""The end of a trial that does not change any more."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from aktis.air.nested import lookup
from aktis.tune._lookup import MISSING
from aktis.tune.stopper._spread import standard_deviation
from aktis.tune.stopper.stopper import Stopper

__all__ = ["TrialPlateauStopper"]


class TrialPlateauStopper(Stopper):
    """Ends a trial when its metric has as good as stopped to change.

    Args:
        metric: The metric (``"a/b"`` is nested). Results without it are as ones that change.
        std: Below which standard deviation of the latest results.
        num_results: How many of the latest results are looked at.
        grace_period: How many results a trial has in any case, the one that may be its last included.
        metric_threshold: Only end trials that have got this far: at most this for ``mode="min"``, at least this for ``"max"``.
        mode: ``"min"`` or ``"max"``; needed for ``metric_threshold`` only.
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        if metric_threshold is not None and mode not in ("min", "max"):
            raise ValueError(f'metric_threshold needs a mode, "min" or "max", got mode={mode!r}')
        if isinstance(num_results, bool) or not isinstance(num_results, int) or num_results < 1:
            raise ValueError(f"num_results must be a whole number from 1, got {num_results!r}")
        self._metric = metric
        self._std = std
        self._num_results = num_results
        self._grace_period = grace_period
        self._metric_threshold = metric_threshold
        self._mode = mode
        self._counts: dict[str, int] = {}
        self._latest: dict[str, deque[float]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = _number(lookup(result, self._metric, MISSING))
        count = self._counts[trial_id] = self._counts.get(trial_id, 0) + 1
        latest = self._latest.setdefault(trial_id, deque(maxlen=self._num_results))
        latest.append(value)
        if count < self._grace_period or len(latest) < self._num_results or not self._is_far_enough(value):
            return False
        return standard_deviation(latest) < self._std

    def _is_far_enough(self, value: float) -> bool:
        if self._metric_threshold is None:
            return True
        return value <= self._metric_threshold if self._mode == "min" else value >= self._metric_threshold

    def stop_all(self) -> bool:
        return False

    def __repr__(self) -> str:
        return (
            f"TrialPlateauStopper({self._metric!r}, std={self._std!r}, num_results={self._num_results}, "
            f"grace_period={self._grace_period}, metric_threshold={self._metric_threshold!r}, mode={self._mode!r})"
        )


def _number(value: Any) -> float:
    if value is MISSING or value is None:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
