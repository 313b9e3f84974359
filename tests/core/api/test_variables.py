"""How environment variables are declared and read."""

from __future__ import annotations

import pytest

from aktis.util.variables import Variable, flag, positive, size

WAIT = Variable("TEST_WAIT", float, 1.5, "seconds to wait", ("RAY_TEST_WAIT", "OLD_TEST_WAIT"))


def test_the_default_holds_until_one_of_the_names_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert WAIT.read() == 1.5
    monkeypatch.setenv("OLD_TEST_WAIT", "2")
    assert WAIT.read() == 2.0
    monkeypatch.setenv("RAY_TEST_WAIT", "3")
    assert WAIT.read() == 3.0
    monkeypatch.setenv("AKTIS_TEST_WAIT", "4")
    assert WAIT.read() == 4.0
    monkeypatch.setenv("AKTIS_TEST_WAIT", " ")  # emptied: as if it were not set
    assert WAIT.read() == 3.0


def test_what_cannot_be_read_is_named_with_what_was_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TEST_WAIT", "soon")
    with pytest.raises(ValueError, match=r"RAY_TEST_WAIT='soon': expected a number \(seconds to wait\)"):
        WAIT.read()
    monkeypatch.setenv("AKTIS_TEST_LIMIT", "-1")
    with pytest.raises(ValueError, match="AKTIS_TEST_LIMIT='-1': expected a number above 0"):
        Variable("TEST_LIMIT", positive, 1.0, "a limit").read()


def test_flags_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Variable("TEST_SWITCH", flag, True, "a switch")
    for text, value in (("0", False), ("off", False), ("", False), ("Yes", True), ("1", True)):
        monkeypatch.setenv("AKTIS_TEST_SWITCH", text)
        assert switch.read() is value
    monkeypatch.setenv("AKTIS_TEST_SWITCH", "perhaps")
    with pytest.raises(ValueError, match="expected one of 1, 0, true"):
        switch.read()
    assert [size(text) for text in ("12", "2k", "1.5MiB", "3GB")] == [12, 2048, 3 << 19, 3 << 30]
