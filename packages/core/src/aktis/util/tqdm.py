"""Progress bars that work in tasks and actors, in terminals, in notebooks' logs and in files.

In a driver on a terminal a bar redraws its line. Everywhere else (in workers, whose output goes to the driver
through the log, and where output is not a terminal) it prints a whole line now and then, which can't garble what
others print.

    from aktis.util.tqdm import tqdm

    @aktis.remote
    def work(items):
        for item in tqdm(items, desc="work"):
            ...
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from aktis.util.terminal import is_terminal

T = TypeVar("T")

__all__ = ["safe_print", "tqdm"]

_DRAW_SECONDS = 0.1  # between two drawings of the same line on a terminal
_LINE_SECONDS = 2.0  # between two printed lines elsewhere
_BAR_WIDTH = 24

_lock = threading.RLock()
_open_line: Callable[[], None] | None = None  # redraws the bar whose unfinished line is on the terminal


class tqdm(Generic[T]):
    """Count iterations of a loop and show how it goes. Also a context manager with :meth:`update`."""

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
        *,
        disable: bool = False,
        file: Any = None,
        **ignored: Any,
    ) -> None:
        if total is None and iterable is not None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except TypeError:
                total = None
        self.iterable = iterable
        self.desc = desc or ""
        self.total = total
        self.unit = unit or "it"
        self.n: float = 0
        self.disable = disable
        self._file = file
        self._interactive = is_terminal(file or sys.stderr) and not _in_worker()
        self._interval = flush_interval_s or (_DRAW_SECONDS if self._interactive else _LINE_SECONDS)
        self._started = self._shown = time.monotonic()
        self._shown_n = -1.0
        self._postfix = ""
        self._closed = False

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("this progress bar was made without an iterable; call update() instead of iterating")
        try:
            for item in self.iterable:
                yield item
                self.update(1)
        finally:
            self.close()

    def __enter__(self) -> tqdm[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """``n`` more are done."""
        self.n += n
        if time.monotonic() - self._shown >= self._interval:
            self.refresh()

    def set_description(self, desc: str | None = None, refresh: bool = True) -> None:
        """Change the text in front of the bar."""
        self.desc = desc or ""
        if refresh and self._interactive:
            self.refresh()

    def set_postfix(self, values: dict[str, Any] | None = None, refresh: bool = True, **more: Any) -> None:
        """Show ``key=value`` pairs behind the bar."""
        pairs = {**(values or {}), **more}
        self._postfix = ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                                  for key, value in pairs.items())  # fmt: skip
        if refresh and self._interactive:
            self.refresh()

    def reset(self, total: float | None = None) -> None:
        """Begin again at zero."""
        self.n, self._started = 0, time.monotonic()
        if total is not None:
            self.total = total

    def refresh(self) -> None:
        """Show the bar now."""
        if self.disable or self._closed:
            return
        self._shown, self._shown_n = time.monotonic(), self.n
        if self._interactive:
            self._draw()
        else:
            with _lock:
                print(self.line(), file=self._file or sys.stdout, flush=True)

    def close(self) -> None:
        """Show the last state and end the line."""
        global _open_line
        if self._closed:
            return
        if self._shown_n != self.n:
            self.refresh()
        self._closed = True
        if self._interactive and not self.disable:
            with _lock:
                _open_line = None
                stream = self._file or sys.stderr
                stream.write("\n")
                stream.flush()

    def line(self) -> str:
        """The bar as text, without an end of line."""
        elapsed = time.monotonic() - self._started
        rate = self.n / elapsed if elapsed > 0 else 0.0
        head = f"{self.desc}: " if self.desc else ""
        speed = f"{rate:.1f} {self.unit}/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/{self.unit}"
        tail = f", {self._postfix}" if self._postfix else ""
        if not self.total:
            return f"{head}{self.n:g} {self.unit} [{_clock(elapsed)}, {speed}{tail}]"
        share = min(self.n / self.total, 1.0)
        filled = round(share * _BAR_WIDTH)
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled) if self._interactive else ""
        left = _clock((self.total - self.n) / rate) if rate else "?"
        counts = f"{self.n:g}/{self.total:g} [{_clock(elapsed)}<{left}, {speed}{tail}]"
        return f"{head}{share:4.0%} {bar}{' ' if bar else ''}{counts}"

    def _draw(self) -> None:
        global _open_line
        with _lock:
            stream = self._file or sys.stderr
            stream.write("\r\x1b[K" + self.line())
            stream.flush()
            _open_line = self._draw


def safe_print(*values: Any, **kwargs: Any) -> None:
    """:func:`print`, without tearing a bar that is being drawn."""
    with _lock:
        redraw = _open_line
        if redraw is not None:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        print(*values, **kwargs)
        if redraw is not None:
            redraw()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def _in_worker() -> bool:
    from aktis import _session

    engine = _session.current
    return engine is not None and engine.context().get("mode") == "worker"
