"""One line per request, in a file: as text, or as JSON for machines.

Lines are formatted as requests end (a few microseconds each) and written together: each second, or when there are many.
The path has no query: queries carry secrets. Files are rotated by size.
"""

from __future__ import annotations

import json
import logging
import os
from time import localtime, strftime, time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.serve._proxy.exchange import Exchange

logger = logging.getLogger("aktis.serve")

MOST_BYTES = 64 * 1024 * 1024
BACKUPS = 3
MOST_LINES = 2000  # that wait


class AccessLog:
    """See the module's docstring.

    Args:
        path: of the file.
        encoding: "TEXT" or "JSON".
        most_bytes: when the file becomes ``<path>.1``.
    """

    def __init__(self, path: str, encoding: str = "TEXT", most_bytes: int = MOST_BYTES) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.path = path
        self._most_bytes = most_bytes
        self._lines: list[str] = []
        self._second = 0
        self._stamp = ""
        self._format = self._json if encoding == "JSON" else self._text
        self._file = self._open()

    def _open(self) -> Any:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "ab", buffering=0)

    def add(self, ex: Exchange, seconds: float) -> None:
        """A request has ended."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = strftime("%Y-%m-%d %H:%M:%S", localtime(second))
        self._lines.append(self._format(ex, seconds, int((now - second) * 1000)))
        if len(self._lines) >= MOST_LINES:
            self.flush()

    def _text(self, ex: Exchange, seconds: float, millisecond: int) -> str:
        where = "-"
        if ex.route is not None:
            view = ex.route.view
            where = f"{view.app}#{view.deployment}#{ex.replica or '-'}"
        client = ex.client[0] if ex.client else "-"
        path = ex.target.raw_path.decode("latin-1")
        return (
            f"{self._stamp},{millisecond:03d} {ex.request_id} {client} {ex.method} {path} {ex.status} "
            f"{seconds * 1000:.2f}ms {ex.sent}B {where}\n"
        )

    def _json(self, ex: Exchange, seconds: float, millisecond: int) -> str:
        view = ex.route.view if ex.route is not None else None
        line = {
            "time": f"{self._stamp},{millisecond:03d}",
            "request_id": ex.request_id,
            "client": ex.client[0] if ex.client else "",
            "method": ex.method,
            "path": ex.target.raw_path.decode("latin-1"),
            "route": view.prefix if view else "",
            "application": view.app if view else "",
            "deployment": view.deployment if view else "",
            "replica": ex.replica,
            "status": ex.status,
            "latency_ms": round(seconds * 1000, 3),
            "bytes_in": ex.body_bytes,
            "bytes_out": ex.sent,
            "http_version": ex.http_version,
        }
        return json.dumps(line, separators=(",", ":")) + "\n"

    def flush(self) -> None:
        """Writes what waits. A disk that is full costs lines, not requests."""
        if not self._lines:
            return
        data = "".join(self._lines).encode("utf-8", "replace")
        self._lines.clear()
        try:
            self._file.write(data)
            if self._file.tell() > self._most_bytes:
                self._rotate()
        except OSError as error:
            logger.warning("the access log %s cannot be written: %s", self.path, error)

    def _rotate(self) -> None:
        for number in range(BACKUPS - 1, 0, -1):
            if os.path.exists(f"{self.path}.{number}"):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.replace(self.path, f"{self.path}.1")
        self._file.close()
        self._file = self._open()

    def close(self) -> None:
        """Writes what waits, and ends."""
        self.flush()
        self._file.close()
