"""A snapshot as something rich can draw, as HTML, and as one line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.air.display import format_duration
from aktis.tune._progress.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["html_view", "rich_view", "status_line"]

_TABLE_LINES = 6  # of a table beside its rows: blank, heading, rule, notes, and one for the cursor

# Order, sign and colour of each status.
_SIGNS = {
    "RUNNING": ("●", "running", "bold cyan"),
    "PAUSED": ("◐", "paused", "yellow"),
    "PENDING": ("○", "pending", "dim"),
    "TERMINATED": ("✓", "done", "green"),
    "ERROR": ("✗", "failed", "bold red"),
}


def _counts(snapshot: Snapshot) -> list[tuple[str, str]]:
    parts = []
    for status, (sign, word, style) in _SIGNS.items():
        number = snapshot.counts.get(status, 0)
        if number:
            parts.append((f"{sign} {number} {word}", style))
    other = sum(number for status, number in snapshot.counts.items() if status not in _SIGNS)
    if other:
        parts.append((f"{other} other", "dim"))
    return parts or [("no trials yet", "dim")]


def _ended(snapshot: Snapshot) -> int:
    return snapshot.counts.get("TERMINATED", 0) + snapshot.counts.get("ERROR", 0)


def _progress_words(snapshot: Snapshot) -> str:
    total = snapshot.expected if snapshot.expected is not None else snapshot.total
    return f"{_ended(snapshot)} of {total} trials" if snapshot.expected is not None else f"{total} trials"


def status_line(snapshot: Snapshot) -> str:
    """The state in one line, for logs: ``[1 min 05 s] 3 of 20 trials: 4 running, 13 pending, 3 done; best loss ...``."""
    states = ", ".join(text.split(" ", 1)[1] if text[0] in "●◐○✓✗" else text for text, _ in _counts(snapshot))
    line = f"[{format_duration(snapshot.elapsed)}] {_progress_words(snapshot)}: {states}"
    if snapshot.remaining is not None and not snapshot.done:
        line += f"; about {format_duration(snapshot.remaining)} left"
    if snapshot.best:
        line += f"; best {snapshot.best}"
        line += f" ({snapshot.best_params})" if snapshot.best_params else ""
    if snapshot.info:
        line += f"; {snapshot.info[0]}"
    return line


# -- rich --------------------------------------------------------------------------------------------------------------


def rich_view(snapshot: Snapshot, width: int, height: int = 1_000_000) -> RenderableType:
    """The whole display. Columns that do not fit the width are named below the table."""
    from rich.console import Group

    parts: list[RenderableType] = [_headline(snapshot, width)]
    states = _text()
    for number, (text, style) in enumerate(_counts(snapshot)):
        states.append("   " if number else "").append(text, style=style)
    parts.append(states)
    for line in snapshot.info:
        parts.append(_text(line, "dim"))
    if snapshot.best:
        parts.append(_text("best  ", "bold").append(snapshot.best, style="bold green"))
        if snapshot.best_params:
            parts.append(_text(f"      {snapshot.best_params}", "green"))
    failures = _failure_table(snapshot, len(snapshot.failures) if snapshot.done else 3) if snapshot.failures else []
    # What is longer than the terminal would be cut off at the bottom: rather show fewer trials.
    room = max(2, height - len(parts) - len(failures) - _TABLE_LINES)
    if snapshot.rows:
        parts += _trial_table(snapshot, width, room)
    return Group(*parts, *failures)


def _text(text: str = "", style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _headline(snapshot: Snapshot, width: int) -> RenderableType:
    title = _text("tune", "bold magenta")
    if snapshot.name:
        title.append(f" {snapshot.name}", style="bold")
    title.append(f"  {_progress_words(snapshot)}  {format_duration(snapshot.elapsed)}")
    if snapshot.done:
        title.append("  finished", style="bold green")
    elif snapshot.remaining is not None:
        title.append(f"  about {format_duration(snapshot.remaining)} left", style="dim")
    room = width - title.cell_len - 4
    if snapshot.expected and not snapshot.done and room >= 10:
        room = min(room, 40)
        filled = min(room, int(room * _ended(snapshot) / snapshot.expected))
        title.append("  ").append("━" * filled, style="green").append("━" * (room - filled), style="bright_black")
    return title


def _trial_table(snapshot: Snapshot, width: int, room: int) -> list[RenderableType]:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="bold")
    names = min(max(len(row.name) + 2 * row.is_best for row in snapshot.rows), max(20, width // 3))
    states = max(6, *(len(row.status) + 2 for row in snapshot.rows))
    table.add_column("trial", no_wrap=True, width=names, overflow="ellipsis")
    table.add_column("status", no_wrap=True, min_width=states)
    chosen, left_out = _fitting(snapshot, width - names - states - 4)
    for index in chosen:
        cells = [row.cells[index] for row in snapshot.rows]
        right = all(cell == "" or cell[0] in "-+.0123456789" for cell in cells)
        table.add_column(snapshot.columns[index].label, no_wrap=True, justify="right" if right else "left")
    hidden = dict(snapshot.hidden)
    for row in snapshot.rows[room:]:
        hidden[row.status] = hidden.get(row.status, 0) + 1
    for row in snapshot.rows[:room]:
        sign, _, style = _SIGNS.get(row.status, (" ", row.status, ""))
        name = _text(f"★ {row.name}" if row.is_best else row.name, "bold green" if row.is_best else "")
        values = [_text(row.cells[index]) for index in chosen]
        table.add_row(name, _text(f"{sign} {row.status}", style), *values)
    notes = []
    if hidden:
        states_text = ", ".join(f"{number} {status}" for status, number in hidden.items())
        notes.append(f"... {sum(hidden.values())} more trials not shown ({states_text})")
    missed = [snapshot.columns[index].label for index in left_out if any(row.cells[index] for row in snapshot.rows)]
    if missed:
        notes.append(f"too narrow for: {', '.join(missed)}")
    return [_text(), table, *[_text(note, "dim") for note in notes]]


def _fitting(snapshot: Snapshot, room: int) -> tuple[list[int], list[int]]:
    """Which columns fit: those without a value go first, then those that are no metrics, and among them those on the right."""
    widths, empty = [], []
    for index, column in enumerate(snapshot.columns):
        longest = max((len(row.cells[index]) for row in snapshot.rows), default=0)
        widths.append(max(len(column.label), longest) + 2)
        empty.append(not longest)
    order = sorted(
        range(len(widths)), key=lambda index: (empty[index], snapshot.columns[index].kind != "metric", index)
    )
    chosen: list[int] = []
    for index in order:
        if widths[index] <= room:
            chosen.append(index)
            room -= widths[index]
    return sorted(chosen), [index for index in range(len(widths)) if index not in chosen]


def _failure_table(snapshot: Snapshot, most: int) -> list[RenderableType]:
    from rich.text import Text

    parts: list[RenderableType] = [_text(), _text("failed", "bold red")]
    for failure in snapshot.failures[:most]:
        times = f" ({failure.failures} times)" if failure.failures > 1 else ""
        line = _text(f"✗ {failure.name}{times}  ", "red").append(failure.message, style="default")
        parts.append(line)
        if failure.file:
            parts.append(Text(f"  {failure.file}", style="dim", overflow="fold"))
    more = snapshot.hidden_failures + max(0, len(snapshot.failures) - most)
    if more:
        parts.append(_text(f"... {more} more failed trials not shown", "dim"))
    return parts


# -- HTML, for notebooks -----------------------------------------------------------------------------------------------


def html_view(snapshot: Snapshot) -> str:
    """The same as an HTML fragment that works in light and dark notebooks."""
    from html import escape

    from aktis.air.html import fragment_table

    states = "".join(f"<span style='margin-right:1.2em'>{escape(text)}</span>" for text, _ in _counts(snapshot))
    finished = " · finished" if snapshot.done else ""
    words = f"{_progress_words(snapshot)} · {format_duration(snapshot.elapsed)}{finished}"
    parts = [
        f"<div style='margin:.2em 0'><b>tune {escape(snapshot.name)}</b> · {escape(words)}</div>",
        f"<div style='margin:.2em 0'>{states}</div>",
    ]
    parts += [f"<div style='opacity:.7'>{escape(line)}</div>" for line in snapshot.info]
    if snapshot.best:
        parts.append(
            f"<div style='margin:.2em 0'><b>best {escape(snapshot.best)}</b> "
            f"<span style='opacity:.8'>{escape(snapshot.best_params)}</span></div>"
        )
    if snapshot.rows:
        header = ["trial", "status", *[column.label for column in snapshot.columns]]
        rows = [[("★ " if row.is_best else "") + row.name, row.status, *row.cells] for row in snapshot.rows]
        parts.append(fragment_table(header, rows))
        if snapshot.hidden:
            parts.append(f"<div style='opacity:.7'>… {sum(snapshot.hidden.values())} more trials not shown</div>")
    if snapshot.failures:
        rows = [[failure.name, str(failure.failures), failure.message, failure.file] for failure in snapshot.failures]
        parts.append(fragment_table(["failed trial", "failures", "error", "file"], rows))
    return f"<div class='aktis-progress'>{''.join(parts)}</div>"
