"""Worker output: files with a cap, tailed and sent to the drivers that they concern."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._native import protocol as op
from aktis._node.connections import complain

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon
    from aktis._node.workers import Worker

QUICK = 0.1  # seconds between looks while output flows
SLOW = 1.0  # while it does not
QUIET = 3.0  # without work and without output for so long: stop looking until there is work again
CHUNK = 1 << 20
LONGEST_LINE = 64 << 10  # an unfinished line is sent when it is longer


class _Tail:
    """How far one file has been read."""

    __slots__ = ("_backups", "_limit", "offset", "path", "rest", "stream")

    def __init__(self, path: str, stream: str, limit: int, backups: int) -> None:
        self._limit = limit
        self._backups = backups
        self.path = path
        self.stream = stream
        self.offset = 0
        self.rest = b""

    def read(self) -> tuple[list[str], bool]:
        """New whole lines, and whether there is more."""
        try:
            size = os.stat(self.path).st_size
        except OSError:
            return [], False
        if size < self.offset:  # it was truncated by a rotation
            self.offset = 0
        if size == self.offset:
            return [], False
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(CHUNK)
        except OSError:
            return [], False
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LONGEST_LINE:
            lines.append(self.rest)
            self.rest = b""
        if self.offset >= self._limit:
            self._rotate()
        return [line.decode("utf-8", "replace") for line in lines], self.offset < size

    def last(self) -> list[str]:
        """The unfinished last line of a worker that is dead."""
        rest, self.rest = self.rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []

    def _rotate(self) -> None:
        """Copy and truncate: the writer keeps its descriptor, which appends."""
        try:
            for number in range(self._backups - 1, 0, -1):
                if os.path.exists(f"{self.path}.{number}"):
                    os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            if self._backups > 0:
                with open(self.path, "rb") as source, open(f"{self.path}.1", "wb") as target:
                    while os.sendfile(target.fileno(), source.fileno(), None, 1 << 24):
                        pass
        except OSError:
            complain()
        try:
            os.truncate(self.path, 0)
            self.offset = 0
        except OSError:
            complain()


class LogTailer:
    """Looks at the log files of workers, often while something comes."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self._tails: dict[bytes, tuple[_Tail, _Tail]] = {}
        self._timer: Any = None
        self._interval = QUICK
        self._last_news = 0.0
        self._limit: int = _config.read("LOG_FILE_BYTES")
        self._backups: int = _config.read("LOG_FILE_BACKUPS")

    def work_began(self) -> None:
        """A worker got work: there may be output soon."""
        self._last_news = monotonic()
        if self._timer is None:
            self._interval = QUICK
            self._timer = self.daemon.loop.call_later(QUICK, self._look)

    def flush(self) -> None:
        """Send everything that has been written so far."""
        for worker in list(self.daemon.pool.workers.values()):
            while self._send_news(worker):
                pass

    def worker_gone(self, worker: Worker) -> None:
        """Send the last words of a worker; an empty file is removed."""
        while self._send_news(worker):
            pass
        for tail in self._tails.pop(worker.worker_id, self._open(worker)):
            lines = tail.last()
            if lines:
                self._send(worker, tail.stream, lines)
            try:
                if os.stat(tail.path).st_size == 0:
                    os.unlink(tail.path)
            except OSError:
                continue

    def _look(self) -> None:
        self._timer = None
        news = False
        for worker in list(self.daemon.pool.workers.values()):
            if worker.pid:
                news = self._send_news(worker) is not None or news
        now = monotonic()
        if news:
            self._last_news = now
            self._interval = QUICK
        else:
            self._interval = min(SLOW, self._interval * 1.5)
        if self.daemon.worker_of or now - self._last_news < QUIET:
            self._timer = self.daemon.loop.call_later(self._interval, self._look)

    def _send_news(self, worker: Worker) -> bool | None:
        """None: nothing new. True: there is more to read."""
        news: bool | None = None
        for tail in self._tails.setdefault(worker.worker_id, self._open(worker)):
            before = tail.offset
            lines, more = tail.read()
            if lines:
                self._send(worker, tail.stream, lines)
            if lines or tail.offset != before:
                news = bool(news) or more
        return news

    def _open(self, worker: Worker) -> tuple[_Tail, _Tail]:
        limit, backups = self._limit, self._backups
        return _Tail(worker.stdout_path, "stdout", limit, backups), _Tail(worker.stderr_path, "stderr", limit, backups)

    def _send(self, worker: Worker, stream: str, lines: list[str]) -> None:
        for peer in self._readers(worker.job_id):
            peer.send(op.LOG, [(worker.pid, worker.name, stream, worker.job_id, lines)])

    def _readers(self, job_id: bytes) -> Iterator[Any]:
        job = self.daemon.jobs.get(job_id)
        if job is not None and job.peer is not None and job.info.get("log_to_driver", True):
            yield job.peer
