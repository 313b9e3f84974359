"""Times on axes and in tables: seconds, minutes or hours, whichever gives small numbers."""

from __future__ import annotations

from dataclasses import dataclass

from aktis.air.html import Mark
from aktis.train._report.record import RunRecord

__all__ = ["TimeAxis"]


@dataclass(frozen=True)
class TimeAxis:
    """From seconds since 1970 to a place on an axis that begins with the run."""

    begin: float
    unit: str
    seconds: float  # of a unit

    @classmethod
    def of(cls, record: RunRecord) -> TimeAxis:
        """The axis that suits the whole run."""
        begin, end = record.begin or 0.0, record.end or 0.0
        for unit, seconds in (("hours", 3600.0), ("minutes", 60.0)):
            if end - begin >= 3 * seconds:
                return cls(begin, unit, seconds)
        return cls(begin, "seconds", 1.0)

    def __call__(self, time: float) -> float:
        return (time - self.begin) / self.seconds

    @property
    def label(self) -> str:
        """For the axis."""
        return f"{self.unit} since the start"

    def marks(self, record: RunRecord) -> list[Mark]:
        """Restarts, resizes and failures."""
        found, before = [], None
        for event in record.events:
            if event.kind == "start":
                size = len(event.workers)
                if before is not None:
                    label = f"{before} → {size} workers" if size != before else "restart"
                    found.append(Mark(self(event.time), label))
                before = size
            elif event.kind == "failure":
                found.append(Mark(self(event.time), "failure", "bad"))
        return found
