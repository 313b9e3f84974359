"""What a stream leads to."""

from __future__ import annotations

import io
import os
import pty

import pytest

from aktis.util.terminal import can_repaint, is_terminal


def test_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    try:
        with open(slave, "w") as stream:
            for kind, can in (("xterm", True), ("dumb", False), ("unknown", False), ("", False)):
                monkeypatch.setenv("TERM", kind)
                assert is_terminal(stream)
                assert can_repaint(stream) == can
        assert not is_terminal(stream), "it is closed"
    finally:
        os.close(master)


@pytest.mark.parametrize("stream", [None, io.StringIO(), object()])
def test_what_is_none(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert not is_terminal(stream)
    assert not can_repaint(stream)
