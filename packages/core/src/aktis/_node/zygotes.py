"""The node's end of its zygotes: asks for forks, hears of deaths, starts zygotes for other environments."""

from __future__ import annotations

import json
import os
import pickle
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._native.frames import Decoder, FrameError, encode
from aktis._node.connections import Loop, complain, note
from aktis._node.files import zygote_code

if TYPE_CHECKING:
    from aktis._node.worker_config import WorkerConfig

Listener = Callable[["ZygoteLink", tuple[Any, ...]], None]


class ZygoteLink:
    """One zygote. ``listener(link, message)`` gets its messages, and ``("closed",)`` when it is gone."""

    def __init__(self, loop: Loop, sock: socket.socket, pid: int, listener: Listener) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._decoder = Decoder()
        self._backlog = bytearray()
        self._listener = listener
        self.pid = pid
        self.closed = False
        self.jobs: set[bytes] = set()  # whose workers come from here
        loop.register(sock.fileno(), self._on_event)

    def fork(self, number: bytes, config: WorkerConfig) -> None:
        """Ask for a worker."""
        self._backlog += encode([("fork", number, pickle.dumps(config, 5))])
        self._write()

    def close(self) -> None:
        """Let the zygote go; it takes its children with it."""
        if not self.closed:
            self.closed = True
            self._loop.unregister(self._sock.fileno())
            self._sock.close()
            self._reap()

    def _reap(self) -> None:
        try:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # the first zygote is our parent, not our child
            return
        if not pid:
            self._loop.call_later(0.1, self._reap)

    def _write(self) -> None:
        try:
            while self._backlog:
                sent = self._sock.send(self._backlog)
                del self._backlog[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            return  # the reader sees the end
        if not self.closed:
            self._loop.want_write(self._sock.fileno(), bool(self._backlog))

    def _on_event(self, events: int) -> None:
        if self._backlog:
            self._write()
        try:
            data = self._sock.recv(1 << 16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._listener(self, ("closed",))
            return
        try:
            messages = self._decoder.feed(data)
        except FrameError:
            complain()
            self.close()
            self._listener(self, ("closed",))
            return
        for message in messages:
            self._listener(self, message)


def spawn_zygote(
    loop: Loop,
    listener: Listener,
    python: str,
    preload: tuple[str, ...],
    runtime: str,
    environ: dict[str, str],
    log_path: str,
) -> ZygoteLink:
    """Start a zygote of its own for an environment. Raises OSError when its interpreter cannot be started."""
    ours, theirs = socket.socketpair()
    try:
        theirs.set_inheritable(True)
        code = zygote_code(_site_packages())
        settings = json.dumps({"node_fd": theirs.fileno(), "preload": list(preload), "runtime": runtime, "code": code})
        log = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(python, [python, "-c", code, settings], environ, file_actions=log)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    note(f"started zygote {pid} with {python}, preload {list(preload)}")
    return ZygoteLink(loop, ours, pid, listener)


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
