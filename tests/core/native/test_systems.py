"""What stands in for Linux's calls on macOS, against a kqueue made of poll()."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from subprocess import PIPE
from types import SimpleNamespace
from typing import Any

import pytest

from aktis import _systems
from aktis._systems import HUNG_UP, READABLE, WRITABLE, KqueuePoller, count_cpus, peer
from aktis.util.processes import is_alive, peak_memory, started, state

READ, WRITE, ADD, DELETE, EOF = -1, -2, 1, 2, 0x8000


class Kqueue:
    """As its manual page has it, as far as descriptors go: a change is a (descriptor, filter) that is added or deleted."""

    def __init__(self) -> None:
        self.watched: set[tuple[int, int]] = set()
        self.closed = False

    def control(self, changes: list[Any] | None, most: int, timeout: float | None = None) -> list[Any]:
        for change in changes or ():
            key = (change.ident, change.filter)
            if change.flags == ADD:
                self.watched.add(key)
            elif key not in self.watched:
                raise FileNotFoundError(2, "no such filter")
            else:
                self.watched.remove(key)
        found = []
        for fd, kind in sorted(self.watched):
            look = select.poll()
            look.register(fd, select.POLLIN if kind == READ else select.POLLOUT)
            for _, bits in look.poll(0):
                if bits & (select.POLLIN if kind == READ else select.POLLOUT):
                    over = bool(bits & select.POLLHUP)
                    found.append(SimpleNamespace(ident=fd, filter=kind, flags=EOF if over else 0))
        return found[:most]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def poller(monkeypatch: pytest.MonkeyPatch) -> KqueuePoller:
    names = {
        "KQ_FILTER_READ": READ,
        "KQ_FILTER_WRITE": WRITE,
        "KQ_EV_ADD": ADD,
        "KQ_EV_DELETE": DELETE,
        "KQ_EV_EOF": EOF,
    }
    for name, value in names.items():
        monkeypatch.setattr(select, name, value, raising=False)
    monkeypatch.setattr(select, "kqueue", Kqueue, raising=False)
    monkeypatch.setattr(
        select, "kevent", lambda fd, kind, flags: SimpleNamespace(ident=fd, filter=kind, flags=flags), raising=False
    )
    return KqueuePoller()


def test_a_kqueue_does_what_an_epoll_does(poller: KqueuePoller) -> None:
    ours, theirs = socket.socketpair()
    epoll = select.epoll()
    try:
        for each in (poller, epoll):
            each.register(ours.fileno(), READABLE)
        steps: list[Any] = [
            lambda: None,
            lambda: theirs.send(b"x"),
            lambda: [each.modify(ours.fileno(), READABLE | WRITABLE) for each in (poller, epoll)],
            lambda: ours.recv(1),
            lambda: [each.modify(ours.fileno(), READABLE) for each in (poller, epoll)],
            lambda: theirs.close(),
        ]
        seen = []
        for step in steps:
            step()
            assert poller.poll(0) == epoll.poll(0)
            seen += poller.poll(0)
        assert [events for _, events in seen] == [
            READABLE, READABLE | WRITABLE, WRITABLE, READABLE | HUNG_UP,
        ]  # fmt: skip
        poller.modify(ours.fileno(), WRITABLE)
        poller.unregister(ours.fileno())
        assert poller.poll(-1) == []
        with pytest.raises(OSError):
            poller.unregister(ours.fileno())
    finally:
        ours.close()
        theirs.close()
        epoll.close()
        poller.close()
    assert poller._queue.closed


def test_a_node_runs_on_it(poller: KqueuePoller, monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis._node import connections

    monkeypatch.setattr(connections, "Poller", KqueuePoller)
    loop = connections.Loop()
    ours, theirs = socket.socketpair()
    try:
        got: list[bytes] = []
        loop.register(ours.fileno(), lambda _: got.append(ours.recv(16)))
        theirs.send(b"hello")
        loop.round(0)
        assert got == [b"hello"]
        loop.unregister(ours.fileno())
    finally:
        ours.close()
        theirs.close()


def test_who_is_at_the_other_end() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    try:
        assert peer(ours) == peer(theirs) == (os.getpid(), os.getuid())
    finally:
        ours.close()
        theirs.close()


def test_who_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_alive(os.getpid())
    assert not is_alive(2**22 + 1)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(1), "somebody else's is one, too"


def test_facts_of_processes() -> None:
    assert 1 <= count_cpus() <= (os.cpu_count() or 1)
    assert 10 << 20 < peak_memory() < 1 << 40
    mine = started(os.getpid())
    assert mine is not None and mine == started(os.getpid())
    assert started(2**22 + 1) is None and state(2**22 + 1) is None
    assert (state(os.getpid()) or "")[:1] in "RS"


def test_facts_of_processes_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert count_cpus() == os.cpu_count()
    mine = started(os.getpid())
    assert mine is not None and mine == started(os.getpid())
    assert started(2**22 + 1) is None and state(2**22 + 1) is None
    assert state(os.getpid()) in ("running", "sleeping")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of Linux")
def test_on_linux_it_is_epoll() -> None:
    assert _systems.Poller is select.epoll
    assert (READABLE, WRITABLE, HUNG_UP, _systems.FAILED) == (
        select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLERR,
    )  # fmt: skip


def test_a_process_is_ended_without_a_descriptor_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis.cli import _stop

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    sleeper = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=PIPE, stdout=PIPE)
    assert sleeper.stdin is not None and sleeper.stdout is not None
    with sleeper.stdin, sleeper.stdout:
        assert sleeper.stdout.readline() == b"up\n"
        process = _stop._open_process(sleeper.pid)
        assert isinstance(process, _stop._ByName)
        assert not process.ended(0)
        process.signal(signal.SIGTERM)
        assert process.ended(20)
        process.signal(signal.SIGTERM)  # there is nobody: nothing happens
        process.close()
        sleeper.wait(20)
    assert _stop._open_process(sleeper.pid) is None


REAP = """
import os, time
from aktis._node.zygote import Zygote
del os.waitid
said = []
zygote = Zygote.__new__(Zygote)
zygote.say = lambda *words: said.append(words)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os._exit(3)
zygote.children = {pid}
deadline = time.monotonic() + 20
while not said and time.monotonic() < deadline:
    zygote._reap()
assert said == [("exited", pid, 3 << 8)], said
assert zygote.children == set()
zygote._reap()
"""


def test_children_are_reaped_where_there_is_no_waitid() -> None:
    subprocess.run([sys.executable, "-c", REAP], check=True, timeout=60)
