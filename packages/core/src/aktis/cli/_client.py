"""A synchronous client of the node daemon, for tools that look at a session from outside.

One question at a time over the node's Unix socket: HELLO, WELCOME, then REQUEST and REPLY
(see ``aktis._native.protocol``).
Only sockets in directories of the same user are opened, and only a server of the same user is believed.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aktis import _config
from aktis._native import protocol as op
from aktis._native.frames import Decoder, FrameError, encode
from aktis._systems import peer

SOCKET_NAME = "node.sock"


class NoSessionError(ConnectionError):
    """There is no session to talk to."""


class SessionRequestError(RuntimeError):
    """The node answered a request with an error."""


def session_bases() -> Iterator[Path]:
    """Folders that session directories of this user are made in."""
    chosen = _config.read("TEMP_DIR")
    # Without a choice sessions are in the system's folder, or in /tmp when its name is too long for a socket.
    roots = dict.fromkeys((tempfile.gettempdir(), "/tmp"))
    names = ("aktis", f"aktis-{os.getuid()}")
    for base in [Path(chosen)] if chosen else [Path(root, name) for root in roots for name in names]:
        if base.is_dir() and base.stat().st_uid == os.getuid():
            yield base


def find_session(address: str | None = None) -> Path:
    """The session directory for ``address``: itself, its socket (also as ``unix:`` URI), or None for the latest."""
    if address not in (None, "", "auto"):
        path = Path(str(address).removeprefix("unix:").removeprefix("//")).resolve()
        folder = path.parent if path.name == SOCKET_NAME else path
        if not (folder / SOCKET_NAME).is_socket():
            raise NoSessionError(f"no session is running at {address!r}: there is no {folder / SOCKET_NAME}")
        return folder
    for base in session_bases():
        folder = (base / "session_latest").resolve()
        if (folder / SOCKET_NAME).is_socket() and is_alive(folder):
            return folder
    # The newest session has ended; an older one may run still.
    running = [folder for folder in all_sessions() if is_alive(folder)]
    if not running:
        raise NoSessionError(
            "no session is running. Start one with aktis.init() in a program, or name one with --address"
        )
    return max(running, key=lambda folder: folder.stat().st_mtime)


def all_sessions() -> list[Path]:
    """Session directories of this user that have a socket, running or not."""
    return sorted(
        folder
        for base in session_bases()
        for folder in base.glob("session_*")
        if not folder.is_symlink() and (folder / SOCKET_NAME).is_socket()
    )


def is_alive(folder: Path) -> bool:
    """Whether somebody listens at the session's socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2.0)
        try:
            sock.connect(str(folder / SOCKET_NAME))
        except OSError:
            return False
    return True


class NodeClient:
    """A connection to the node daemon of a session."""

    def __init__(self, folder: Path, timeout: float = 30.0) -> None:
        self.folder = folder
        self.timeout = timeout
        self.welcome: dict[str, Any] = {}
        self._number = 0
        self._decoder = Decoder()
        self._messages: list[Any] = []
        self._sock = socket.socket(socket.AF_UNIX)
        try:
            self._sock.settimeout(timeout)
            self._sock.connect(str(folder / SOCKET_NAME))
        except OSError as error:
            self._sock.close()
            raise NoSessionError(f"the session in {folder} does not answer: {error.strerror or error}") from None
        self.node_pid, uid = peer(self._sock)
        if uid != os.getuid():
            self._sock.close()
            raise NoSessionError(f"the session in {folder} belongs to user {uid}")

    def hello(self) -> dict[str, Any]:
        """Introduce ourselves; facts about the session."""
        self._send((op.HELLO, op.PROTOCOL_VERSION, "tool", secrets.token_bytes(8), os.getpid(), "", {}))
        message = self._receive((op.WELCOME, op.REFUSED), self.timeout)
        if message[0] == op.REFUSED:
            raise NoSessionError(f"the session in {self.folder} refused us: {message[1]}")
        self.welcome = dict(message[1])
        return self.welcome

    def request(self, method: str, **arguments: Any) -> Any:
        """Ask the node, as ``Engine.request`` does."""
        if not self.welcome:
            self.hello()
        self._number += 1
        self._send((op.REQUEST, self._number, method, arguments))
        deadline = time.monotonic() + self.timeout
        while True:
            message = self._receive((op.REPLY,), deadline - time.monotonic())
            if message[1] == self._number:
                break
        if message[2]:
            return message[3]
        if isinstance(message[3], Exception):
            raise message[3]
        raise SessionRequestError(str(message[3]))

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            self._sock.sendall(encode([message]))
        except OSError as error:
            raise NoSessionError(f"the session in {self.folder} ended: {error.strerror or error}") from None

    def _receive(self, wanted: tuple[int, ...], timeout: float) -> tuple[Any, ...]:
        """The next message with one of these operations; others (logs, notices) are not for tools."""
        deadline = time.monotonic() + timeout
        while True:
            while self._messages:
                message: tuple[Any, ...] = self._messages.pop(0)
                if message[0] in wanted:
                    return message
            self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._sock.recv(1 << 20)
                self._messages += self._decoder.feed(data)
            except TimeoutError:
                raise TimeoutError(f"the session in {self.folder} did not answer within {self.timeout:g} s") from None
            except (OSError, FrameError) as error:
                raise NoSessionError(f"the connection to the session in {self.folder} broke: {error}") from None
            if not data:
                raise NoSessionError(f"the session in {self.folder} ended while we talked to it")


def ask_session(address: str | None, timeout: float, method: str, arguments: dict[str, Any]) -> Any:
    """One question to one session."""
    with NodeClient(find_session(address), timeout) as client:
        return client.request(method, **arguments)
