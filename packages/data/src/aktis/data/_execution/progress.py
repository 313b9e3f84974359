"""The progress display: one for all executions of this process, on a terminal only.

::

    execution ── ProgressDisplay.update([...]) ──┐
    execution ── ProgressDisplay.update([...]) ──┼──> _Screen (one per process) ──> rich.live.Live ──> stderr
                                                 ┘

Guarantees: no thread of its own (whoever calls ``update`` draws, at most five times a second); nothing is imported, drawn
or printed unless an execution takes longer than ``APPEARS_AFTER``; what goes wrong in here switches the display off and
reaches nobody. The screen's lock is held while drawing, and nothing else is called with it held.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.data.context import DatasetContext
from aktis.util.terminal import can_repaint, is_terminal
from aktis.util.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

APPEARS_AFTER = 0.3  # seconds: what is done sooner needs no display
INTERVAL = 0.2  # seconds between two drawings
RATE_WINDOW = 3.0  # seconds that rates are averaged over
BAR_WIDTH = 20  # characters
GAP = 2  # between columns
LEAST_NAME, MOST_NAME = 12, 40  # characters of an operator's name: what there must be room for


def set_progress_bars(enabled: bool) -> bool:
    """Switch progress displays on or off for all data sets of this process. Returns what it was before."""
    context = DatasetContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, bool(enabled)
    return before


@dataclass(frozen=True, slots=True)
class OperatorProgress:
    """How far one operator is. Rows, bytes and blocks are those that it has put out."""

    name: str
    rows: int = 0
    bytes: int = 0
    blocks_done: int = 0
    blocks_total: int | None = None  # None: not known yet
    running: int = 0  # tasks
    queued: int = 0  # blocks that wait for it
    errored: int = 0  # blocks that failed and were left out
    memory: int = 0  # bytes that it holds in the object store


class ProgressDisplay:
    """The progress of one execution. Call :meth:`update` as often as there is news, and :meth:`close` in any case.

    ``started``: when the execution began, on the clock of ``time.monotonic()``; now, if not given.
    """

    def __init__(self, title: str = "", *, context: DatasetContext | None = None, started: float | None = None) -> None:
        own = True if context is None else context.enable_progress_bars
        self.title = title
        self.started = time.monotonic() if started is None else started
        self.operators: list[OperatorProgress] = []
        self.rates: list[_Rate] = []
        self._next = self.started + APPEARS_AFTER
        self._shown = False
        self._pid = os.getpid()
        self._enabled = own and DatasetContext.get_current().enable_progress_bars and can_repaint(sys.stderr)

    @property
    def due(self) -> bool:
        """Whether :meth:`update` would draw now: where building its argument takes time, ask first."""
        return self._enabled and time.monotonic() >= self._next

    def update(self, operators: list[OperatorProgress]) -> None:
        """Show this state. Cheap, and mostly without effect: see ``due``."""
        if self.due:
            self._guarded(lambda: self._draw(operators))

    def close(self, summary: str = "") -> None:
        """The execution is over: the display goes, and a line with its name and ``summary`` stays, if there was one."""
        if self._enabled:
            self._guarded(lambda: self._finish(summary))
        self._enabled = False

    def _draw(self, operators: list[OperatorProgress]) -> None:
        now = time.monotonic()
        self._next = now + INTERVAL
        self.rates = self.rates if len(self.rates) == len(operators) else [_Rate(self.started) for _ in operators]
        for rate, operator in zip(self.rates, operators):
            rate.add(now, operator.rows, operator.bytes)
        self.operators = list(operators)
        self._shown = True
        _screen.draw(self)

    def _finish(self, summary: str) -> None:
        if not self._shown:
            return
        name = self.title or self.operators[-1].name
        if len(self.operators) > 1 and not self.title:
            name = f"{self.operators[0].name} ... {name}"
        _screen.remove(self, f"{name}: {summary or self._summary()}")

    def _summary(self) -> str:
        last = self.operators[-1]
        took = time.monotonic() - self.started
        return f"{format_count(last.rows)} rows in {format_seconds(took)}"

    def _guarded(self, action: Callable[[], None]) -> None:
        if os.getpid() != self._pid:  # a process that was forked from us, which has our objects but not our terminal
            self._enabled = False
            return
        try:
            action()
        except Exception:  # a closed terminal, a broken pipe ...: no reason to end an execution
            self._enabled = False
            _screen.give_up()


class _Rate:
    """Rows and bytes per second, over the last few seconds."""

    def __init__(self, started: float) -> None:
        self._seen: deque[tuple[float, int, int]] = deque([(started, 0, 0)])

    def add(self, now: float, rows: int, size: int) -> None:
        self._seen.append((now, rows, size))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_WINDOW:
            self._seen.popleft()

    def per_second(self) -> tuple[float, float]:
        (start, rows_before, bytes_before), (end, rows, size) = self._seen[0], self._seen[-1]
        took = end - start
        return ((rows - rows_before) / took, (size - bytes_before) / took) if took > 0 else (0.0, 0.0)


class _Screen:
    """The lines of all executions, below what the program prints."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may end an execution while we draw
        self._displays: list[ProgressDisplay] = []
        self._live: Any = None

    def draw(self, display: ProgressDisplay) -> None:
        with self._lock:
            if display not in self._displays:
                self._displays.append(display)
            if self._live is None:
                self._live = self._start()
            self._live.update(self._picture(self._live.console), refresh=True)

    def remove(self, display: ProgressDisplay, summary: str) -> None:
        from rich.text import Text

        with self._lock:
            if display not in self._displays:
                return
            self._displays.remove(display)
            live, console = self._live, self._live.console
            if self._displays:
                console.print(Text(summary))
                live.update(self._picture(console), refresh=True)
            else:
                self._live = None
                live.stop()
                console.print(Text(summary))

    def give_up(self) -> None:
        """Leave the terminal as it was, whatever state we are in."""
        with self._lock:
            live, self._live = self._live, None
            self._displays.clear()
            try:
                if live is not None:
                    live.stop()
            except Exception:
                pass

    def _start(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        atexit.unregister(self.give_up)
        atexit.register(self.give_up)  # a hidden cursor must not outlive us
        # What the program prints meanwhile goes above the display, unless it is sent to a file.
        live = Live(
            console=Console(stderr=True, highlight=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=True,
        )
        live.start()
        return live

    def _picture(self, console: Console) -> RenderableType:
        from rich.console import Group

        room = max(3, console.height - 2)
        each = max(2, room // len(self._displays))
        return Group(*(_table_of(display, console.width, each) for display in self._displays))


def _table_of(display: ProgressDisplay, width: int, height: int) -> Table:
    """One execution: a line per operator, and one for the whole. Narrow terminals get fewer columns."""
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    numbers = _most_interesting(display.operators, height - 1)
    lines = [[cell(display.operators[i], display.rates[i]) for cell in CELLS] for i in numbers]
    names = [display.operators[i].name for i in numbers]
    total = _total(display)
    widths = [max(cell_len(row[i]) for row in [*lines, total]) for i in range(len(CELLS))]
    kept = list(range(len(CELLS)))
    longest = min(MOST_NAME, max(map(cell_len, names)))
    while len(kept) > 1 and longest + sum(widths[i] + GAP for i in kept) >= width:
        kept.remove(max(kept, key=lambda i: CELLS_TO_DROP.index(CELLS[i])))
    room = max(LEAST_NAME, width - 1 - sum(widths[i] + GAP for i in kept))

    hidden = len(display.operators) - len(numbers)
    took = f"{time.monotonic() - display.started:,.1f} s"
    total_name = f"{display.title or 'total'}{f' ({hidden} more)' if hidden else ''}, {took}"
    table = Table.grid(padding=(0, GAP, 0, 0))
    for i in [None, *kept]:
        table.add_column(no_wrap=True, justify="left" if i is None or CELLS[i] in (_bar, _tasks) else "right")
    for i, name, cells in zip(numbers, names, lines):
        style = "dim" if _is_done(display.operators[i]) else ""
        table.add_row(_fitted(name, room), *(Text(cells[k]) for k in kept), style=style)
    table.add_row(_fitted(total_name, room), *(Text(total[k]) for k in kept), style="bold")
    return table


def _fitted(name: str, room: int) -> Any:
    from rich.text import Text

    text = Text(name)
    text.truncate(room, overflow="ellipsis")
    return text


def _most_interesting(operators: list[OperatorProgress], most: int) -> list[int]:
    """Which operators to show where there is no room for all: those that work, and the last ones."""
    if len(operators) <= most:
        return list(range(len(operators)))
    order = sorted(range(len(operators)), key=lambda i: (operators[i].running == 0, _is_done(operators[i]), -i))
    return sorted(order[: max(1, most)])


def _is_done(operator: OperatorProgress) -> bool:
    return operator.blocks_total is not None and operator.blocks_done + operator.errored >= operator.blocks_total


# ---- the cells of a line ----


def _bar(operator: OperatorProgress, rate: _Rate) -> str:
    if not operator.blocks_total:
        return "╶" * BAR_WIDTH
    part = min(1.0, (operator.blocks_done + operator.errored) / operator.blocks_total)
    full = int(part * BAR_WIDTH)
    return "━" * full + "╶" * (BAR_WIDTH - full)


def _blocks(operator: OperatorProgress, rate: _Rate) -> str:
    total = "" if operator.blocks_total is None else f"/{format_count(operator.blocks_total)}"
    failed = f", {format_count(operator.errored)} failed" if operator.errored else ""
    return f"{format_count(operator.blocks_done)}{total} blocks{failed}"


def _rows_per_second(operator: OperatorProgress, rate: _Rate) -> str:
    return f"{format_count(rate.per_second()[0])} rows/s"


def _bytes_per_second(operator: OperatorProgress, rate: _Rate) -> str:
    return f"{format_bytes(rate.per_second()[1])}/s"


def _tasks(operator: OperatorProgress, rate: _Rate) -> str:
    if _is_done(operator):
        return "done"
    queued = f", {format_count(operator.queued)} queued" if operator.queued else ""
    return f"{operator.running} running{queued}"


def _memory(operator: OperatorProgress, rate: _Rate) -> str:
    return format_bytes(operator.memory) if operator.memory else ""


def _total(display: ProgressDisplay) -> list[str]:
    """The cells of the last line: what has come out at the end, and what all operators hold."""
    last, rate = display.operators[-1], display.rates[-1]
    return [
        "",
        f"{format_count(last.rows)} rows",
        _rows_per_second(last, rate),
        _bytes_per_second(last, rate),
        f"{sum(operator.running for operator in display.operators)} running",
        _memory(OperatorProgress("", memory=sum(operator.memory for operator in display.operators)), rate),
    ]


CELLS: tuple[Callable[[OperatorProgress, _Rate], str], ...] = (
    _bar, _blocks, _rows_per_second, _bytes_per_second, _tasks, _memory
)  # fmt: skip
CELLS_TO_DROP = (_blocks, _rows_per_second, _tasks, _bytes_per_second, _bar, _memory)  # the last one goes first


_screen = _Screen()
