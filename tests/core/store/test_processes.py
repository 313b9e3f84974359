"""Readers in other processes: what they hold stays, and what they held comes back when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests.core.store.helpers import DRIVER, WORKER, Process

READER = """
import sys
from aktis._serialization import unpack
from aktis._store.object_store import ObjectStore

store = ObjectStore(sys.argv[1], sys.argv[2], None)
value = unpack(*store.read(bytes.fromhex(sys.argv[3]), sys.argv[4]))
print(int(value.sum()), flush=True)
for line in sys.stdin:
    if line == "drop\\n":
        del value
        print("dropped", flush=True)
    else:
        print(int(value.sum()), flush=True)
"""


class Reader:
    def __init__(self, process: Process, ref: tuple[bytes, str]) -> None:
        node = process.node
        command = [sys.executable, "-c", READER, node.store_dir, node.spill_dir, ref[0].hex(), ref[1]]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.line()

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def ask(self, what: str) -> str:
        assert self.child.stdin is not None
        self.child.stdin.write(what + "\n")
        self.child.stdin.flush()
        return self.line()

    def end(self) -> None:
        self.child.kill()
        self.child.communicate(timeout=10)


@pytest.fixture
def reader_of():
    readers: list[Reader] = []

    def make(process: Process, ref: tuple[bytes, str]) -> Reader:
        readers.append(Reader(process, ref))
        return readers[-1]

    yield make
    for reader in readers:
        reader.end()


def test_view_in_another_process_outlives_the_object(make_node, reader_of):
    node = make_node()
    writer, other = Process(node, DRIVER), Process(node, WORKER)
    ref = writer.put(np.full(100_000, 7))
    reader = reader_of(writer, ref)
    assert reader.first == "700000"
    writer.free(ref)
    for process in (writer, other):
        assert process.put(np.full(100_000, 8))[1] != ref[1]
    assert reader.ask("sum") == "700000"
    assert reader.ask("drop") == "dropped"
    names = {other.put(np.full(100_000, 9))[1] for _ in range(2)}
    assert ref[1] in names  # now it is used again


def test_killed_reader_lets_go(make_node, reader_of):
    node = make_node()
    writer, other = Process(node, DRIVER), Process(node, WORKER)
    ref = writer.put(np.full(100_000, 7))
    reader = reader_of(writer, ref)
    writer.free(ref)
    os.kill(reader.child.pid, signal.SIGKILL)
    reader.child.wait(10)
    assert other.put(np.full(100_000, 8))[1] == ref[1]


WRITER = """
import sys, os, signal
from aktis._serialization import pack
from aktis._store import segment
from aktis._store.object_store import ObjectStore

def die(fd, layout, data, buffers):
    os.pwrite(fd, layout.head, 0)
    os.kill(os.getpid(), signal.SIGKILL)

segment.write_to_file = die
store = ObjectStore(sys.argv[1], sys.argv[2], lambda size, object_id: sys.argv[4])
store.write(bytes.fromhex(sys.argv[3]), pack(bytes(300_000)))
"""


def test_writer_killed_in_the_middle(make_node):
    node = make_node()
    object_id = WORKER + bytes(12)
    ((_, _, ok, name),) = node.handle_alloc(WORKER, 1, 300_200, object_id)
    assert ok
    child = subprocess.run(
        [sys.executable, "-c", WRITER, node.store_dir, node.spill_dir, object_id.hex(), name], timeout=30, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert node.stats()["used"] > 0
    node.process_gone(WORKER)
    assert node.stats()["used"] == 0
    assert Process(node, DRIVER).put(bytes(300_000))[1] == name


def test_objects_of_a_dead_owner_are_freed_and_others_stay(make_node):
    node = make_node()
    writer = Process(node, WORKER)
    mine = writer.put(bytes(300_000))
    result_of_driver = writer.put(bytes(400_000), owner=DRIVER)  # the worker wrote it, the driver owns it
    node.process_gone(WORKER)
    assert not node.has_object(mine[0]) and node.has_object(result_of_driver[0])
    assert Process(node, DRIVER).get(result_of_driver) == bytes(400_000)


def test_forked_child_does_not_write_into_its_parents_segments(make_node):
    node = make_node()
    process = Process(node, DRIVER)
    ref = process.put(np.full(100_000, 7))
    process.free(ref)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if process.store._reuse(800_000) is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert process.put(np.full(100_000, 8))[1] == ref[1]
