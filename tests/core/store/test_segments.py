"""Segments: layout, size classes, who may use which memory."""

from __future__ import annotations

import errno
import gc
import os

import numpy as np
import pytest
from tests.core.store.helpers import DRIVER, WORKER, Process, files, new_id, settle

from aktis._serialization import pack
from aktis._store import segment
from aktis._store.object_store import ObjectMissing, ObjectStore
from aktis.exceptions import ObjectStoreFullError

MB = 1 << 20


@pytest.mark.parametrize("size", [1, 65_536, 65_537, 100_000, 131_072, 131_073, 800_000_000, (1 << 33) + 1])
def test_size_classes_waste_little_and_are_pages(size):
    capacity = segment.capacity_for(size)
    assert capacity >= size
    assert capacity % 4096 == 0
    assert capacity <= max(65_536, size * 1.125 + 4096)
    assert segment.capacity_for(capacity) == capacity
    assert segment.capacity_of(segment.segment_name(7, capacity)) == capacity


def test_names_that_are_none():
    for name in ("x", "../s1-10", "s1", "t1-10"):
        with pytest.raises(ValueError, match="not the name of a segment"):
            segment.capacity_of(name)


def test_round_trip_is_aligned_read_only_and_shares_memory(make_node):
    node = make_node()
    process = Process(node, DRIVER)
    value = {"a": np.arange(50_000), "b": [np.ones(3, np.float32), np.zeros(0)], "c": "text"}
    ref = process.put(value)
    result, other = process.get(ref), process.get(ref)
    assert (result["a"] == value["a"]).all() and result["c"] == "text" and len(result["b"][1]) == 0
    assert result["a"].ctypes.data % 64 == 0 and result["b"][0].ctypes.data % 64 == 0
    assert not result["a"].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        result["a"][0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        result["a"].flags.writeable = True
    assert other["a"].ctypes.data != result["a"].ctypes.data  # two mappings


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes(make_node, kind):
    process = Process(make_node(), DRIVER)
    value = kind(os.urandom(3_000_000))
    result = process.get(process.put(value))
    assert result == value and type(result) is kind


def test_arrow_table_is_a_view(make_node):
    pyarrow = pytest.importorskip("pyarrow")
    process = Process(make_node(), DRIVER)
    before = pyarrow.total_allocated_bytes()
    table = process.get(process.put(pyarrow.table({"x": np.arange(1_000_000)})))
    assert table["x"][999_999].as_py() == 999_999
    assert pyarrow.total_allocated_bytes() - before < 1_000_000


def test_files_are_private(make_node):
    node = make_node()
    name = Process(node, DRIVER).put(bytes(200_000))[1]
    assert os.stat(os.path.join(node.store_dir, name)).st_mode & 0o777 == 0o600
    assert os.stat(node.store_dir).st_mode & 0o777 == 0o700


def test_same_process_uses_its_own_segment_again_without_asking(make_node):
    process = Process(make_node(), DRIVER)
    names = set()
    for number in range(10):
        ref = process.put(np.full(300_000, number))
        assert process.get(ref)[0] == number
        names.add(ref[1])
        assert process.free(ref)
    assert len(names) == 1 and process.allocations == 1


def test_own_segment_is_not_used_again_while_a_view_lives(make_node):
    process = Process(make_node(), DRIVER)
    first = process.put(np.full(300_000, 1))
    view = process.get(first)[100:200]
    process.free(first)
    second = process.put(np.full(300_000, 2))
    assert second[1] != first[1]
    assert (view == 1).all()
    del view
    gc.collect()
    process.free(second)
    third = process.put(np.full(300_000, 3))
    assert third[1] in (first[1], second[1]) and process.allocations == 2


def test_segment_that_the_node_gave_away_is_left_alone(make_node):
    node = make_node()
    one, other = Process(node, DRIVER), Process(node, WORKER)
    first = one.put(np.full(300_000, 1))
    one.free(first)
    taken = other.put(np.full(300_000, 2))
    assert taken[1] == first[1]  # warm memory, from the pool
    mine = one.put(np.full(300_000, 3))
    assert mine[1] != first[1]
    assert other.get(taken)[0] == 2 and one.get(mine)[0] == 3


def test_segment_that_was_used_again_is_not_given_away(make_node):
    node = make_node()
    one, other = Process(node, DRIVER), Process(node, WORKER)
    first = one.put(np.full(300_000, 1))
    one.store.recycle(first[1], first[0])
    node.handle_freed(DRIVER, [first[0]])
    second_id = new_id()
    name, size = one.store.write(second_id, pack(np.full(300_000, 2)))  # and the node does not know yet
    assert name == first[1]
    foreign = other.put(np.full(300_000, 3))
    assert foreign[1] != name
    node.handle_sealed(DRIVER, [(second_id, name, size)])
    assert one.get((second_id, name))[0] == 2
    node._ledger.validate()


def test_freeing_a_spilled_object_does_not_free_what_is_in_its_segment_now(make_node):
    node = make_node(capacity=4 * MB)
    process = Process(node, DRIVER)
    first = process.put(np.full(MB, 1, np.uint8))
    others = [process.put(np.full(MB, number, np.uint8)) for number in (2, 3)]
    settle(node)
    assert node.objects()[0]["where"] == "disk"
    now_there = process.put(np.full(MB, 4, np.uint8))
    assert now_there[1] == first[1]
    process.free(first)
    process.put(np.full(MB, 5, np.uint8))
    for number, ref in zip((2, 3, 4), [*others, now_there]):
        assert process.get(ref)[0] == number


def test_memory_given_back_by_the_node_is_not_touched(make_node):
    node = make_node(capacity=4 * MB)
    process, other = Process(node, DRIVER), Process(node, WORKER)
    first = process.put(bytes(2 * MB))
    process.free(first)
    big = other.put(bytes(3 * MB))  # the pool must go for this
    assert first[1] not in files(node.store_dir)
    other.free(big)
    other.store.trim()
    assert process.put(bytes(2 * MB))[1] != first[1]


def test_wrong_id_or_no_file_is_missing(make_node):
    node = make_node()
    process = Process(node, DRIVER)
    ref = process.put(bytes(200_000))
    with pytest.raises(ObjectMissing, match="neither in shared memory nor on disk"):
        process.store.read(new_id(), ref[1])
    with pytest.raises(ObjectMissing):
        process.store.read(ref[0], "s999-10000")
    empty = os.path.join(node.store_dir, "s77-10000")
    os.close(os.open(empty, os.O_CREAT | os.O_WRONLY))
    with pytest.raises(ObjectMissing):
        process.store.read(ref[0], "s77-10000")


def test_bounds_of_what_is_kept(make_node):
    process = Process(make_node(capacity=256 * MB), DRIVER)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    refs = [process.put(bytes(200_000)) for _ in range(100)]
    if before:
        assert len(os.listdir("/proc/self/fd")) - before < 40
    for ref in refs:
        process.free(ref)
    process.store.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_no_room_in_the_file_system_is_an_error(make_node, monkeypatch):
    node = make_node()
    process = Process(node, DRIVER)

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ObjectStoreFullError, match="No space left"):
        process.put(bytes(1_000_000))
    monkeypatch.undo()
    assert node.stats()["used"] == 0
    assert process.get(process.put(bytes(1_000_000))) == bytes(1_000_000)


def test_interrupted_write_leaves_the_segment_to_the_node(make_node, monkeypatch):
    node = make_node()
    process = Process(node, DRIVER)
    ref = process.put(bytes(300_000))
    process.free(ref)

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    for place in ("write_to_mapping", "write_to_file"):
        monkeypatch.setattr(segment, place, interrupt)
        with pytest.raises(KeyboardInterrupt):
            process.put(bytes(300_000))
    monkeypatch.undo()
    assert node.stats()["used"] == 0
    other = Process(node, WORKER)
    again = other.put(bytes(300_000))
    assert again[1] == ref[1]  # nothing was lost


def test_reader_that_comes_too_late_does_not_stop_a_writer(make_node):
    node = make_node()
    one, other = Process(node, DRIVER), Process(node, WORKER)
    first = one.put(np.full(300_000, 1))
    view = one.get(first)
    one.free(first)
    other.put(np.full(300_000, 2))
    assert (view == 1).all()


def test_large_copies_without_numpy(make_node, monkeypatch):
    import sys

    process = Process(make_node(), DRIVER)
    process.free(process.put(bytes(6 * MB)))
    data = os.urandom(6 * MB)
    monkeypatch.delitem(sys.modules, "numpy")
    ref = process.put(data)
    assert process.allocations == 1
    assert process.get(ref) == data


def test_threads_write_at_once(make_node):
    import threading

    node = make_node(capacity=128 * MB)
    lock = threading.Lock()
    process = Process(node, DRIVER)
    bad: list[object] = []

    def locked_allocate(size: int, object_id: bytes) -> str:
        with lock:
            return Process.allocate(process, size, object_id)

    store = ObjectStore(node.store_dir, node.spill_dir, locked_allocate, capacity=128 * MB)

    def run(number: int) -> None:
        for _ in range(30):
            object_id = new_id(bytes([number]) * 8)
            value = np.full(200_000, number, np.uint8)
            name, size = store.write(object_id, pack(value))
            with lock:
                node.handle_sealed(DRIVER, [(object_id, name, size)])
            data, buffers = store.read(object_id, name)
            if bytes(buffers[0]) != value.tobytes():
                bad.append(number)
            del data, buffers
            store.recycle(name, object_id)
            with lock:
                node.handle_freed(DRIVER, [object_id])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    store.close()
    assert not bad
