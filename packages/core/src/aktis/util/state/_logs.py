"""Log files of a session."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aktis.util.state._common import DEFAULT_TIMEOUT
from aktis.util.state._queries import get_actor, get_task, get_worker, list_workers

_POLL_SECONDS = 0.25


def logs_folder(address: str | None = None) -> Path:
    """The folder with the log files of the session at ``address``, of this process's session, or of the latest."""
    from aktis import _session

    engine = _session.current
    if engine is not None and address in (None, "auto"):
        session_dir = engine.context().get("session_dir")
        if not session_dir:
            raise FileNotFoundError(
                f"a session in mode {engine.mode!r} has no log files: its output is the program's own"
            )
        return Path(session_dir) / "logs"
    from aktis.cli._client import find_session

    return find_session(address) / "logs"


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> dict[str, list[str]]:
    """Names of the log files by who wrote them ("worker_out", "worker_err", "node", "other")."""
    groups: dict[str, list[str]] = {}
    for path in sorted(logs_folder(address).glob("**/*")):
        if path.is_file() and fnmatch.fnmatch(path.name, glob_filter or "*"):
            groups.setdefault(_group(path.name), []).append(str(path.relative_to(logs_folder(address))))
    return groups


def _group(name: str) -> str:
    if name.startswith("worker"):
        return "worker_err" if name.endswith(".err") else "worker_out"
    return name.split(".")[0].split("-")[0] if name.startswith(("node", "zygote", "driver")) else "other"


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: float = DEFAULT_TIMEOUT,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "replace",
) -> Iterator[str]:
    """The lines of one log file: of ``filename``, or of the process with ``pid``, or that ran an actor or a task.

    ``tail`` is how many lines from the end (-1: all), ``suffix`` "out" or "err"; ``follow`` waits for more for ever.
    """
    if sum(choice is not None for choice in (filename, actor_id, task_id, pid)) != 1:
        raise ValueError("give exactly one of filename, actor_id, task_id and pid")
    if suffix not in ("out", "err"):
        raise ValueError(f"suffix must be 'out' or 'err', not {suffix!r}")
    folder = logs_folder(address)
    if filename is None:
        path = _of_process(address, _pid(address, actor_id, task_id, pid, timeout), suffix, timeout)
    else:
        path = (folder / filename).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{filename!r} is not a file of the session's logs")
        if not path.is_file():
            raise FileNotFoundError(f"there is no log file {filename!r}; list_logs() says which there are")
    return _lines(path, tail, follow, encoding or "utf-8", errors or "replace")


def _pid(address: str | None, actor_id: str | None, task_id: str | None, pid: int | None, timeout: float) -> int:
    if pid is not None:
        return pid
    row: Any = get_actor(actor_id, address, timeout) if actor_id else get_task(task_id, address, timeout)
    what = f"actor {actor_id}" if actor_id else f"task {task_id}"
    if row is None:
        raise ValueError(f"{what} is not known")
    found = row.get("pid") or row.get("worker_pid")
    if not found and row.get("worker_id"):
        worker = get_worker(row["worker_id"], address, timeout)
        found = worker.get("pid") if worker else None
    if not found:
        raise ValueError(f"{what} has not run in any process yet (state {row.get('state')})")
    return int(found)


def _of_process(address: str | None, pid: int, suffix: str, timeout: float) -> Path:
    for row in list_workers(address, [("pid", "=", pid)], timeout=timeout, detail=True):
        path = row.get("stdout" if suffix == "out" else "stderr")
        if path:
            return Path(path)
    raise FileNotFoundError(f"process {pid} has no log file, or has ended; list_logs() says which files there are")


def _lines(path: Path, tail: int, follow: bool, encoding: str, errors: str) -> Iterator[str]:
    with open(path, encoding=encoding, errors=errors) as file:
        lines = file.readlines()
        yield from lines if tail < 0 else lines[len(lines) - min(tail, len(lines)) :]
        while follow:
            line = file.readline()
            if line:
                yield line
            else:
                time.sleep(_POLL_SECONDS)
