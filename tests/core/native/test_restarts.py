"""Calls of an actor that dies and comes back, again and again."""

from __future__ import annotations

import os
import signal

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote(max_restarts=-1, max_task_retries=-1)
class Phoenix:
    def pid(self) -> int:
        return os.getpid()


def test_every_call_after_a_kill_is_answered() -> None:
    actor = Phoenix.remote()
    seen = set()
    for _ in range(40):
        seen.add(aktis.get(actor.pid.remote(), timeout=20))
        aktis.kill(actor, no_restart=False)
    assert len(seen) == 40


def test_calls_in_flight_are_answered_by_the_next_life() -> None:
    actor = Phoenix.remote()
    for _ in range(20):
        refs = [actor.pid.remote() for _ in range(50)]
        os.kill(aktis.get(refs[0], timeout=20), signal.SIGKILL)
        refs += [actor.pid.remote() for _ in range(50)]
        assert len(aktis.get(refs, timeout=20)) == 100
