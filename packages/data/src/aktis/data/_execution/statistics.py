"""What an execution did: collected block by block in the driver, shown by ``Dataset.stats()``, saved as a timeline.

Nothing here reads a clock but :meth:`ExecutionStats.finish` and the constructor. One thread records; any thread may read
meanwhile, and sees what was recorded until then.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from aktis.data._blocks.types import BlockMetadata, BlockStats
from aktis.util.units import format_bytes, format_count, format_seconds

MAX_EVENTS = 200_000  # of a timeline: about 60 MB of JSON, which viewers can still open
DRIVER = "driver"
HERE = "this machine"  # a block whose task named no node


@dataclass(slots=True)
class Spread:
    """Least, largest, mean and sum of numbers that come one by one."""

    count: int = 0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """One block, on the timeline."""

    operator: int
    start: float  # seconds since the epoch
    wall: float  # seconds
    cpu: float
    node: str
    pid: int
    rows: int
    bytes: int


@dataclass(slots=True)
class OperatorStats:
    """What one operator of the physical plan did."""

    name: str
    blocks: int = 0
    rows: Spread = field(default_factory=Spread)
    bytes: Spread = field(default_factory=Spread)
    wall: Spread = field(default_factory=Spread)
    cpu: Spread = field(default_factory=Spread)
    user: Spread = field(default_factory=Spread)
    max_rss: Spread = field(default_factory=Spread)
    start: float = float("inf")  # seconds since the epoch
    end: float = float("-inf")
    tasks: dict[str, int] = field(default_factory=dict)  # node -> blocks that were made there
    workers: set[tuple[str, int]] = field(default_factory=set)  # (node, pid)
    max_queued: int = 0
    max_running: int = 0
    errored: int = 0
    extra: dict[str, float] = field(default_factory=dict)  # sums of what tasks reported besides

    @property
    def span(self) -> float:
        """Seconds from the start of its first block to the end of its last one."""
        return max(0.0, self.end - self.start) if self.wall.count else 0.0

    def add(self, rows: int, size: int, stats: BlockStats | None) -> None:
        self.blocks += 1
        self.rows.add(rows)
        self.bytes.add(size)
        if stats is None:  # blocks that were there before
            return
        self.wall.add(stats.wall)
        self.cpu.add(stats.cpu)
        self.user.add(stats.user)
        if stats.max_rss:
            self.max_rss.add(stats.max_rss)
        if stats.start:
            self.start = min(self.start, stats.start)
            self.end = max(self.end, stats.start + stats.wall)
        node = stats.node or HERE
        self.tasks[node] = self.tasks.get(node, 0) + 1
        self.workers.add((node, stats.pid))
        for name, value in stats.extra.items():
            self.extra[name] = self.extra.get(name, 0.0) + value

    def lines(self) -> list[str]:
        """What ``stats()`` shows below the operator's name."""
        found = []
        if self.wall.count:
            found += [
                spread_line("wall time", self.wall, format_seconds),
                spread_line("cpu time", self.cpu, format_seconds),
            ]
            if self.user.total:
                found.append(spread_line("in your functions", self.user, format_seconds))
        if self.max_rss.count:
            peak = f"{format_bytes(self.max_rss.most)} max, {format_bytes(self.max_rss.mean)} mean"
            found.append(line("peak memory of workers", peak))
        if self.blocks:
            found += [
                spread_line("output rows", self.rows, format_count),
                spread_line("output bytes", self.bytes, format_bytes),
            ]
        if self.tasks:
            shown = [f"{format_count(count)} on {node}" for node, count in sorted(self.tasks.items())]
            processes = "1 process" if len(self.workers) == 1 else f"{len(self.workers)} processes"
            found.append(line("blocks per node", f"{', '.join(shown)} ({processes})"))
        if self.span:
            rates = f"{rate(self.rows.total, self.span)}, {rate(self.rows.total, self.wall.total)} per worker"
            found.append(line("throughput", rates))
        if self.max_queued or self.max_running:
            found.append(line("at a time", f"{self.max_running} running, {self.max_queued} waiting, at most"))
        if self.errored:
            found.append(line("left out", f"{blocks_text(self.errored)} that failed"))
        return found + [line(name, f"{value:,.6g}") for name, value in sorted(self.extra.items())]


class ExecutionStats:
    """Statistics of one execution. ``operator_names``: of the physical operators, in the order of the data's way.

    ``parent``: the statistics of the execution that made this one's input, such as that of ``materialize()``.
    """

    def __init__(self, operator_names: list[str], *, parent: ExecutionStats | None = None) -> None:
        self.operators = [OperatorStats(name) for name in operator_names]
        self.parent = parent
        self.started = time.time()
        self.finished: float | None = None
        self.events: list[BlockEvent] = []
        self.events_dropped = 0

    @property
    def operator_names(self) -> list[str]:
        return [operator.name for operator in self.operators]

    @property
    def seconds(self) -> float:
        """Wall time of the execution, until now if it still runs."""
        return (time.time() if self.finished is None else self.finished) - self.started

    def record(self, op_index: int, metadata: BlockMetadata) -> None:
        """An operator has made a block."""
        stats = metadata.exec_stats
        stats = stats if isinstance(stats, BlockStats) else None
        rows, size = metadata.num_rows or 0, metadata.size_bytes or 0
        self.operators[op_index].add(rows, size, stats)
        if stats is None or not stats.start:
            return
        if len(self.events) >= MAX_EVENTS:
            self.events_dropped += 1
            return
        node = stats.node or HERE
        self.events.append(BlockEvent(op_index, stats.start, stats.wall, stats.cpu, node, stats.pid, rows, size))

    def record_queue(self, op_index: int, queued: int, running: int) -> None:
        """How many blocks wait for an operator right now, and how many of its tasks run."""
        operator = self.operators[op_index]
        operator.max_queued = max(operator.max_queued, queued)
        operator.max_running = max(operator.max_running, running)

    def record_error(self, op_index: int) -> None:
        """A block failed and was left out."""
        self.operators[op_index].errored += 1

    def finish(self) -> None:
        """The execution is over. Calling it again changes nothing."""
        if self.finished is None:
            self.finished = time.time()

    def to_string(self, iteration: object | None = None) -> str:
        """All of it, for a person: an operator per paragraph, then how it was iterated (if given), then the whole."""
        parts = [self.parent.to_string()] if self.parent is not None else []
        first = self._first_number()
        for number, operator in enumerate(self.operators, first):
            made = f": {blocks_text(operator.blocks)}" if operator.blocks else ""
            took = f" executed in {format_seconds(operator.span)}" if operator.wall.count else ""
            parts.append("\n".join([f"Operator {number} {operator.name}{made}{took}", *operator.lines()]))
        if iteration is not None:
            parts.append(str(iteration))
        parts.append(self._summary())
        return "\n\n".join(parts)

    def __str__(self) -> str:
        return self.to_string()

    def summary(self) -> str:
        """One line about the whole: rows, bytes, seconds, rates."""
        made = [operator for operator in self.operators if operator.blocks]
        last = made[-1] if made else OperatorStats("")  # a limit or a union only passes blocks on
        rows, size = last.rows.total, last.bytes.total
        rates = f" ({rate(rows, self.seconds)}, {format_bytes(size / self.seconds)}/s)" if self.seconds > 0 else ""
        return f"{format_count(rows)} rows, {format_bytes(size)} in {format_seconds(self.seconds)}{rates}"

    def timeline(self) -> list[dict[str, Any]]:
        """The execution as trace events, which ``chrome://tracing`` and ui.perfetto.dev show: a row per worker."""
        found = self.parent.timeline() if self.parent is not None else []
        nodes = {node: i for i, node in enumerate(sorted({event.node for event in self.events}), 1)}
        workers = sorted({(event.node, event.pid) for event in self.events})
        end = self.started + self.seconds
        found.append(_name_event("process_name", 0, 0, DRIVER))
        found.append(_slice("execution", 0, 0, self.started, end - self.started, {"operators": self.operator_names}))
        found += [_name_event("process_name", pid, 0, f"node {node}") for node, pid in nodes.items()]
        found += [_name_event("thread_name", nodes[node], pid, f"worker {pid}") for node, pid in workers]
        for event in list(self.events):
            name = self.operators[event.operator].name
            about = {"operator": event.operator, "rows": event.rows, "bytes": event.bytes, "cpu_seconds": event.cpu}
            found.append(_slice(name, nodes[event.node], event.pid, event.start, event.wall, about))
        return found

    def save_timeline(self, path: str | PathLike[str]) -> None:
        """Write :meth:`timeline` as JSON to a file."""
        content = {
            "traceEvents": self.timeline(),
            "displayTimeUnit": "ms",
            "otherData": {"dropped": self.events_dropped},
        }
        Path(path).write_text(json.dumps(content))

    def _first_number(self) -> int:
        return 1 if self.parent is None else self.parent._first_number() + len(self.parent.operators)

    def _summary(self) -> str:
        state = "" if self.finished is not None else ", still running"
        return f"Dataset: {self.summary()}{state}"


def line(name: str, text: str) -> str:
    return f"  {name + ':':<24}{text}"


def spread_line(name: str, spread: Spread, show: Any) -> str:
    shown = (
        f"{show(spread.least)} min",
        f"{show(spread.most)} max",
        f"{show(spread.mean)} mean",
        f"{show(spread.total)} total",
    )
    return line(name, ", ".join(shown))


def blocks_text(number: int) -> str:
    return "1 block" if number == 1 else f"{format_count(number)} blocks"


def rate(rows: float, seconds: float) -> str:
    return f"{format_count(rows / seconds)} rows/s" if seconds > 0 else f"{format_count(rows)} rows at once"


def _slice(name: str, pid: int, tid: int, start: float, seconds: float, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name, "cat": "data", "ph": "X", "pid": pid, "tid": tid, "ts": start * 1e6, "dur": seconds * 1e6, "args": about
    }  # fmt: skip


def _name_event(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
