"""The progress display: on a terminal only, not before its time, tidy when it ends, and never in the way."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from aktis.data._execution import progress
from aktis.data._execution.progress import OperatorProgress, ProgressDisplay, set_progress_bars
from aktis.data.context import DatasetContext

READ = OperatorProgress("ReadParquet", 1_000_000, 80_000_000, 5, 10, running=2, queued=3)
SORT = OperatorProgress("Sort", 0, 0, 0, None, running=0, queued=5, memory=1_000_000)


class Terminal(io.StringIO):
    """What stands for standard error. It must be set in the test itself: between fixtures and test, pytest sets its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.monkeypatch = monkeypatch

    def isatty(self) -> bool:
        return True

    def display(self, title: str = "", context: DatasetContext | None = None) -> ProgressDisplay:
        self.monkeypatch.setattr(sys, "stderr", self)
        return ProgressDisplay(title, context=context)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    terminal = Terminal(monkeypatch)
    monkeypatch.setattr(progress, "_screen", progress._Screen())
    for name, value in {"TERM": "xterm", "COLUMNS": "130", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield terminal
    progress._screen.give_up()


def test_it_shows_every_operator_and_leaves_one_line(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display("training data")
    clock.now += 0.5
    display.update([READ, SORT])
    shown = terminal.getvalue()
    for text in (
        "ReadParquet",
        "━",
        "5/10 blocks",
        "2M rows/s",
        "160 MB/s",
        "2 running, 3 queued",
        "Sort",
        "training data, 0.5 s",
    ):
        assert text in shown
    display.close("1,000,000 rows in 0.5 s")
    assert terminal.getvalue().rstrip().endswith("training data: 1,000,000 rows in 0.5 s")
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l"), "the cursor stays hidden"


def test_an_execution_without_a_title_is_called_after_its_operators(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display()
    clock.now += 1
    display.update([READ, SORT])
    display.close("10 rows")
    assert terminal.getvalue().rstrip().endswith("ReadParquet ... Sort: 10 rows")


def test_what_is_soon_done_shows_nothing(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display()
    assert not display.due
    display.update([READ])
    clock.now += 0.29
    display.update([READ])
    display.close("done")
    assert terminal.getvalue() == ""


def test_it_draws_five_times_a_second(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display()
    drawn = 0
    for _ in range(1000):  # one second
        clock.now += 0.001
        drawn += display.due
        display.update([READ])
    display.close()
    assert 3 <= drawn <= 4


def test_rates_are_those_of_the_last_seconds(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display()
    for second in range(1, 11):
        clock.now += 1.0
        display.update([OperatorProgress("Read", rows=second * 100 if second < 5 else 400 + (second - 4) * 1000)])
    assert display.rates[0].per_second()[0] == pytest.approx(1000)
    display.close()


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_nothing_is_shown_without_a_terminal(
    stream: io.StringIO | None, terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    display = ProgressDisplay()
    clock.now += 9
    assert not display.due
    display.update([READ])
    display.close("done")
    assert stream is None or stream.getvalue() == ""


def test_a_dumb_terminal_gets_nothing(terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    display = terminal.display()
    clock.now += 9
    assert not display.due


def test_one_switch_for_all(terminal: Terminal, clock: Clock) -> None:
    context = DatasetContext(enable_progress_bars=False)
    before = set_progress_bars(False)
    try:
        off = terminal.display(), terminal.display(context=DatasetContext())
        assert set_progress_bars(True) is False
        on, by_context = terminal.display(), terminal.display(context=context)
    finally:
        set_progress_bars(before)
    clock.now += 1
    assert [display.due for display in (*off, on, by_context)] == [False, False, True, False]


def test_two_executions_share_the_display(terminal: Terminal, clock: Clock) -> None:
    one, two = terminal.display("one"), terminal.display("two")
    clock.now += 1
    one.update([READ])
    terminal.truncate(0)
    two.update([SORT])
    assert "one, 1.0 s" in terminal.getvalue()
    assert "two, 1.0 s" in terminal.getvalue()
    one.close("done")
    terminal.truncate(0)
    clock.now += 1
    two.update([SORT])
    assert "two, 2.0 s" in terminal.getvalue()
    assert "one, " not in terminal.getvalue()
    two.close("done")


def test_what_the_program_prints_stays_above(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display("x")
    clock.now += 1
    display.update([READ])
    terminal.truncate(0)
    print("epoch 1", file=sys.stderr)
    assert terminal.getvalue().index("epoch 1") < terminal.getvalue().index("x, 1.0 s")
    display.close()
    assert sys.stderr is terminal


def test_no_room_for_all_operators(terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "8")
    operators = [OperatorProgress(f"Map{i:02}", blocks_done=1, blocks_total=1) for i in range(20)]
    operators[7] = OperatorProgress("Map07", running=1)
    display = terminal.display("many")
    clock.now += 1
    display.update(operators)
    shown = terminal.getvalue()
    assert "Map07" in shown
    assert "Map19" in shown
    assert "Map00" not in shown
    assert "many (15 more), 1.0 s" in shown
    display.close()


@pytest.mark.parametrize("columns", [1, 12, 20, 40, 60, 80, 100, 200])
def test_lines_fit_the_terminal(
    columns: int, terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    display = terminal.display("a rather long title of an execution")
    clock.now += 1
    display.update([READ, SORT])
    from rich.text import Text

    for line in terminal.getvalue().splitlines():
        assert len(Text.from_ansi(line).plain) <= columns
    display.close()


def test_a_terminal_that_goes_away_ends_the_display_and_nothing_else(terminal: Terminal, clock: Clock) -> None:
    display = terminal.display()
    clock.now += 1
    display.update([READ])
    terminal.write = lambda text: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    clock.now += 1
    display.update([READ])
    assert not display.due
    display.close("done")


def test_a_forked_process_draws_nothing(terminal: Terminal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    display = terminal.display()
    clock.now += 1
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    display.update([READ])
    assert terminal.getvalue() == ""


def test_many_threads_may_draw(terminal: Terminal, clock: Clock) -> None:
    displays = [terminal.display(f"t{i}") for i in range(4)]
    clock.now += 1

    def run(display: ProgressDisplay) -> None:
        for _ in range(20):
            display._next = 0
            display.update([READ, SORT])
        display.close("is done")

    threads = [threading.Thread(target=run, args=(display,)) for display in displays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"{display.title}: is done" in terminal.getvalue() for display in displays)
    assert progress._screen._live is None


PROGRAM = """
import sys
from aktis.data._execution import progress
progress.APPEARS_AFTER = 0.0
display = progress.ProgressDisplay("in all")
assert "rich" not in sys.modules
display.update([progress.OperatorProgress("ReadParquet", 10, 80, 1, 2, running=1)])
print("to standard output")
display.close("10 rows")
print("the end")
"""


def test_on_a_real_terminal_standard_output_stays_clean() -> None:
    """stderr is a terminal, stdout a pipe: what the program prints must not end up in the display."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        output, _ = process.communicate(timeout=30)
    screen = b""
    while select.select([ours], [], [], 0.2)[0]:
        try:
            screen += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert process.returncode == 0, screen.decode()
    assert output == "to standard output\nthe end\n"
    assert "ReadParquet" in screen.decode()
    assert screen.decode().rstrip().endswith("in all: 10 rows")
