"""The end of a run in which nothing gets better."""

from __future__ import annotations

import math
from bisect import insort
from typing import Any

from aktis.air.nested import lookup
from aktis.tune._lookup import MISSING, what_there_is
from aktis.tune.error import TuneError
from aktis.tune.stopper._spread import standard_deviation
from aktis.tune.stopper.stopper import Stopper

__all__ = ["ExperimentPlateauStopper"]


class ExperimentPlateauStopper(Stopper):
    """Ends the run when the best results of all trials together are as good as equal.

    Args:
        metric: The metric (``"a/b"`` is nested). A result without it is an error.
        std: Equal is a standard deviation of at most this.
        top: How many results are looked at, at least 2. Before there are that many, nothing ends.
        mode: ``"min"`` or ``"max"``: which ones are the best.
        patience: After how many results in a row that change nothing. 0 and 1 mean the first.
    """

    def __init__(self, metric: str, std: float = 0.001, top: int = 10, mode: str = "min", patience: int = 0) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max", got {mode!r}')
        if isinstance(top, bool) or not isinstance(top, int) or top < 2:
            raise ValueError(
                f"top, the number of results that are looked at, must be a whole number from 2, got {top!r}"
            )
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 0:
            raise ValueError(f"patience must be a whole number from 0, got {patience!r}")
        if isinstance(std, bool) or not isinstance(std, (int, float)) or not std > 0:
            raise ValueError(f"std, the standard deviation, must be a number above 0, got {std!r}")
        self._metric = metric
        self._std = std
        self._top = top
        self._mode = mode
        self._patience = patience
        self._best: list[float] = []  # ascending
        self._flat_results = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        value = lookup(result, self._metric, MISSING)
        if value is MISSING:
            raise TuneError(
                f"ExperimentPlateauStopper: the metric {self._metric!r} is not in the result of trial {trial_id}: "
                f"{what_there_is(result, self._metric)}"
            )
        value = float(value)
        if not math.isnan(value):
            insort(self._best, value)
            if len(self._best) > self._top:
                self._best.pop(-1 if self._mode == "min" else 0)
        self._flat_results = self._flat_results + 1 if self.has_plateaued() else 0
        return self.stop_all()

    def has_plateaued(self) -> bool:
        """Whether the best results are as good as equal."""
        return len(self._best) == self._top and standard_deviation(self._best) <= self._std

    def stop_all(self) -> bool:
        return self._flat_results >= max(self._patience, 1)

    def __repr__(self) -> str:
        return (
            f"ExperimentPlateauStopper({self._metric!r}, std={self._std!r}, top={self._top}, mode={self._mode!r}, "
            f"patience={self._patience})"
        )
