"""Live displays: one picture that is painted over on a terminal, a display handle in a notebook, plain lines elsewhere.

A :class:`Display` is given pictures as often as its owner likes; who calls decides how often. Lines that are printed in between
appear above the picture. Nothing here starts a thread.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from aktis.util.terminal import can_repaint, is_terminal

if TYPE_CHECKING:
    import logging

    from rich.console import Console, RenderableType
    from rich.live import Live

__all__ = [
    "Display", "NotebookDisplay", "Pace", "PlainDisplay", "TerminalDisplay", "environment", "format_duration", "format_value",
    "open_display",
]  # fmt: skip

_LIVE_PERIOD = 0.25  # seconds between two pictures: what an eye follows
_LIVE_SHARE = 0.03  # of the time may go into painting, so that a slow machine paints less often
_FIRST_COST = 0.01  # seconds that the first picture counts for: it takes longer than the others


def environment(stream: TextIO | None = None) -> str:
    """Where output goes: "notebook", "terminal" or "plain" (a file, a pipe, a terminal that can't move its cursor)."""
    ipython = sys.modules.get("IPython")
    if ipython is not None:
        shell = ipython.get_ipython()
        if shell is not None and getattr(shell, "kernel", None) is not None:
            return "notebook"
    return "terminal" if can_repaint(stream if stream is not None else sys.stdout) else "plain"


class Display:
    """What is shown of something that goes on. ``html`` and ``picture`` are only called where they are wanted."""

    live = True  # whether a new picture replaces the old one

    def update(self, picture: Callable[[int, int], RenderableType], html: Callable[[], str] | None = None) -> None:
        """Show a new picture. ``picture`` is given the width and height that there is room for, in characters."""

    def line(self, text: Any) -> None:
        """Print a line (a string without markup, or something that rich can print) that stays."""

    def close(self) -> None:
        """Leave the last picture where it is. May be called twice."""


class TerminalDisplay(Display):
    """A picture at the bottom of a terminal. What the program prints meanwhile appears above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False)
        self._live: Live | None = None
        self._redirected: list[tuple[logging.StreamHandler[Any], Any]] = []
        self._waiting: list[Any] = []  # lines to print with the next picture: each print paints the picture anew

    def update(self, picture: Callable[[int, int], RenderableType], html: Callable[[], str] | None = None) -> None:
        from rich.live import Live
        from rich.segment import SegmentLines

        size = self._console.size
        # Drawn once: rich draws anew whenever something is printed.
        drawn = SegmentLines(self._console.render_lines(picture(size.width, size.height), pad=False), new_lines=True)
        if self._live is None:
            self._begin(Live, drawn)
            return
        self._print_waiting()
        self._live.update(drawn, refresh=True)

    def _begin(self, make: type[Live], drawn: Any) -> None:
        before = (sys.stdout, sys.stderr)
        self._live = make(
            drawn,
            console=self._console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=is_terminal(sys.stdout),
            redirect_stderr=is_terminal(sys.stderr),  # what goes into a file stays there
        )
        self._live.start(refresh=True)
        self._redirected = _redirect_logging(dict(zip(map(id, before), (sys.stdout, sys.stderr), strict=True)))

    def _print_waiting(self) -> None:
        if self._waiting:
            from rich.console import Group

            lines, self._waiting = self._waiting, []
            self._console.print(Group(*map(_folded, lines)))

    def line(self, text: Any) -> None:
        self._waiting.append(text)
        if self._live is None:
            self._print_waiting()

    def close(self) -> None:
        self._print_waiting()
        if self._live is not None:
            for handler, stream in self._redirected:
                handler.setStream(stream)
            live, self._live = self._live, None
            live.vertical_overflow = "visible"  # the last picture may be longer than the terminal
            live.stop()


def _redirect_logging(streams: dict[int, Any]) -> list[tuple[logging.StreamHandler[Any], Any]]:
    """Let log handlers that hold a terminal's stream write to what stands in for it now, else they would write into the picture.

    Args:
        streams: What stands in, by the id of the stream that it replaces.

    Returns:
        The handlers with the streams that they had.
    """
    import logging

    changed = []
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for handler in {handler for logger in loggers for handler in getattr(logger, "handlers", ())}:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            stream = handler.stream
            new = streams.get(id(stream), stream)
            if new is not stream:
                handler.setStream(new)
                changed.append((handler, stream))
    return changed


def _folded(text: Any) -> Any:
    from rich.text import Text

    return Text(text, overflow="fold") if isinstance(text, str) else text


class NotebookDisplay(Display):
    """One output of a notebook's cell that is replaced."""

    def __init__(self, overwrite: bool = True) -> None:
        self._overwrite = overwrite
        self._handle: Any = None

    def update(self, picture: Callable[[int, int], RenderableType], html: Callable[[], str] | None = None) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        if html is None:
            return
        if self._handle is None or not self._overwrite:
            self._handle = display(HTML(html()), display_id=True)  # type: ignore[no-untyped-call, unused-ignore]
        else:
            self._handle.update(HTML(html()))  # type: ignore[no-untyped-call, unused-ignore]

    def line(self, text: Any) -> None:
        print(text)


class PlainDisplay(Display):
    """Lines for a file or a pipe. Each picture is printed below the one before, so give few."""

    live = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def _console(self) -> Console:
        from rich.console import Console

        # Without a terminal rich assumes 80 columns, which cuts tables that a log has room for.
        width = int(os.environ.get("COLUMNS", "") or 0) if os.environ.get("COLUMNS", "").isdigit() else 0
        return Console(file=self._stream, highlight=False, width=width or 140, force_terminal=False, no_color=True)

    def update(self, picture: Callable[[int, int], RenderableType], html: Callable[[], str] | None = None) -> None:
        console = self._console()
        console.print(picture(console.width, 1_000_000))
        self._flush()

    def line(self, text: Any) -> None:
        if isinstance(text, str):
            print(text, file=self._stream)
        else:
            self._console().print(text, markup=False, soft_wrap=True)
        self._flush()

    def _flush(self) -> None:
        stream = self._stream if self._stream is not None else sys.stdout
        if stream is not None:
            stream.flush()


def open_display(stream: TextIO | None = None, *, where: str | None = None, overwrite: bool = True) -> Display:
    """The display that fits: ``where`` is what :func:`environment` says when left out."""
    where = where or environment(stream)
    if where == "notebook":
        return NotebookDisplay(overwrite)
    return TerminalDisplay(stream) if where == "terminal" else PlainDisplay(stream)


class Pace:
    """How often to show something. On a live display as often as an eye follows, less where painting takes long.

    Args:
        period: Seconds between two times at least. None: what fits the display.
        plain: The same where ``period`` is None and the display is not live.
    """

    def __init__(self, period: float | None, plain: float) -> None:
        self._period = period
        self._plain = plain
        self._last = -math.inf
        self._cost = 0.0  # seconds that a picture takes, by and large

    def is_time(self, is_live: Callable[[], bool], anyway: bool = False) -> bool:
        """Whether to show something now; if so, it counts as shown.

        Args:
            is_live: Whether the display is live. Asked where ``period`` is None.
            anyway: Show it, whenever the last time was.
        """
        now = time.monotonic()
        if not anyway:
            period = self._period
            if period is None:
                period = max(_LIVE_PERIOD, self._cost / _LIVE_SHARE) if is_live() else self._plain
            if now - self._last < period:
                return False
        self._last = now
        return True

    @contextlib.contextmanager
    def painting(self) -> Iterator[None]:
        """Around the painting of a picture: how long it takes says how soon the next one may come."""
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        self._cost = 0.5 * (self._cost + took) if self._cost else _FIRST_COST


def format_duration(seconds: float | None) -> str:
    """``4.2 s``, ``3 min 05 s``, ``2 h 07 min``, ``3 d 04 h``; "" for None and NaN."""
    if seconds is None or math.isnan(seconds):
        return ""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if math.isinf(seconds):
        return "∞"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24:02d} h"


def format_value(value: Any, longest: int | None = None) -> str:
    """A number in few digits, other values as text: one line of ``longest`` characters at most."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        text = str(value)
    elif isinstance(value, float) or (hasattr(value, "dtype") and getattr(value, "ndim", None) == 0):
        try:
            text = _short_number(float(value))
        except (TypeError, ValueError):
            text = str(value)
    else:
        text = " ".join(str(value).split())
    if longest is not None and len(text) > longest:
        # The end of a long name tells more than its middle.
        keep = max(longest - 1, 1)
        text = f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :] if keep // 3 else ''}"
    return text


def _short_number(number: float) -> str:
    if not math.isfinite(number):
        return str(number)
    if number == int(number) and abs(number) < 1e7:
        return str(int(number))
    size = abs(number)
    if 1e-4 <= size < 1e7:
        digits = max(0, 4 - max(0, math.floor(math.log10(size))))
        if size < 1:
            return f"{number:.4g}"
        text = f"{number:.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{number:.3e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"
