"""Numbers and durations as people read them, and how often displays show them."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.air.display import Display, NotebookDisplay, Pace, format_duration, format_value, open_display


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (math.nan, ""), (0, "0.0 s"), (4.24, "4.2 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"),
        (185, "3 min 05 s"), (3599.7, "1 h 00 min"), (7620, "2 h 07 min"), (3 * 86400 + 4 * 3600, "3 d 04 h"), (-3, "-3.0 s"),
        (math.inf, "∞"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (True, "True"), (3, "3"), (12345678, "12345678"), (0.1 + 0.2, "0.3"), (0.000123456, "0.0001235"),
        (1.25e-5, "1.25e-5"), (1e-9, "1e-9"), (1.2, "1.2"), (123.456, "123.46"), (123456.7, "123457"), (1e300, "1e300"),
        (-0.5, "-0.5"), (math.nan, "nan"), (-math.inf, "-inf"), (numpy.float32(0.5), "0.5"), (numpy.int64(7), "7"),
        ([1, 2], "[1, 2]"), ("a\n b", "a b"), (2.0, "2"),
    ],
)  # fmt: skip
def test_values(value: object, text: str) -> None:
    assert format_value(value) == text


def test_long_texts_lose_their_middle() -> None:
    assert format_value("abcdefghijkl", 7) == "abcd…kl"
    assert format_value("abc", 3) == "abc"


@given(st.floats(-1e300, 1e300))
def test_a_short_number_is_near_the_number(number: float) -> None:
    text = format_value(number)
    assert len(text) <= 11
    assert float(text) == pytest.approx(number, rel=1e-3, abs=1e-320)


@given(st.text(max_size=30), st.integers(2, 12))
def test_no_text_is_longer_than_allowed(text: str, longest: int) -> None:
    assert len(format_value(text, longest)) <= longest


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def paint(self, pace: Pace, seconds: float) -> None:
        with pace.painting():
            self.now += seconds


@pytest.mark.parametrize(
    ("period", "is_live", "seconds"), [(None, True, 0.25), (None, False, 5.0), (2.0, True, 2.0), (2.0, False, 2.0)]
)
def test_how_often(period: float | None, is_live: bool, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(period, plain=5.0)
    assert pace.is_time(lambda: is_live), "the first time is at once"
    clock.now += 0.9 * seconds
    assert not pace.is_time(lambda: is_live)
    clock.now += 0.11 * seconds
    assert pace.is_time(lambda: is_live)
    assert not pace.is_time(lambda: is_live)
    assert pace.is_time(lambda: is_live, anyway=True)


def test_what_takes_long_to_paint_is_painted_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(None, plain=5.0)
    clock.paint(pace, 60.0)  # the first picture: what it needs is imported, too
    for _ in range(20):
        clock.paint(pace, 0.03)
    assert pace.is_time(lambda: True)
    clock.now += 0.95
    assert not pace.is_time(lambda: True)
    clock.now += 0.1
    assert pace.is_time(lambda: True), "three percent of the time"


@pytest.fixture
def notebook() -> Iterator[Any]:
    """What cells show: a list of (HTML, whether it replaces what the cell shows)."""
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    from IPython.core.displaypub import CapturingDisplayPublisher
    from traitlets.config import Config

    shell = interactive.InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_pub = CapturingDisplayPublisher()
    try:
        yield lambda: [(each["data"]["text/html"], each["update"]) for each in shell.display_pub.outputs]
    finally:
        interactive.InteractiveShell.clear_instance()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_notebook_shows_one_picture_or_one_below_the_other(
    overwrite: bool, notebook: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    display = open_display(where="notebook", overwrite=overwrite)
    assert isinstance(display, NotebookDisplay) and isinstance(display, Display) and display.live

    def never(width: int, height: int) -> Any:
        raise AssertionError("a notebook wants HTML")

    display.update(never, lambda: "<b>1</b>")
    display.line("done: 1 [of 2]")
    display.update(never)  # nothing that a notebook could show
    display.update(never, lambda: "<b>2</b>")
    display.close()
    display.close()
    assert notebook() == [("<b>1</b>", False), ("<b>2</b>", overwrite)]
    assert capsys.readouterr().out == "done: 1 [of 2]\n"


def test_a_display_shows_nothing_unless_it_is_one_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    display.update(lambda width, height: "picture", lambda: "html")
    display.line("line")
    display.close()
    assert capsys.readouterr() == ("", "")
    assert not open_display(io.StringIO()).live
