"""Reporting the rounds of boosting.

A round is reported before the next one starts, or when the training is over, and not as soon as it is evaluated: only then is it
known whether it was the last one, so that the last report carries the last checkpoint, and as many rounds as there were are
reported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from aktis.air import session
from aktis.air.integrations.reporting import pick

__all__ = ["RoundReporter", "check_frequency"]


def check_frequency(frequency: Any) -> int:
    """Raise ValueError unless it is a number of rounds, 0 or more."""
    if not isinstance(frequency, int) or isinstance(frequency, bool) or frequency < 0:
        raise ValueError(f"frequency must be a number of rounds, 0 for no checkpoints on the way, not {frequency!r}")
    return frequency


class RoundReporter:
    """Holds a round until it is to be reported. Rank 0 gives the checkpoints: the model is the same everywhere.

    Args:
        make: Makes a checkpoint of a model in a directory.
        frequency: A checkpoint every so many rounds of the model; 0: none.
        at_end: Whether there is one at the end.
        names: What is reported, as ``aktis.air.integrations.reporting.check_metrics`` gives it; None: all.
        postprocess: Changes the metrics before they are reported.
        source: The name of the library, for messages.
    """

    def __init__(
        self,
        make: Callable[[Any, str], Any],
        *,
        frequency: int,
        at_end: bool,
        names: Mapping[str, str] | None = None,
        postprocess: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        source: str = "",
    ) -> None:
        self._make = make
        self._frequency = check_frequency(frequency)
        self._at_end = at_end
        self._names = names
        self._postprocess = postprocess
        self._source = source
        self._held: tuple[int, dict[str, Any]] | None = None

    def hold(self, rounds: int, metrics: Mapping[str, Any]) -> None:
        """A round is evaluated.

        Args:
            rounds: How many rounds the model has.
            metrics: By name, ``<data set>-<metric>``.
        """
        if self._postprocess is not None:
            picked = self._postprocess(dict(metrics))
        else:
            picked = pick(self._names, metrics, self._source)
        self._held = (rounds, picked)

    def release(self, model: Any) -> None:
        """Report the round that is held, if there is one: another one follows."""
        if self._held is None:
            return
        (rounds, metrics), self._held = self._held, None
        self._report(metrics, model if self._frequency and rounds % self._frequency == 0 else None)

    def finish(self, model: Any) -> None:
        """Report the last round; of a training without any, the model."""
        held, self._held = self._held, None
        if held is None:
            if self._at_end:
                self._report({}, model)
            return
        rounds, metrics = held
        due = self._at_end or (self._frequency and rounds % self._frequency == 0)
        self._report(metrics, model if due else None)

    def _report(self, metrics: dict[str, Any], model: Any | None) -> None:
        if model is None or session.get_world_rank() > 0:
            session.report(metrics)
            return
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
            session.report(metrics, checkpoint=self._make(model, folder))
