"""The state of a run as something rich can draw, as HTML, and as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aktis.air.display import format_duration, format_value
from aktis.train._report.state import RankState, State

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["closing_lines", "html_view", "page_command", "restart_line", "rich_view", "status_line"]

_SIGNS = {
    "waiting for resources": ("○", "dim"),
    "starting": ("○", "yellow"),
    "running": ("●", "bold cyan"),
    "restarting": ("↻", "bold yellow"),
    "finished": ("✓", "bold green"),
    "failed": ("✗", "bold red"),
    "stopped": ("■", "yellow"),
}
_MOST_RANKS = 16
_LABEL = 12  # characters of the words in front
_COLUMNS = {
    "rank": "rank", "machine": "machine", "pid": "pid", "phase": "", "cpu": "CPU", "memory": "memory", "gpu": "GPU",
    "loop": "in the loop", "waiting": "waiting",
}  # fmt: skip


def _workers(state: State) -> str:
    if state.workers is None:
        return ""
    if state.alive is not None and state.alive < state.workers:
        return f"{state.alive} of {state.workers} workers alive"
    return f"{state.workers} worker{'s' * (state.workers != 1)}"


def _pace(state: State) -> str:
    """Rounds per second, and how much of the time is lost."""
    parts = []
    if state.rate is not None:
        parts.append(f"{format_value(state.rate)} rounds/s")
    if state.waiting is not None and state.workers != 1:
        slow = f", rank {state.slowest} is the slowest" if state.slowest is not None else ""
        parts.append(f"{state.waiting:.0%} of the time waiting{slow}")
    return ", ".join(parts)


def page_command(state: State) -> str:
    """How to make the page of the run."""
    return f"python -m aktis.train.html_report {state.directory}"


# -- lines -----------------------------------------------------------------------------------------------------------------


def status_line(state: State, detailed: bool = False) -> str:
    """``[1 min 05 s] TorchTrainer digits: iteration 12, loss 0.1234, accuracy 0.97; 3.4 rounds/s; 2 workers``."""
    words = [] if state.state == "running" else [state.state]
    if state.iteration is not None:
        words.append(f"iteration {state.iteration}")
    words += [f"{name} {value}" for name, value in state.metrics.items()]
    line = f"[{format_duration(state.elapsed)}] {state.trainer} {state.name}: {', '.join(words) or state.state}"
    parts = [_pace(state) if detailed else "", _workers(state)]
    if detailed and any(rank.memory for rank in state.ranks):
        parts.append("memory " + " ".join(rank.memory or "?" for rank in state.ranks[:_MOST_RANKS]))
    if detailed and any(rank.cpu for rank in state.ranks):
        parts.append("CPU " + " ".join(rank.cpu or "?" for rank in state.ranks[:_MOST_RANKS]))
    return "; ".join([line, *[part for part in parts if part]])


def restart_line(state: State, number: int, reason: str) -> str:
    """The line about a restart."""
    group = f" with {_workers(state)}" if state.workers else ""
    why = f": {reason}" if reason else ""
    return f"[{format_duration(state.elapsed)}] {state.trainer} {state.name}: restart {number}{group}{why}"


def closing_lines(state: State) -> list[tuple[str, str]]:
    """What is worth knowing when it is over: (what, where)."""
    lines = []
    if state.error:
        lines.append(("error", state.error))
        if state.error_file:
            lines.append(("traceback", state.error_file))
    if state.directory:
        lines.append(("results", state.directory))
    if state.checkpoint:
        lines.append(("best" if state.checkpoint_is_best else "checkpoint", state.checkpoint))
    if state.directory:
        lines.append(("page", page_command(state)))
    return lines


# -- rich ------------------------------------------------------------------------------------------------------------------


def _text(text: str = "", style: str = "", overflow: Literal["fold", "ellipsis"] = "ellipsis") -> Text:
    """A line; what is appended to it does not inherit the style."""
    from rich.text import Text

    return Text(no_wrap=overflow == "ellipsis", overflow=overflow).append(text, style=style)


def rich_view(
    state: State, width: int, height: int = 1_000_000, *, verbose: int = 3, done: bool = False
) -> RenderableType:
    """The whole display.

    Args:
        state: What to show.
        width: Of the terminal.
        height: Of the terminal.
        verbose: From 3 on with a table of the ranks.
        done: It is over: with where things are, and nothing that only matters while it goes on.
    """
    from rich.console import Group

    parts: list[RenderableType] = [_headline(state, done)]
    if state.metrics or state.iteration is not None:
        parts += _metric_lines(state, width)
    if not done:
        group = "  ".join(part for part in (_workers(state), _pace(state)) if part)
        if group:
            parts.append(_labelled("group", group, "dim" if verbose < 3 else ""))
    if state.restarts:
        words = f"{state.restarts}" + (f", the last: {state.last_restart}" if state.last_restart else "")
        parts.append(_labelled("restarts", words, "yellow"))
    if done:
        parts += _closing(state)
    elif state.checkpoint:
        parts.append(_labelled("best" if state.checkpoint_is_best else "checkpoint", state.checkpoint))
    room = height - len(parts) - 4
    if not done and verbose >= 3 and len(state.ranks) > 0 and room > 1:
        parts += _rank_table(state, min(room, _MOST_RANKS))
    return Group(*parts)


def _headline(state: State, done: bool) -> RenderableType:
    sign, style = _SIGNS.get(state.state, (" ", ""))
    title = _text("train", "bold magenta").append(f" {state.trainer} {state.name}", style="bold")
    title.append(f"  {sign} {state.state}", style=style).append(f"  {format_duration(state.elapsed)}")
    return title


def _labelled(label: str, words: str, style: str = "") -> Text:
    return _text(f"{label:<{_LABEL}}", "bold").append(words, style=style)


def _metric_lines(state: State, width: int) -> list[RenderableType]:
    """Iteration and metrics, on as many lines as they need."""
    items = [("iteration", str(state.iteration))] if state.iteration is not None else []
    items += list(state.metrics.items())
    lines: list[Text] = []
    line = _text(f"{'metrics':<{_LABEL}}", "bold")
    for name, value in items:
        size = len(name) + len(value) + 4
        if line.cell_len + size > width and line.cell_len > _LABEL:
            lines.append(line)
            line = _text(" " * _LABEL)
        line.append(f"{name} ", style="dim").append(
            f"{value}   ", style="bold green" if name != "iteration" else "bold"
        )
    return [*lines, line]


def _closing(state: State) -> list[RenderableType]:
    styles = {"error": "red"}
    # Paths are folded, not cut: they are there to be copied.
    return [
        _text(f"{label:<{_LABEL}}", "bold", "fold").append(words, style=styles.get(label, ""))
        for label, words in closing_lines(state)
    ]


def _cells(rank: RankState) -> dict[str, str]:
    return {name: str(getattr(rank, name)) for name in _COLUMNS}


def _rank_table(state: State, room: int) -> list[RenderableType]:
    from rich import box
    from rich.table import Table

    rows = [_cells(rank) for rank in state.ranks]
    names = [name for name in _COLUMNS if any(row[name] for row in rows)]
    if len({row["machine"] for row in rows}) == 1 and "machine" in names:
        names.remove("machine")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for name in names:
        left = name in ("machine", "phase")
        table.add_column(_COLUMNS[name], justify="left" if left else "right", no_wrap=True)
    for rank, row in list(zip(state.ranks, rows, strict=True))[:room]:
        style = "yellow" if rank.rank == state.slowest else ""
        table.add_row(*[_text(row[name], style) for name in names])
    parts: list[RenderableType] = [_text(), table]
    if len(rows) > room:
        parts.append(_text(f"... {len(rows) - room} more ranks", "dim"))
    return parts


# -- HTML, for notebooks ---------------------------------------------------------------------------------------------------


def html_view(state: State, *, verbose: int = 3, done: bool = False) -> str:
    """The same as an HTML fragment that works in light and dark notebooks."""
    from html import escape

    from aktis.air.html import fragment_table

    sign, _ = _SIGNS.get(state.state, ("", ""))
    head = f"<b>train {escape(state.trainer)} {escape(state.name)}</b> · {sign} {escape(state.state)} · "
    parts = [f"<div style='margin:.2em 0'>{head}{escape(format_duration(state.elapsed))}</div>"]
    items = [("iteration", str(state.iteration))] if state.iteration is not None else []
    spans = "".join(
        f"<span style='margin-right:1.2em'>{escape(name)} <b>{escape(value)}</b></span>"
        for name, value in [*items, *state.metrics.items()]
    )
    parts.append(f"<div style='margin:.2em 0'>{spans}</div>" if spans else "")
    words = "" if done else " · ".join(part for part in (_workers(state), _pace(state)) if part)
    parts.append(f"<div style='opacity:.7'>{escape(words)}</div>" if words else "")
    if state.restarts:
        parts.append(f"<div>restarts: {state.restarts} {escape(state.last_restart)}</div>")
    if done:
        parts.append(fragment_table(["", ""], closing_lines(state)))
    elif verbose >= 3 and state.ranks:
        names = [name for name in _COLUMNS if any(_cells(rank)[name] for rank in state.ranks)]
        rows = [[_cells(rank)[name] for name in names] for rank in state.ranks[:_MOST_RANKS]]
        parts.append(fragment_table([_COLUMNS[name] for name in names], rows))
    return f"<div class='aktis-progress'>{''.join(parts)}</div>"
