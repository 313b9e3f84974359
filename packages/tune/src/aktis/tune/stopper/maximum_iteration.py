"""So many iterations, and no more."""

from __future__ import annotations

from typing import Any

from aktis.tune.stopper.stopper import Stopper

__all__ = ["MaximumIterationStopper"]


class MaximumIterationStopper(Stopper):
    """Ends each trial after ``max_iter`` iterations.

    What counts is ``training_iteration``, so a trial that went back to a checkpoint gets all of its iterations; where a result
    has none, results are counted.
    """

    def __init__(self, max_iter: int) -> None:
        if isinstance(max_iter, bool) or not isinstance(max_iter, int) or max_iter < 1:
            raise ValueError(f"max_iter must be a whole number from 1, got {max_iter!r}")
        self._max_iter = max_iter
        self._counts: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        iteration = result.get("training_iteration")
        if not isinstance(iteration, int):
            iteration = self._counts[trial_id] = self._counts.get(trial_id, 0) + 1
        return iteration >= self._max_iter

    def stop_all(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"MaximumIterationStopper({self._max_iter})"
