"""Sessions that modules of tests share when they follow each other.

To start one takes seconds of CPU time where its workers are to be forked with torch, xgboost and the like. A fixture named
``shared_session_...`` (of a module's scope) says with :func:`start` what it needs; :func:`end_unless_used` runs after each test::

    test_a[session A]  test_b[session A]  test_c[none]  test_d[session A]  test_e[its own]
    start ────────────────────────────────────────────────────────► end
"""

from __future__ import annotations

from typing import Any

import pytest

import aktis

PREFIX = "shared_session_"
OWN = {
    "cluster",
    "inline",
    "own_session",
    "session",
}  # what fixtures are named of tests with one for their module, or for themselves

_running: str | None = None


def running() -> str | None:
    """The fixture whose session is there."""
    return _running


def start(name: str, **options: Any) -> None:
    """Start the session of the fixture ``name``, unless it is there."""
    global _running
    if _running != name:
        aktis.init(**options)
        _running = name


def end_unless_used(nextitem: pytest.Item | None) -> None:
    """End the shared session that is there, when the next test needs another one, or none will follow."""
    if _running is None:
        return
    fixtures = set() if nextitem is None else set(getattr(nextitem, "fixturenames", ()))
    shared = {name for name in fixtures if name.startswith(PREFIX)}
    if nextitem is not None and (shared == {_running} or not (shared or fixtures & OWN)):
        return
    end()


def end() -> None:
    """End the shared session, if there is one: fixtures that start another one begin with it."""
    global _running
    if _running is not None:
        _running = None
        aktis.shutdown()
