"""Worker output for the driver's terminal: prefix per line, and equal lines of many workers shown once.

A line is shown when it first comes. Copies of it from *other* processes are held back for :data:`WINDOW` seconds and then
summed up: ``... [repeated 7x across 3 processes]``. A process that repeats itself is never held back: that is its business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

WINDOW = 5.0
MOST_PENDING = 1000
"""Different lines that are remembered at a time."""

_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?")
_COLOURS = (36, 35, 34, 32, 33)


@dataclass(slots=True)
class _Seen:
    text: str
    name: str
    pid: int  # who said it first
    since: float
    count: int = 0  # copies held back
    last_pid: int = 0
    last_line: str = ""
    pids: set[int] = field(default_factory=set)


class Deduplicator:
    """Lines in, lines to print out. ``allow``: never held back; ``skip``: never shown."""

    def __init__(self, window: float = WINDOW, allow: str | None = None, skip: str | None = None) -> None:
        self.window = window
        self._allow = re.compile(allow) if allow else None
        self._skip = re.compile(skip) if skip else None
        self._seen: dict[str, _Seen] = {}

    def add(self, pid: int, name: str, line: str, now: float) -> list[tuple[int, str, str]]:
        """``(pid, name, line)`` to print now."""
        out = self.expire(now)
        if self._skip is not None and self._skip.search(line):
            return out
        if not line.strip() or not self.window or (self._allow is not None and self._allow.search(line)):
            return [*out, (pid, name, line)]
        key = _NUMBER.sub("#", line)  # lines that differ in numbers only are the same message
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MOST_PENDING:
                oldest = next(iter(self._seen))
                out += self._summary(self._seen.pop(oldest))
            self._seen[key] = _Seen(line, name, pid, now)
            return [*out, (pid, name, line)]
        if pid == seen.pid:
            return [*out, (pid, name, line)]
        seen.count += 1
        seen.pids.add(pid)
        seen.last_pid, seen.last_line, seen.name = pid, line, name
        return out

    def expire(self, now: float) -> list[tuple[int, str, str]]:
        """Summaries that are due."""
        out: list[tuple[int, str, str]] = []
        while self._seen:
            key, seen = next(iter(self._seen.items()))
            if now - seen.since < self.window:
                break
            del self._seen[key]
            out += self._summary(seen)
        return out

    def next_due(self) -> float | None:
        """When ``expire`` has something to say, if nothing else comes before."""
        return next((seen.since + self.window for seen in self._seen.values() if seen.count), None)

    def flush(self) -> list[tuple[int, str, str]]:
        """All summaries, due or not: the driver leaves."""
        out = [line for seen in self._seen.values() for line in self._summary(seen)]
        self._seen.clear()
        return out

    def _summary(self, seen: _Seen) -> list[tuple[int, str, str]]:
        if not seen.count:
            return []
        if seen.count == 1:
            return [(seen.last_pid, seen.name, seen.last_line)]
        across = f" across {len(seen.pids)} processes" if len(seen.pids) > 1 else ""
        return [(seen.last_pid, seen.name, f"{seen.last_line} [repeated {seen.count}x{across}]")]


def prefix(name: str, pid: int, colour: bool = False) -> str:
    """``(name pid=123)``, in one of five colours by process."""
    text = f"({name} pid={pid})" if name else f"(pid={pid})"
    return f"\x1b[{_COLOURS[pid % len(_COLOURS)]}m{text}\x1b[0m" if colour else text
