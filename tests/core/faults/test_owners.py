"""Objects whose owner died."""

from __future__ import annotations

import os
import signal
import time

import pytest

import aktis
from aktis import exceptions


def define():
    @aktis.remote
    class Owner:
        def make(self, size):
            self.kept = aktis.put(bytes(size))
            return [self.kept]

        def make_pending(self):
            @aktis.remote
            def never():
                import time

                time.sleep(1000)

            return [never.remote()]

        def pid(self):
            return os.getpid()

    return Owner


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_an_object_dies_with_its_owner(session, size):
    session()
    owner = define().remote()
    [ref] = aktis.get(owner.make.remote(size), timeout=20)
    os.kill(aktis.get(owner.pid.remote(), timeout=20), signal.SIGKILL)
    with pytest.raises(exceptions.ActorDiedError):
        aktis.get(owner.make.remote(size), timeout=20)
    with pytest.raises(exceptions.OwnerDiedError):
        aktis.get(ref, timeout=20)


def test_who_waits_for_an_object_hears_of_the_death_of_its_owner(session):
    session()
    owner = define().remote()
    [ref] = aktis.get(owner.make_pending.remote(), timeout=20)
    pid = aktis.get(owner.pid.remote(), timeout=20)
    assert aktis.wait([ref], timeout=0.2) == ([], [ref])
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    assert aktis.wait([ref], timeout=20) == ([ref], [])
    assert time.monotonic() - begin < 5
    with pytest.raises(exceptions.OwnerDiedError):
        aktis.get(ref, timeout=20)


def test_a_task_with_the_argument_of_a_dead_owner_fails(session):
    session()
    owner = define().remote()
    [ref] = aktis.get(owner.make.remote(1000), timeout=20)
    os.kill(aktis.get(owner.pid.remote(), timeout=20), signal.SIGKILL)
    with pytest.raises(exceptions.ActorDiedError):
        aktis.get(owner.make.remote(10), timeout=20)

    @aktis.remote
    def length(value):
        return len(value)

    with pytest.raises(exceptions.OwnerDiedError):
        aktis.get(length.remote(ref), timeout=20)


def test_what_the_driver_holds_outlives_the_actor_that_made_it(session):
    """A result belongs to the caller, not to the actor that computed it."""
    session()

    @aktis.remote
    class Maker:
        def make(self):
            return bytes(3_000_000)

        def pid(self):
            return os.getpid()

    maker = Maker.remote()
    ref = maker.make.remote()
    aktis.wait([ref], timeout=20)
    aktis.kill(maker)
    assert aktis.get(ref, timeout=20) == bytes(3_000_000)
