"""How the benchmarks measure: rounds of a fixed length, the median of them, and a bound on everything."""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROGRAM_LIMIT_S = 120


@dataclass(slots=True)
class Figure:
    """One measured figure. ``value`` is the median of ``samples``."""

    name: str
    unit: str
    value: float = float("nan")
    samples: list[float] = field(default_factory=list)
    note: str = ""
    error: str = ""

    def write(self) -> None:
        """One line of JSON on standard output, at once: whoever reads has it even if the next program dies."""
        sys.stdout.write(json.dumps(asdict(self)) + "\n")
        sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int = 5
    round_s: float = 0.6
    repeats: int = 5  # of what is measured once per process or per large object

    @classmethod
    def quick(cls) -> Effort:
        return cls(rounds=1, round_s=0.1, repeats=1)


def rate(call: Callable[[], Any], effort: Effort, per_call: int = 1) -> list[float]:
    """Operations per second, one sample per round. ``per_call`` is how many operations one ``call()`` makes."""
    begin = time.perf_counter()
    call()
    once = max(time.perf_counter() - begin, 1e-9)
    deadline = begin + effort.round_s / 2  # warm up: connections, leases, caches
    while time.perf_counter() < deadline:
        call()
    stride = max(1, int(effort.round_s / once / 50))  # look at the clock only now and then
    samples = []
    for _ in range(effort.rounds):
        calls, begin = 0, time.perf_counter()
        deadline = begin + effort.round_s
        while True:
            for _ in range(stride):
                call()
            calls += stride
            now = time.perf_counter()
            if now >= deadline:
                break
        samples.append(calls * per_call / (now - begin))
    return samples


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    """Duration of each of ``repeats`` calls."""
    samples = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        samples.append(time.perf_counter() - begin)
    return samples


class OutOfTimeError(Exception):
    """A program ran past its limit."""


@contextmanager
def time_limit(limit_s: int) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"not finished after {limit_s} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure(name: str, unit: str, program: Callable[[], list[float]], note: str = "") -> Figure:
    """Run one program; what goes wrong with it stands in the figure instead of ending the run."""
    figure = Figure(name, unit, note=note)
    try:
        with time_limit(PROGRAM_LIMIT_S):
            figure.samples = program()
        figure.value = statistics.median(figure.samples)
    except Exception as error:
        figure.error = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return figure


# ---- memory of processes, from /proc ----


def parents() -> dict[int, int]:
    """Parent of every process there is."""
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            table[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return table


def descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        for pid in children.get(todo.pop(), []):
            found.add(pid)
            todo.append(pid)
    return found


def processes_naming(text: str) -> set[int]:
    """Processes whose command line or environment contains ``text``: also those that left the driver's tree."""
    found = set()
    needle = os.fsencode(text)
    for pid in parents():
        try:
            seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if needle in seen and pid != os.getpid():
            found.add(pid)
    return found


def memory_mb(pids: set[int]) -> tuple[float, float]:
    """(RSS, PSS) summed, in MB. RSS counts a page once per process that maps it, PSS shares it out."""
    rss = pss = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        values = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
        rss += values["Rss"]
        pss += values["Pss"]
    return rss / 1024, pss / 1024
