"""Actors that die, with calls in flight."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

import aktis
from aktis import exceptions


def define():
    """Defined in a function, so that it travels by value."""

    @aktis.remote
    class Counter:
        def __init__(self):
            self.count = 0

        def add(self):
            self.count += 1
            return self.count

        def pid(self):
            return os.getpid()

        def hold(self, path):
            """Wait until the file exists."""
            while not os.path.exists(path):
                time.sleep(0.01)
            return "released"

        def touch(self, path):
            open(path, "w").close()

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    return Counter


def test_a_killed_actor_fails_every_call_in_flight(session, tmp_path):
    session()
    actor = define().remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    refs = [actor.hold.remote(tmp_path / "never")] + [actor.add.remote() for _ in range(20)]
    os.kill(pid, signal.SIGKILL)
    for ref in refs:
        with pytest.raises(exceptions.ActorDiedError):
            aktis.get(ref, timeout=20)
    with pytest.raises(exceptions.ActorDiedError, match="SIGKILL"):
        aktis.get(actor.add.remote(), timeout=20)


def test_kill_fails_every_call_in_flight(session, tmp_path):
    session()
    actor = define().remote()
    aktis.get(actor.pid.remote(), timeout=20)
    refs = [actor.hold.remote(tmp_path / "never")] + [actor.add.remote() for _ in range(20)]
    aktis.kill(actor)
    for ref in refs:
        with pytest.raises(exceptions.ActorDiedError):
            aktis.get(ref, timeout=20)


def test_a_restarted_actor_begins_anew_and_the_calls_in_flight_fail(session, tmp_path):
    session()
    actor = define().options(max_restarts=1).remote()
    assert aktis.get([actor.add.remote(), actor.add.remote()], timeout=20) == [1, 2]
    pid = aktis.get(actor.pid.remote(), timeout=20)
    held = actor.hold.remote(tmp_path / "never")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(exceptions.AktisActorError):
        aktis.get(held, timeout=20)
    assert call_until_available(actor.add) == 1
    os.kill(call_until_available(actor.pid), signal.SIGKILL)
    with pytest.raises(exceptions.ActorDiedError):
        for _ in range(100):
            call_until_available(actor.add)


def call_until_available(method):
    deadline = time.monotonic() + 20
    while True:
        try:
            return aktis.get(method.remote(), timeout=20)
        except exceptions.ActorUnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_calls_in_flight_are_retried_when_asked(session, tmp_path):
    session()
    actor = define().options(max_restarts=-1, max_task_retries=-1).remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    held = actor.hold.remote(tmp_path / "release")
    counts = [actor.add.remote() for _ in range(50)]
    os.kill(pid, signal.SIGKILL)
    (tmp_path / "release").touch()
    assert aktis.get(held, timeout=20) == "released"
    assert sorted(aktis.get(counts, timeout=20)) == list(range(1, 51))
    assert aktis.get(actor.pid.remote(), timeout=20) != pid


def test_each_call_has_its_own_number_of_retries(session):
    session()
    actor = define().options(max_restarts=-1, max_task_retries=2).remote()
    before = aktis.get(actor.pid.remote(), timeout=20)
    with pytest.raises(exceptions.AktisActorError):
        aktis.get(actor.die.remote(), timeout=40)
    assert aktis.get(actor.pid.remote(), timeout=20) != before


def test_kill_may_restart(session):
    session()
    actor = define().options(max_restarts=1, max_task_retries=1).remote()
    first = aktis.get(actor.pid.remote(), timeout=20)
    aktis.kill(actor, no_restart=False)
    deadline = time.monotonic() + 20
    while (second := call_until_available(actor.pid)) == first:  # kill does not wait
        assert time.monotonic() < deadline
    assert second != first
    aktis.kill(actor)
    with pytest.raises(exceptions.ActorDiedError):
        for _ in range(200):
            aktis.get(actor.pid.remote(), timeout=20)
            time.sleep(0.01)


def test_a_failed_constructor_is_named_at_every_call(session):
    session()

    @aktis.remote
    class Broken:
        def __init__(self):
            raise OSError("no such device")

        def method(self):
            return 1

    actor = Broken.remote()
    for _ in range(2):
        with pytest.raises(exceptions.ActorDiedError, match="no such device") as caught:
            aktis.get(actor.method.remote(), timeout=20)
        assert caught.value.actor_init_failed


def test_a_constructor_that_crashes(session):
    session()

    @aktis.remote
    class Broken:
        def __init__(self):
            os._exit(5)

        def method(self):
            return 1

    actor = Broken.options(max_restarts=1).remote()
    with pytest.raises(exceptions.ActorDiedError):
        aktis.get(actor.method.remote(), timeout=20)


def test_a_named_actor_dies_and_its_name_is_free(session):
    session()
    counter = define()
    actor = counter.options(name="it").remote()
    aktis.get(actor.add.remote(), timeout=20)
    aktis.kill(actor)
    with pytest.raises(exceptions.ActorDiedError):
        for _ in range(200):
            aktis.get(actor.add.remote(), timeout=20)
            time.sleep(0.01)
    with pytest.raises(ValueError):
        aktis.get_actor("it")
    again = counter.options(name="it").remote()
    assert aktis.get(again.add.remote(), timeout=20) == 1


def test_an_async_actor_is_killed_with_many_calls_in_flight(session):
    session()

    @aktis.remote
    class Waiter:
        async def wait(self):
            import asyncio

            await asyncio.sleep(1000)

        async def pid(self):
            return os.getpid()

    actor = Waiter.remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    refs = [actor.wait.remote() for _ in range(100)]
    aktis.get(actor.pid.remote(), timeout=20)
    os.kill(pid, signal.SIGKILL)
    for ref in refs:
        with pytest.raises(exceptions.ActorDiedError):
            aktis.get(ref, timeout=20)


def test_the_creator_of_an_actor_takes_it_along(session, tmp_path):
    session()
    counter = define()

    @aktis.remote
    class Parent:
        def __init__(self):
            self.child = counter.remote()

        def handle(self):
            aktis.get(self.child.pid.remote())
            return self.child

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    parent = Parent.remote()
    child = aktis.get(parent.handle.remote(), timeout=20)
    assert aktis.get(child.add.remote(), timeout=20) == 1
    parent.die.remote()
    with pytest.raises(exceptions.ActorDiedError):
        for _ in range(500):
            aktis.get(child.add.remote(), timeout=20)
            time.sleep(0.01)


def test_threads_that_wait_for_a_dying_actor_all_hear_of_it(session, tmp_path):
    session()
    actor = define().remote()
    pid = aktis.get(actor.pid.remote(), timeout=20)
    ref = actor.hold.remote(tmp_path / "never")
    errors = []

    def wait():
        try:
            aktis.get(ref, timeout=20)
        except exceptions.ActorDiedError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    assert len(errors) == 8


def test_calls_wait_for_their_arguments_across_restarts(session):
    """A call whose argument is not there yet keeps its place, and is never sent with a hole in it."""
    session()

    @aktis.remote
    def slow(number):
        time.sleep(0.01)
        return number

    @aktis.remote(max_restarts=-1, max_task_retries=-1)
    class Echo:
        def echo(self, value):
            return value

        def pid(self):
            return os.getpid()

    actor = Echo.remote()
    for round_number in range(5):
        pid = aktis.get(actor.pid.remote(), timeout=20)
        refs = [actor.echo.remote(slow.remote(number)) for number in range(10)]
        time.sleep(0.01 * round_number)
        if round_number:
            os.kill(pid, signal.SIGKILL)
        assert aktis.get(refs, timeout=20) == list(range(10))


def test_a_placement_group_goes_with_the_actor_that_made_it() -> None:
    """Else what a killed actor had reserved would be lost to everybody until the driver ends."""

    @aktis.remote(num_cpus=0)
    class Reserving:
        def reserve(self) -> bool:
            from aktis.util import placement_group

            self.group = placement_group([{"CPU": 1}])
            return self.group.wait(10)

    with aktis.init(num_cpus=1):
        actor = Reserving.remote()
        assert aktis.get(actor.reserve.remote())

        @aktis.remote(num_cpus=1)
        def needs_the_cpu() -> str:
            return "done"

        waiting = needs_the_cpu.remote()
        assert aktis.wait([waiting], timeout=0.2)[0] == []
        aktis.kill(actor)
        assert aktis.get(waiting, timeout=20) == "done"
