"""No memory, no room in the store, no room on disk."""

from __future__ import annotations

import pytest

import aktis
from aktis import exceptions

MIB = 1 << 20


# memory ---------------------------------------------------------------------------------------


def test_the_task_that_takes_too_much_memory_is_ended_and_says_who_used_how_much(session, monkeypatch):
    monkeypatch.setenv("AKTIS_MEMORY_LIMIT", "400M")
    session()

    @aktis.remote(max_retries=0)
    def greedy():
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (8 * MIB)))

    with pytest.raises(exceptions.OutOfMemoryError, match="greedy") as caught:
        aktis.get(greedy.remote(), timeout=30)
    assert "MiB" in str(caught.value) or "GiB" in str(caught.value) or "MB" in str(caught.value)

    @aktis.remote
    def fine():
        return "fine"

    assert aktis.get(fine.remote(), timeout=20) == "fine"


def test_a_retriable_task_is_retried_later(session, monkeypatch, tmp_path):
    monkeypatch.setenv("AKTIS_MEMORY_LIMIT", "400M")
    session()
    attempts = tmp_path / "attempts"

    @aktis.remote
    def greedy_at_first():
        with open(attempts, "a") as file:
            file.write("x\n")
        hoard = []
        while attempts.stat().st_size < 4:
            hoard.append(bytearray(b"x" * (8 * MIB)))
        return "modest"

    assert aktis.get(greedy_at_first.remote(), timeout=40) == "modest"


def test_retries_for_want_of_memory_have_their_own_limit(session, monkeypatch, tmp_path):
    monkeypatch.setenv("AKTIS_MEMORY_LIMIT", "400M")
    monkeypatch.setenv("AKTIS_TASK_OOM_RETRIES", "1")
    session()
    attempts = tmp_path / "attempts"

    @aktis.remote(max_retries=1)
    def greedy():
        with open(attempts, "a") as file:
            file.write("x\n")
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (8 * MIB)))

    with pytest.raises(exceptions.OutOfMemoryError):
        aktis.get(greedy.remote(), timeout=40)
    assert attempts.read_text() == "x\nx\n"


# the store ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_spilled_and_restored(session):
    numpy = pytest.importorskip("numpy")
    session(object_store_memory=80 * MIB)
    refs = [aktis.put(numpy.full(2 * MIB, number, dtype=numpy.int64)) for number in range(15)]  # 240 MiB
    for number, ref in enumerate(refs):
        value = aktis.get(ref, timeout=30)
        assert value[0] == value[-1] == number and len(value) == 2 * MIB
        del value


def test_results_of_tasks_spill_too(session):
    numpy = pytest.importorskip("numpy")
    session(object_store_memory=80 * MIB)

    @aktis.remote
    def make(number):
        return numpy.full(2 * MIB, number, dtype=numpy.int64)

    @aktis.remote
    def first(array):
        return int(array[0])

    refs = [make.remote(number) for number in range(15)]
    assert aktis.get([first.remote(ref) for ref in refs], timeout=60) == list(range(15))


def test_room_is_used_again_when_references_go(session, files):
    numpy = pytest.importorskip("numpy")
    session(object_store_memory=80 * MIB)
    for number in range(40):  # 640 MiB in all
        ref = aktis.put(numpy.full(2 * MIB, number, dtype=numpy.int64))
        assert aktis.get(ref, timeout=30)[-1] == number
        del ref


def test_a_store_with_no_way_out_says_so(driver, files, tiny_filesystem):
    """Everything is held by views, the disk is full too: the error comes in bounded time, and freeing room mends it."""
    pytest.importorskip("numpy")
    wrapper = tiny_filesystem(files.sessions, "24m")
    one = driver(
        """
import numpy
aktis.init(num_cpus=1, object_store_memory=80 << 20, log_to_driver=False)
held = []
try:
    for number in range(40):
        held.append(aktis.get(aktis.put(numpy.full(1 << 21, number, dtype=numpy.int64))))
    say("never full")
except (aktis.exceptions.ObjectStoreFullError, aktis.exceptions.OutOfDiskError) as error:
    say("full")
    ok = all(array[0] == array[-1] == number for number, array in enumerate(held))
    say(ok, len(held) >= 4)
held.clear()
array = aktis.get(aktis.put(numpy.full(1 << 21, 7, dtype=numpy.int64)))
say(array[-1])
""",
        wrapper,
    )
    assert one.hear(60) == "full"
    assert one.hear() == "True True"
    assert one.hear() == "7"
    code, _, errors = one.end()
    assert code == 0, errors


def test_the_disk_is_full_while_objects_are_spilled(driver, files, tiny_filesystem):
    """What was spilled, and what could not be, stays readable."""
    pytest.importorskip("numpy")
    one = driver(
        """
import numpy
aktis.init(num_cpus=1, object_store_memory=80 << 20, log_to_driver=False)
refs = []
try:
    for number in range(40):
        refs.append(aktis.put(numpy.full(1 << 21, number, dtype=numpy.int64)))
    say("never full")
except (aktis.exceptions.ObjectStoreFullError, aktis.exceptions.OutOfDiskError) as error:
    say("full", type(error).__name__)
good = 0
for number, ref in enumerate(refs):
    array = aktis.get(ref, timeout=30)
    good += bool(array[0] == array[-1] == number)
    del array
say(good == len(refs) >= 5)
""",
        tiny_filesystem(files.sessions, "40m"),
    )
    assert one.hear(60).startswith("full")
    assert one.hear(60) == "True"
    code, _, errors = one.end()
    assert code == 0, errors


def test_tiny_shared_memory_is_noticed(driver, files, tiny_filesystem):
    """Like a container with the usual 64 MB: files take its place, the user is told, and nothing dies of SIGBUS."""
    pytest.importorskip("numpy")
    one = driver(
        """
import numpy
aktis.init(num_cpus=1, object_store_memory=300 << 20, log_to_driver=False)

@aktis.remote
def double(array):
    return array * 2

refs = [double.remote(aktis.put(numpy.full(1 << 21, number, dtype=numpy.int64))) for number in range(8)]
for number, ref in enumerate(refs):
    array = aktis.get(ref, timeout=30)
    assert array[0] == array[-1] == 2 * number
say("fine")
""",
        tiny_filesystem("/dev/shm", "16m"),
        AKTIS_STORE_DIR="",
    )
    assert one.hear(60) == "fine"
    code, _, errors = one.end()
    assert code == 0, errors
    assert "/dev/shm" in errors
