"""More objects than memory: spilling, waiting, refusing."""

from __future__ import annotations

import os
import resource
import signal

import numpy as np
import pytest
from tests.core.store.helpers import DRIVER, WORKER, Process, files, new_id, settle

from aktis._store import node_side
from aktis._store.object_store import ObjectMissing
from aktis.exceptions import ObjectStoreFullError, OutOfDiskError

MB = 1 << 20


def test_more_than_fits_goes_to_disk_and_is_read_from_there(make_node):
    node = make_node(capacity=10 * MB)
    process = Process(node, DRIVER)
    refs = [process.put(np.full(MB, number, np.uint8)) for number in range(40)]
    settle(node)
    assert node.stats()["spilled_objects"] >= 30
    assert node.stats()["used"] <= 10 * MB
    for number, ref in enumerate(refs):
        value = process.get(ref)
        assert value[0] == value[-1] == number and not value.flags.writeable
    view = process.get(refs[0])
    for ref in refs:
        process.free(ref)
    assert files(node.spill_dir) == set()
    assert view[5] == 0
    with pytest.raises(ObjectMissing):
        process.get(refs[0])


def test_spilling_begins_before_the_store_is_full_with_the_oldest(make_node):
    node = make_node(capacity=10 * MB)
    process = Process(node, DRIVER)
    refs = [process.put(bytes(MB - 1000)) for _ in range(9)]
    settle(node)
    where = [one["where"] for one in node.objects()]
    assert where == ["disk"] + ["memory"] * 8
    assert files(node.spill_dir) == {refs[0][0].hex()}


def test_object_larger_than_the_store_is_refused_at_once(make_node):
    process = Process(make_node(capacity=10 * MB), DRIVER)
    with pytest.raises(ObjectStoreFullError, match=r"does not fit into the object store of 10,485,760 bytes"):
        process.put(bytes(11 * MB))


def test_full_of_what_is_being_read(make_node):
    node = make_node(capacity=10 * MB, grace=0.2)
    process = Process(node, DRIVER)
    refs = [process.put(np.full(3 * MB, number, np.uint8)) for number in range(3)]
    views = [process.get(ref) for ref in refs]
    with pytest.raises(ObjectStoreFullError, match=r"belong to freed or spilled objects that somebody still reads"):
        process.put(bytes(3 * MB))
    assert [view[-1] for view in views] == [0, 1, 2]
    del views
    assert process.get(process.put(bytes(3 * MB))) == bytes(3 * MB)


def test_allocation_waits_until_a_reader_lets_go(make_node):
    node = make_node(capacity=10 * MB)
    process = Process(node, DRIVER)
    views = [process.get(process.put(np.full(3 * MB, number, np.uint8))) for number in range(3)]
    assert node.handle_alloc(WORKER, 77, 3 * MB, new_id(WORKER)) == []
    assert settle(node) == []
    views.clear()
    ((who, request, ok, _),) = node.poll()
    assert (who, request, ok) == (WORKER, 77, True)


def test_waiting_is_in_order(make_node):
    node = make_node(capacity=10 * MB)
    ((_, _, ok, _),) = node.handle_alloc(DRIVER, 1, 9 * MB, first := new_id())
    assert ok
    assert node.handle_alloc(WORKER, 2, 5 * MB, new_id(WORKER)) == []
    assert node.handle_alloc(WORKER, 3, MB, new_id(WORKER)) == []
    replies = node.handle_freed(DRIVER, [first])  # given up
    assert [(who, request, ok) for who, request, ok, _ in replies] == [(WORKER, 2, True), (WORKER, 3, True)]


def test_who_dies_does_not_wait_any_more(make_node):
    node = make_node(capacity=10 * MB)
    node.handle_alloc(DRIVER, 1, 9 * MB, new_id())
    node.handle_alloc(WORKER, 2, 5 * MB, new_id(WORKER))
    node.process_gone(WORKER)
    assert node.stats()["waiting"] == 0
    assert node.process_gone(DRIVER) == []


def test_disk_full_guard(make_node, monkeypatch):
    monkeypatch.setattr(node_side, "DISK_LIMIT", 0.0)
    node = make_node(capacity=10 * MB, grace=0.2)
    process = Process(node, DRIVER)
    refs = [process.put(bytes(3 * MB)) for _ in range(3)]
    with pytest.raises(OutOfDiskError, match="would be more than 0% full"):
        process.put(bytes(3 * MB))
    assert all(process.get(ref) == bytes(3 * MB) for ref in refs)
    monkeypatch.undo()
    process.put(bytes(3 * MB))  # the disk has room again: retried, not given up for good


def test_disk_error_in_the_middle_of_a_copy(make_node):
    node = make_node(capacity=10 * MB, grace=0.2)
    process = Process(node, DRIVER)
    refs = [process.put(bytes(3 * MB)) for _ in range(2)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, before[1]))  # no file may grow past 1 MB
    try:
        node.handle_alloc(DRIVER, 99, 5 * MB, new_id())
        settle(node)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(node.spill_dir) == set()
    assert node.stats()["spilled_objects"] == 0
    assert all(process.get(ref) == bytes(3 * MB) for ref in refs)


def test_freed_while_it_is_spilled(make_node):
    node = make_node(capacity=10 * MB)
    process = Process(node, DRIVER)
    refs = [process.put(bytes(MB - 1000)) for _ in range(9)]  # begins to spill the first
    process.free(refs[0])
    settle(node)
    assert files(node.spill_dir) == set()


def test_free_overtakes_seal(make_node):
    node = make_node()
    worker = Process(node, WORKER)
    object_id = new_id(DRIVER)
    from aktis._serialization import pack

    name, size = worker.store.write(object_id, pack(bytes(300_000)))
    node.handle_freed(DRIVER, [object_id])
    node.handle_sealed(WORKER, [(object_id, name, size)])
    assert node.stats()["objects"] == 0 and node.stats()["used"] == 0


def test_unused_memory_goes_back_to_the_system(make_node):
    node = make_node()
    process = Process(node, DRIVER)
    ref = process.put(bytes(MB))
    process.free(ref)
    assert files(node.store_dir) == {ref[1]}
    import time

    node.poll(time.monotonic() + 100)
    assert files(node.store_dir) == set() and node.stats()["pooled"] == 0


def test_spill_directory_appears_only_when_needed(make_node):
    node = make_node()
    Process(node, DRIVER).put(bytes(MB))
    assert not os.path.exists(node.spill_dir)
