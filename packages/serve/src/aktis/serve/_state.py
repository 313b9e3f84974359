"""Where the commands find a service that runs: one small file per host process, in a directory of this user's.

``serve start`` and ``serve run`` write ``<pid>.json`` when they are ready, and remove it when they end. A file whose process is
gone is not believed, and removed. The directory is ``AKTIS_SERVE_STATE_DIR``, or ``aktis-serve`` in ``XDG_RUNTIME_DIR``, or
``aktis-serve-<uid>`` in the system's temporary directory; mode 0700, and of this user, or it is not used.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aktis.serve import _settings
from aktis.util.files import private_folder, write_whole
from aktis.util.processes import started


class UnsafeDirectoryError(PermissionError):
    """The directory of states belongs to somebody else, or others may write to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """A process that serves, and where."""

    pid: int
    born: int  # start time of the process in ticks since boot: tells it from a later one with the same pid
    rest: str  # http://127.0.0.1:52365
    http: list[str] = field(default_factory=list)  # where requests go
    grpc: list[str] = field(default_factory=list)
    session: str = ""
    log: str = ""
    token: str = ""  # what the REST API wants to see, if it wants any
    started: float = 0.0
    kind: str = "start"  # the command


def state_directory() -> Path:
    """The directory, made if need be."""
    chosen = _settings.STATE_DIR.read()
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if chosen:
        folder = Path(chosen)
    elif runtime and os.path.isdir(runtime) and os.access(runtime, os.W_OK):
        folder = Path(runtime, "aktis-serve")
    else:
        folder = Path(tempfile.gettempdir(), f"aktis-serve-{os.getuid()}")
    try:
        return private_folder(folder, f"choose another one with {_settings.STATE_DIR.full}")
    except PermissionError as error:
        raise UnsafeDirectoryError(str(error)) from None


def write_state(state: HostState) -> Path:
    """Let the commands find this process."""
    path = state_directory() / f"{state.pid}.json"
    write_whole(path, json.dumps(asdict(state)), durable=True, mode=0o600)
    return path


def remove_state(pid: int) -> None:
    """They shall not find it any more."""
    with contextlib.suppress(OSError):
        (state_directory() / f"{pid}.json").unlink()


def living_hosts() -> list[HostState]:
    """Those that run, the newest last."""
    found = []
    for path in state_directory().glob("*.json"):
        try:
            state = HostState(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # going away just now, or of another version
            continue
        if started(state.pid) == state.born:
            found.append(state)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return sorted(found, key=lambda state: state.started)
