"""What the windows of a pipeline did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aktis.data._iteration.stats import IterationStats
from aktis.util.units import format_seconds

KEPT = 10  # windows whose statistics are kept, beside those of the first


@dataclass
class PipelineStats:
    """Statistics of the windows that have been executed, and where the time of their consumer went."""

    first: Any = None  # of the first window, which often has to wait for what later ones find ready
    latest: deque[tuple[int, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))
    windows: int = 0
    iteration: IterationStats | None = None

    def record(self, stats: Any) -> None:
        """A window has begun."""
        if self.windows:
            self.latest.append((self.windows, stats))
        else:
            self.first = stats
        self.windows += 1

    def to_string(self, exclude_first_window: bool) -> str:
        if not self.windows:
            return "This pipeline has not been executed yet."
        shown = list(self.latest)
        if not exclude_first_window or not shown:
            shown.insert(0, (0, self.first))
        parts = [f"== Window {index} ==\n{stats}" for index, stats in shown if stats is not None]
        parts.append(f"Pipeline: {self.windows} windows executed{self._stalls()}")
        if self.iteration is not None:
            parts.append(str(self.iteration))
        return "\n\n".join(parts)

    def _stalls(self) -> str:
        if self.iteration is None or not self.iteration.total:
            return ""
        return (
            f", the consumer waited {format_seconds(self.iteration.blocked)} of {format_seconds(self.iteration.total)}"
        )
