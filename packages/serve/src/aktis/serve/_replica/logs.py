"""Logs of a replica: a file in the session's folder; each line says which deployment, which replica and which request.

User code logs with ``logging.getLogger("aktis.serve")`` (programs of Ray: "ray.serve").
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any

from aktis.serve._protocol import ReplicaID
from aktis.serve.config import LoggingConfig
from aktis.serve.context import request_context

LOGGER = logging.getLogger("aktis.serve")
_NAMES = ("aktis.serve", "ray.serve")


def set_up(config: LoggingConfig | None, replica: ReplicaID, folder: str | None) -> str | None:
    """Writes the logs of this process as ``config`` says. ``folder``: where, unless it says so itself; returns the file."""
    config = config or LoggingConfig()
    formatter = _Json(replica, config) if config.encoding == "JSON" else _Text(replica)
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.setLevel(config.level)
        for old in [each for each in logger.handlers if isinstance(each, (_File, _Console))]:
            logger.removeHandler(old)
            old.close()
    folder = config.logs_dir or folder
    if folder is None:
        return None
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(
        folder, "replica_" + "_".join(str(part).replace(os.sep, "_") for part in replica if part) + ".log"
    )
    console = _Console()  # core shows it in the driver
    console.setLevel(logging.WARNING)
    for handler in (_File(path, delay=True), console):
        handler.setFormatter(formatter)
        for name in _NAMES:
            logging.getLogger(name).addHandler(handler)
    return path


class _File(logging.FileHandler):
    """Ours, to be known when the configuration changes."""


class _Console(logging.StreamHandler):  # type: ignore[type-arg] # it is generic for type checkers only
    """Ours, likewise."""


def _request_of(record: logging.LogRecord) -> tuple[str, str]:
    meta = request_context.get()
    if meta is None:
        return "", ""
    return meta.request_id, meta.route


class _Text(logging.Formatter):
    def __init__(self, replica: ReplicaID) -> None:
        super().__init__()
        self._replica = str(replica)

    def format(self, record: logging.LogRecord) -> str:
        request_id, _ = _request_of(record)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        where = f"{record.filename}:{record.lineno}"
        asked = f"{request_id} " if request_id else ""
        text = (
            f"{record.levelname} {when},{int(record.msecs):03d} {self._replica} {asked}{where} - {record.getMessage()}"
        )
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _Json(logging.Formatter):
    def __init__(self, replica: ReplicaID, config: LoggingConfig) -> None:
        super().__init__()
        self._replica = replica
        self._more = tuple(config.additional_log_standard_attrs)

    def format(self, record: logging.LogRecord) -> str:
        request_id, route = _request_of(record)
        line: dict[str, Any] = {
            "asctime": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "application": self._replica.app,
            "deployment": self._replica.deployment,
            "replica": str(self._replica),
            "process": os.getpid(),
        }
        if request_id:
            line["request_id"] = request_id
        if route:
            line["route"] = route
        for name in self._more:
            line.setdefault(name, getattr(record, name, None))
        if record.exc_info:
            line["exc_text"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
