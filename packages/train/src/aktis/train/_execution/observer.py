"""Who is told how a training run goes: recorders and displays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aktis.air.worker_group import WorkerMetadata

__all__ = ["Observer"]


class Observer:
    """Hooks of a run, called in the trainer's process, all of them cheap."""

    def on_start(self, workers: Sequence[WorkerMetadata]) -> None:
        """The workers are there, in the order of their ranks; again after each restart."""

    def on_round(
        self,
        index: int,
        metrics: Sequence[dict[str, Any]],
        loop_seconds: Sequence[float],
        waited_seconds: Sequence[float],
        checkpoint: str | None,
    ) -> None:
        """All ranks have reported; the lists are in the order of ranks.

        Args:
            index: Number of the round, from 1, since the last start.
            metrics: What each has reported.
            loop_seconds: How long each ran since its last report.
            waited_seconds: How long each waited in its last report.
            checkpoint: Where the checkpoint lies, under a temporary name.
        """

    def on_data(self, used: Sequence[tuple[int, float] | None]) -> None:
        """What each rank has read of its data sets since the loop began: rows, and seconds that it waited for them.

        Called before :meth:`on_round` where there are data sets.
        """

    def on_sample(self, samples: Sequence[dict[str, Any]]) -> None:
        """What each rank uses now: rank, pid, phase, seconds, reports, cpu_percent, rss_bytes, threads."""

    def on_restart(self, reason: str) -> None:
        """The workers are stopped, and are to be made anew."""

    def on_failure(self, message: str) -> None:
        """The run has failed."""

    def on_end(self) -> None:
        """All ranks have returned."""
