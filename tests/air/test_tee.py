"""Output that goes to a file, too."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from aktis.air.tee import Tee, open_log


def test_output_goes_to_both_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    stream = io.StringIO()
    with open_log(str(path)) as file:
        tee = Tee(stream, file)
        print("größer \udc80", file=tee)
        assert path.read_text() == "before\ngrößer \\udc80\n", "nothing waits in a buffer, no character is refused"
        assert tee.write("ab") == 2
        tee.writelines(["c", "d\n"])
        assert path.read_text().endswith("abcd\n")
    assert stream.getvalue() == "größer \udc80\nabcd\n"


def test_a_file_that_fails_is_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    file = open_log(str(tmp_path / "log"))
    tee = Tee(stream, file)
    file.close()
    with caplog.at_level(logging.WARNING, "aktis.air.tee"):
        tee.write("one")
        tee.write("two")
        tee.flush()
    assert stream.getvalue() == "onetwo"
    (message,) = caplog.messages
    assert message.startswith(f"output is no longer copied to {tmp_path / 'log'}: ")


def test_it_outlives_the_file_and_the_stream(tmp_path: Path) -> None:
    with open_log(str(tmp_path / "log")) as file:
        tee = Tee(None, file)
        tee.write("to the file\n")
    tee.file = None
    tee.write("to nobody")
    tee.flush()
    assert (tmp_path / "log").read_text() == "to the file\n"


def test_whatever_else_a_stream_has() -> None:
    tee = Tee(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert tee.encoding == "latin-1"
    assert not tee.isatty()
    with pytest.raises(AttributeError):
        Tee.__new__(Tee).stream
