"""Reading a record of a run: whole, or while it grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FILE_NAME", "Event", "RecordTail", "Rounds", "RunRecord", "Sample", "read_record"]

FILE_NAME = "train_stats.jsonl"


@dataclass(slots=True)
class Rounds:
    """Some rounds, which took ``seconds`` and were over at ``time``. ``first`` counts over restarts; lists are by rank."""

    time: float
    first: int
    count: int
    seconds: float
    loop: list[float]
    waited: list[float]
    metrics: dict[str, list[float | None]] = field(default_factory=dict)
    checkpoints: int = 0
    rows: int = 0  # that all ranks read of their data sets
    data: list[float] = field(default_factory=list)  # waited for them, as a part of the loop


@dataclass(slots=True)
class Sample:
    """What each rank used at ``time``."""

    time: float
    ranks: list[dict[str, Any]]


@dataclass(slots=True)
class Event:
    """Something that happened: "run", "start", "restart", "failure" or "end"."""

    kind: str
    time: float
    text: str = ""
    workers: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class RunRecord:
    """All that was written down, in the order of time."""

    info: dict[str, Any] = field(default_factory=dict)  # of the latest process of the trainer
    rounds: list[Rounds] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rounds or self.samples or self.events)

    def of_kind(self, kind: str) -> list[Event]:
        """The events of that kind."""
        return [event for event in self.events if event.kind == kind]

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The workers of the latest group."""
        starts = self.of_kind("start")
        return starts[-1].workers if starts else []

    @property
    def restarts(self) -> list[Event]:
        """Each start but the first, with the reason: what the executor said, or the failure that came before."""
        found, reason, first = [], "", True
        for event in self.events:
            if event.kind in ("restart", "failure"):
                reason = event.text
            elif event.kind == "start":
                if not first:
                    found.append(Event("restart", event.time, reason, event.workers))
                first, reason = False, ""
        return found

    @property
    def state(self) -> str:
        """What the last event says: "", "running", "restarting", "failed" or "ended"."""
        if not self.events:
            return ""
        last = self.events[-1].kind
        if last == "end":
            before = [event.kind for event in self.events[:-1] if event.kind != "run"]
            return "failed" if before and before[-1] == "failure" else "ended"
        return {"failure": "failed", "restart": "restarting", "run": "starting"}.get(last, "running")

    @property
    def begin(self) -> float | None:
        """When the first thing happened, in seconds since 1970."""
        times = [items[0].time for items in (self.events, self.rounds, self.samples) if items]
        return min(times) if times else None

    @property
    def end(self) -> float | None:
        """When the last thing happened."""
        times = [items[-1].time for items in (self.events, self.rounds, self.samples) if items]
        return max(times) if times else None

    @property
    def startups(self) -> list[float]:
        """Seconds before the loop began, for each group: from the trainer's start, or from what ended the group before."""
        found = []
        since = 0.0
        waiting = False
        rounds = iter(self.rounds)
        for event in self.events:
            if event.kind in ("run", "restart", "failure"):
                since, waiting = event.time, True
            elif event.kind == "start" and waiting:
                first = next((one for one in rounds if one.time >= event.time), None)
                if first is not None:
                    found.append(max(0.0, first.time - first.seconds - since))
                waiting = False
        return found

    def rate(self, last_seconds: float | None = None) -> float | None:
        """Rounds per second, over all rounds or those of the last seconds; None before the first."""
        count, seconds = 0, 0.0
        for rounds in reversed(self.rounds):
            count, seconds = count + rounds.count, seconds + rounds.seconds
            if last_seconds is not None and seconds >= last_seconds:
                break
        return count / seconds if seconds > 0 else None

    def feed(self, line: bytes | str) -> None:
        """Take in a line. What is no record, is torn, or of a later version's kind, is passed over."""
        try:
            record = json.loads(line)
            self._take(record)
        except (ValueError, TypeError, KeyError, AttributeError):
            return

    def _take(self, record: dict[str, Any]) -> None:
        kind, time = record["kind"], float(record["time"])
        if kind == "rounds":
            self.rounds.append(
                Rounds(
                    time,
                    self.rounds[-1].first + self.rounds[-1].count if self.rounds else 0,
                    int(record["count"]),
                    float(record["seconds"] or 0.0),
                    [float(value or 0.0) for value in record["loop"]],
                    [float(value or 0.0) for value in record["waited"]],
                    dict(record.get("metrics") or {}),
                    int(record.get("checkpoints") or 0),
                    int(record.get("rows") or 0),
                    [float(value or 0.0) for value in record.get("data") or ()],
                )
            )
        elif kind == "sample":
            self.samples.append(Sample(time, [dict(rank) for rank in record["ranks"]]))
        elif kind in ("run", "start", "restart", "failure", "end"):
            if kind == "run":
                self.info = {key: value for key, value in record.items() if key not in ("kind", "time")}
            workers = [dict(worker) for worker in record.get("workers") or ()]
            self.events.append(Event(kind, time, str(record.get("text") or ""), workers))


def read_record(path: str | os.PathLike[str]) -> RunRecord:
    """The record in that file; an empty one when there is none."""
    record = RunRecord()
    try:
        with open(path, "rb") as file:
            _feed(record, file)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return record


def _feed(record: RunRecord, lines: Iterable[bytes]) -> None:
    for line in lines:
        record.feed(line)


class RecordTail:
    """A record that grows: :meth:`look` takes in what is new, and begins anew when the file was replaced."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.record = RunRecord()
        self._offset = 0
        self._inode: int | None = None

    def look(self) -> bool:
        """Whether there was anything new."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self.record, self._offset, self._inode = RunRecord(), 0, status.st_ino
                if status.st_size == self._offset:
                    return False
                file.seek(self._offset)
                whole, newline, _ = file.read().rpartition(b"\n")  # the last line may not be whole yet
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._offset += len(whole) + len(newline)
        _feed(self.record, whole.split(b"\n") if newline else ())
        return bool(newline)
