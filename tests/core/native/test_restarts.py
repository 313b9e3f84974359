"""Calls of an actor that dies and comes back, again and again."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

import aktis
from aktis import exceptions
from aktis._native import actor_client, protocol

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


def test_the_death_of_an_actor_is_asked_for_where_the_news_of_it_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_client, "NO_NEWS", 0.2)
    actor = aktis.remote(Sleeper).remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    core = actor._hold.client.core
    hear = core.handlers[protocol.ACTOR_STATE]
    lost = []

    def deaf(connection: Any, message: Any) -> None:
        if message[2].state == "DEAD" and not lost:
            lost.append(message)
        else:
            hear(connection, message)

    monkeypatch.setitem(core.handlers, protocol.ACTOR_STATE, deaf)
    ref = actor.sleep.remote()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(exceptions.AktisActorError):
        aktis.get(ref, timeout=20)
    assert lost
    with pytest.raises(exceptions.ActorDiedError, match="signal 9"):
        aktis.get(actor.pid.remote(), timeout=20)


class Sleeper:
    def pid(self) -> int:
        return os.getpid()

    def sleep(self) -> None:
        time.sleep(1000)


def test_the_error_of_a_dead_actor_says_whether_a_call_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    actor = aktis.remote(Sleeper).remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    client = actor._hold.client
    core = client.core
    hear = core.handlers[protocol.ACTOR_STATE]
    news: list[Any] = []
    monkeypatch.setitem(core.handlers, protocol.ACTOR_STATE, lambda *message: news.append(message))
    sent = actor.sleep.remote()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while client.connection is not None or not news:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    kept = actor.pid.remote()  # there is nobody to send it to, and it is not known yet that there never will be
    for message in news:
        hear(*message)
    with pytest.raises(exceptions.ActorDiedError) as died:
        aktis.get(sent, timeout=20)
    assert died.value.call_sent
    for ref in (kept, actor.pid.remote()):
        with pytest.raises(exceptions.ActorDiedError) as died:
            aktis.get(ref, timeout=20)
        assert not died.value.call_sent
