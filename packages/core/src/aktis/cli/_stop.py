"""End sessions from outside: SIGTERM, which makes a node end its session in good order, then SIGKILL.

A process is only signalled when the kernel says that it is the one that listens at the session's socket and that it
is ours, and through a descriptor of that very process, so that it does no harm if its number was given to another
one meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from aktis.cli._client import NodeClient

_TERMINATE_SECONDS = 15.0  # a node gives its workers some of these to end in good order
_KILL_SECONDS = 3.0


def stop_session(folder: Path, force: bool) -> str:
    """End one session; how it went. Raises NoSessionError when it runs not (any more)."""
    with NodeClient(folder, timeout=_TERMINATE_SECONDS) as client:
        pid = client.node_pid
        descriptor = _open_process(pid)
        try:
            if not force:
                _signal(descriptor, pid, signal.SIGTERM)
                if _ended(descriptor, _TERMINATE_SECONDS):
                    return "ended"
            _signal(descriptor, pid, signal.SIGKILL)
            if not _ended(descriptor, _KILL_SECONDS):
                raise RuntimeError(f"process {pid} of the session in {folder} can't be ended")
            return "killed"
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _signal(descriptor: int | None, pid: int, number: signal.Signals) -> None:
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass


def _ended(descriptor: int | None, timeout: float) -> bool:
    if descriptor is None:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)  # readable when the process has ended
    return bool(poll.poll(timeout * 1000))
