"""Keras: report metrics, and the model every so often, from ``model.fit``."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from aktis.air.integrations.keras import EVENTS, KerasCallback, ReportCheckpointCallback, save_model
from aktis.air.integrations.reporting import Metrics, as_events, check_metrics, pick, report

__all__ = ["ReportCheckpointCallback", "TuneReportCallback", "TuneReportCheckpointCallback"]


class TuneReportCallback(KerasCallback):
    """Reports metrics.

    Args:
        metrics: What to report: names, or new names with those of Keras. Default: everything in the logs.
        on: Events with a report, without ``on_``.
    """

    def __init__(self, metrics: Metrics = None, on: str | Iterable[str] = "epoch_end") -> None:
        super().__init__(on)
        self._names = check_metrics(metrics)

    def handle(self, logs: dict[str, Any], event: str) -> None:
        report(pick(self._names, logs, "Keras"))


class TuneReportCheckpointCallback(TuneReportCallback):
    """Reports metrics, with the model as a checkpoint every so often.

    Args:
        metrics: What to report: names, or new names with those of Keras. Default: everything in the logs.
        filename: The name of the model in the checkpoint; ``.keras`` is added when it says no format.
        frequency: A checkpoint with each so manieth event; a list says it for each of ``on``.
        on: Events with a report, without ``on_``.

    Raises:
        ValueError: ``frequency`` is below 1, or a list of another length than ``on``.
    """

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = "checkpoint",
        frequency: int | Sequence[int] = 1,
        on: str | Iterable[str] = "epoch_end",
    ) -> None:
        events = as_events(on, EVENTS, "on")
        frequencies = [frequency] * len(events) if isinstance(frequency, int) else list(frequency)
        if len(frequencies) != len(events) or any(value < 1 for value in frequencies):
            raise ValueError(
                f"frequency must be at least 1, one number or one for each of on={events}; got {frequency!r}"
            )
        super().__init__(metrics, events)
        self._filename = filename
        self._frequency = dict(zip(events, frequencies))
        self._seen: Counter[str] = Counter()

    def handle(self, logs: dict[str, Any], event: str) -> None:
        self._seen[event] += 1
        due = self._seen[event] % self._frequency[event] == 0
        save = functools.partial(save_model, self.model, filename=self._filename) if due else None
        report(pick(self._names, logs, "Keras"), save)
