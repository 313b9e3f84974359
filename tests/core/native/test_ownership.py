"""Who keeps an object alive, and that nobody keeps it for too long."""

from __future__ import annotations

import os
import socket
from typing import Any

import numpy as np
import pytest
from tests.core.native.helpers import alive, core, eventually, lose_everything, stored

import aktis

pytestmark = pytest.mark.usefixtures("session")

SIZE = 200_000  # float64: 1.6 MB, travels through the store


@aktis.remote
def identity(value: Any) -> Any:
    return value


@aktis.remote
def total(array: Any) -> float:
    return float(array.sum())


@aktis.remote
def make(value: float) -> Any:
    return np.full(SIZE, value)


@aktis.remote
def make_inside() -> list[Any]:
    return [aktis.put(np.ones(SIZE)), make.remote(2.0)]


@aktis.remote
class Keeper:
    def __init__(self) -> None:
        self.kept: Any = None

    def keep(self, box: list[Any]) -> None:
        self.kept = box

    def read(self) -> float:
        return float(aktis.get(self.kept[0]).sum())

    def hand_over(self) -> list[Any]:
        return list(self.kept)

    def drop(self) -> None:
        self.kept = None

    def pid(self) -> int:
        return os.getpid()


def nothing_left() -> bool:
    runtime = core()
    runtime.pump.call_soon(runtime.drain_dropped)
    return stored() == 0 and not runtime.lent and not runtime.exposed


def test_a_dropped_object_leaves_the_store() -> None:
    ref = aktis.put(np.ones(SIZE))
    assert stored() == 1
    del ref
    assert eventually(nothing_left)


def test_a_result_leaves_the_store() -> None:
    ref = make.remote(1.0)
    aktis.get(ref)
    del ref
    assert eventually(nothing_left)


def test_large_arguments_leave_the_store() -> None:
    assert aktis.get(total.remote(np.ones(SIZE))) == SIZE
    assert eventually(nothing_left)


def test_results_that_nobody_wants_leave_the_store() -> None:
    for _ in range(5):
        make.remote(1.0)
    aktis.get(identity.remote(1))
    assert eventually(nothing_left)


def test_a_borrower_keeps_an_object() -> None:
    keeper = Keeper.remote()
    ref = aktis.put(np.ones(SIZE))
    aktis.get(keeper.keep.remote([ref]))
    del ref
    assert aktis.get(keeper.read.remote()) == SIZE
    aktis.get(keeper.drop.remote())
    assert eventually(nothing_left)


def test_a_borrowed_reference_comes_back_to_its_owner() -> None:
    keeper = Keeper.remote()
    ref = aktis.put(np.full(SIZE, 3.0))
    aktis.get(keeper.keep.remote([ref]))
    (again,) = aktis.get(keeper.hand_over.remote())
    assert again is ref
    del ref, again
    assert aktis.get(keeper.read.remote()) == 3 * SIZE


def test_a_reference_passed_on_from_borrower_to_borrower() -> None:
    first, second = Keeper.remote(), Keeper.remote()
    aktis.get(first.keep.remote([aktis.put(np.ones(SIZE))]))
    aktis.get(second.keep.remote(aktis.get(first.hand_over.remote())))
    aktis.get(first.drop.remote())
    assert aktis.get(second.read.remote()) == SIZE
    aktis.get(second.drop.remote())
    assert eventually(nothing_left)


def test_references_made_in_a_task_outlive_it() -> None:
    put, computed = aktis.get(make_inside.remote())
    assert aktis.get(put).sum() == SIZE
    assert aktis.get(computed).sum() == 2 * SIZE


def test_a_dead_borrower_lets_go() -> None:
    keeper = Keeper.remote()
    ref = aktis.put(np.ones(SIZE))
    aktis.get(keeper.keep.remote([ref]))
    del ref
    aktis.kill(keeper)
    assert eventually(nothing_left)


def test_objects_of_a_dead_owner_are_lost() -> None:
    @aktis.remote
    class Owner:
        def make(self) -> list[Any]:
            self.mine = aktis.put([1, 2, 3])
            return [self.mine]

        def pid(self) -> int:
            return os.getpid()

    owner = Owner.remote()
    (ref,) = aktis.get(owner.make.remote())
    pid = aktis.get(owner.pid.remote())
    aktis.kill(owner)
    assert eventually(lambda: not alive(pid))
    with pytest.raises(aktis.exceptions.OwnerDiedError):
        aktis.get(ref, timeout=10)


def test_an_array_is_valid_after_its_object_was_freed_and_its_memory_wanted() -> None:
    ref = aktis.put(np.full(SIZE, 7.0))
    array = aktis.get(ref)
    del ref
    others = [aktis.put(np.full(SIZE, float(i))) for i in range(10)]
    assert (array == 7.0).all()
    del array, others
    assert eventually(nothing_left)


def test_a_lost_result_is_made_again() -> None:
    ref = make.remote(4.0)
    aktis.wait([ref])
    lose_everything()
    assert aktis.get(ref).sum() == 4 * SIZE


def test_a_chain_of_lost_results_is_made_again() -> None:
    @aktis.remote
    def plus_one(array: Any) -> Any:
        return array + 1

    ref = make.remote(1.0)
    refs = [ref]
    for _ in range(4):
        refs.append(plus_one.remote(refs[-1]))
    aktis.get(refs[-1])
    lose_everything()
    assert aktis.get(refs[-1])[0] == 5.0
    assert aktis.get(refs[0])[0] == 1.0


def test_a_lost_argument_is_made_again() -> None:
    ref = make.remote(2.0)
    aktis.wait([ref])
    lose_everything()
    assert aktis.get(total.remote(ref)) == 2 * SIZE


def test_a_borrower_gets_a_lost_result() -> None:
    keeper = Keeper.remote()
    ref = make.remote(5.0)
    aktis.get(keeper.keep.remote([ref]))
    assert aktis.get(keeper.read.remote()) == 5 * SIZE
    lose_everything()
    assert aktis.get(keeper.read.remote()) == 5 * SIZE


def test_a_lost_put_says_so() -> None:
    ref = aktis.put(np.ones(SIZE))
    lose_everything()
    with pytest.raises(aktis.exceptions.ObjectLostError, match="put"):
        aktis.get(ref)


def test_a_result_that_must_not_be_made_again_says_so() -> None:
    ref = make.options(max_retries=0).remote(1.0)
    aktis.wait([ref])
    lose_everything()
    with pytest.raises(aktis.exceptions.ObjectReconstructionFailedError, match="max_retries=0"):
        aktis.get(ref)


def test_the_last_handle_anywhere_ends_an_actor() -> None:
    actor, keeper = Keeper.remote(), Keeper.remote()
    pid = aktis.get(actor.pid.remote())
    aktis.get(keeper.keep.remote([actor]))
    del actor
    assert aktis.get(keeper.hand_over.remote())[0] is not None
    assert alive(pid)
    aktis.get(keeper.drop.remote())
    assert eventually(lambda: not alive(pid))


def test_the_end_of_a_session_closes_what_never_said_who_it_is() -> None:
    own = core()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(10)
        before = set(own.connections)
        peer.connect(own.address.removeprefix("unix:"))
        assert eventually(lambda: bool(own.connections - before))
        accepted = list(own.connections)
        aktis.shutdown()
        assert peer.recv(1) == b""
        assert {one.sock.fileno() for one in accepted} == {-1}
