"""Worker output: files with a cap, tailed and sent to the drivers that they concern."""

from __future__ import annotations

import os
from itertools import groupby
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._brain.logs import Deduplicator, prefix
from aktis._native import protocol as op
from aktis._native.stdio import MARK
from aktis._node.connections import Peer, complain

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
                import shutil

                shutil.copyfile(self.path, f"{self.path}.1")  # in the kernel, where it can
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
        self._seen: dict[tuple[bytes, str], Deduplicator] = {}  # by job and stream
        self._speakers: dict[tuple[bytes, str], str] = {}  # by worker and stream: whose output it is now
        self._summary: Any = None
        self._window: float = _config.read("DEDUP_LOGS_WINDOW") if _config.read("DEDUP_LOGS") else 0.0
        self._limit: int = _config.read("LOG_FILE_BYTES")
        self._backups: int = _config.read("LOG_FILE_BACKUPS")

    def work_began(self) -> None:
        """A worker got work: there may be output soon."""
        self._last_news = monotonic()
        if self._timer is None:
            self._interval = QUICK
            self._timer = self.daemon.loop.call_later(QUICK, self._look)

    def flush(self) -> None:
        """Send everything that has been written so far, and what was held back as a repetition."""
        for worker in list(self.daemon.pool.workers.values()):
            while self._send_news(worker):
                pass
        for (job_id, stream), lines in self._seen.items():
            self._show(job_id, stream, lines.flush())

    def job_gone(self, job_id: bytes) -> None:
        """Nobody reads the output of this job any more."""
        for key in [key for key in self._seen if key[0] == job_id]:
            del self._seen[key]

    def worker_gone(self, worker: Worker) -> None:
        """Send the last words of a worker; an empty file is removed."""
        while self._send_news(worker):
            pass
        for tail in self._tails.pop(worker.worker_id, self._open(worker)):
            lines = tail.last()
            self._speakers.pop((worker.worker_id, tail.stream), None)
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
        job_id, pid = worker.job_id, worker.pid
        names = self._speakers
        said: list[tuple[str, str]] = []
        for line in lines:
            if line.startswith(MARK):
                names[worker.worker_id, stream] = line[1:].strip()
            else:
                said.append((names.get((worker.worker_id, stream)) or worker.name, line))
        if self._reader(job_id) is None:
            return
        seen = self._seen.get((job_id, stream))
        if seen is None:
            seen = self._seen[job_id, stream] = Deduplicator(self._window)
        now = monotonic()
        self._show(job_id, stream, [shown for name, line in said for shown in seen.add(pid, name, line, now)])
        self._plan_summary()

    def _plan_summary(self) -> None:
        due = [when for seen in self._seen.values() if (when := seen.next_due()) is not None]
        if due and self._summary is None:
            self._summary = self.daemon.loop.call_later(max(0.0, min(due) - monotonic()), self._summarise)

    def _summarise(self) -> None:
        self._summary = None
        now = monotonic()
        for (job_id, stream), seen in self._seen.items():
            self._show(job_id, stream, seen.expire(now))
        self._plan_summary()

    def _show(self, job_id: bytes, stream: str, lines: list[tuple[int, str, str]]) -> None:
        """Send lines to the driver; runs of one process travel together."""
        peer = self._reader(job_id)
        if peer is None or not lines:
            return
        colour = bool(peer.info.get("log_colour"))
        entries = []
        for (pid, name), group in groupby(lines, key=lambda line: line[:2]):
            head = prefix(name, pid, colour)
            entries.append((pid, name, stream, job_id, [f"{head} {line}" for _, _, line in group]))
        peer.send(op.LOG, entries)

    def _reader(self, job_id: bytes) -> Peer | None:
        job = self.daemon.jobs.get(job_id)
        return job.peer if job is not None and job.info.get("log_to_driver", True) else None
