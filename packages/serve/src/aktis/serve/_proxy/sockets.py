"""Listening sockets. A port is shared among our own proxies, and with nobody else.

``SO_REUSEPORT`` would let us join any socket of the same user that has set it, too: two services would then share connections at
random. So a port is taken first by a lock of ours (a name in Linux's abstract namespace would do, but it is a file here, so that it
works elsewhere), and where nobody of ours has it, it is bound without ``SO_REUSEPORT`` first: that fails if anybody has it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from typing import IO

from aktis.serve._state import state_directory
from aktis.serve.exceptions import ServeError

TRIES, WAIT = 40, 0.025  # for another proxy that looks at the same port just now


class PortInUseError(ServeError, OSError):
    """Somebody else listens on the port."""


class Listener:
    """A socket that listens, and our claim on its port.

    Args:
        host: where.
        port: 0 is any free one.
        group: proxies with the same one share the port (the session's name).
    """

    def __init__(self, host: str, port: int, group: str = "") -> None:
        self.claim: IO[str] | None = None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if port:
            self._claim(port, group, family, host)
        self.socket = _bind(family, host, port, share=True)
        if not port:
            port = self.socket.getsockname()[1]
            self._claim(port, group, None, host)
        self.address: tuple[str, int] = (host, port)

    def _claim(self, port: int, group: str, probe: socket.AddressFamily | None, host: str) -> None:
        """Shares the port's lock with proxies of our group. Whoever is the first makes sure that nobody else is there."""
        path = os.path.join(state_directory(), f"port-{port}.lock")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600)
            claim = os.fdopen(descriptor, "r+")
            try:
                self._share(claim, port, group, probe, host)
            except BaseException:
                claim.close()
                raise
            if _is_at(claim, path):
                self.claim, self._path = claim, path
                return
            claim.close()  # whoever had it removed the file between our opening and locking it

    def _share(self, claim: IO[str], port: int, group: str, probe: socket.AddressFamily | None, host: str) -> None:
        for _ in range(TRIES):
            try:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:  # the first one
                if probe is not None:
                    _bind(probe, host, port, share=False).close()
                claim.seek(0)
                claim.truncate()
                claim.write(group)
                claim.flush()
                fcntl.flock(claim, fcntl.LOCK_SH)
                return
            try:
                fcntl.flock(claim, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # the first one looks just now
                time.sleep(WAIT)
                continue
            claim.seek(0)
            if claim.read() == group:
                return
            fcntl.flock(claim, fcntl.LOCK_UN)
            raise PortInUseError(_taken(host, port, "another Serve instance of this user"))
        raise PortInUseError(_taken(host, port, "another Serve instance of this user"))

    def close(self) -> None:
        """Stop listening. Safe to call again."""
        self.socket.close()
        if self.claim is not None:
            claim, self.claim = self.claim, None
            with claim, contextlib.suppress(OSError):
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)  # we are the last one
                if _is_at(claim, self._path):
                    os.unlink(self._path)


def _is_at(file: IO[str], path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _bind(family: socket.AddressFamily, host: str, port: int, *, share: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share and hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.set_inheritable(False)
        listener.setblocking(False)
        if not share:
            listener.listen(1)  # with SO_REUSEADDR, only this finds out about others that listen
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(_taken(host, port, "another program")) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PortInUseError(f"Listening on {host}:{port} is not allowed to this user: {error}.") from None
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    except OverflowError as error:
        listener.close()
        raise ValueError(f"cannot listen on {host}:{port}: {error}") from None
    return listener


def _taken(host: str, port: int, who: str) -> str:
    return (
        f"Port {port} of {host} is taken by {who}. Stop it, or choose another port: serve.start(http_options={{'port': ...}}), "
        "or --port of the command; 0 takes any that is free."
    )
