"""End sessions from outside: ask first, then SIGTERM, then SIGKILL.

A process is only signalled when the kernel says that it is the one that listens at the session's socket and that it
is ours, and through a descriptor of that very process, so that it does no harm if its number was given to another
one meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from aktis.cli._client import NodeClient, NoSessionError, SessionRequestError

_ASK_SECONDS = 5.0
_TERMINATE_SECONDS = 5.0
_KILL_SECONDS = 3.0


def stop_session(folder: Path, force: bool) -> str:
    """End one session; how it went. Raises NoSessionError when it runs not (any more)."""
    with NodeClient(folder, timeout=_ASK_SECONDS) as client:
        pid = client.node_pid
        descriptor = _open_process(pid)
        try:
            if not force:
                _ask(client)
                if _ended(descriptor, _ASK_SECONDS):
                    return "ended"
                _signal(descriptor, pid, signal.SIGTERM)
                if _ended(descriptor, _TERMINATE_SECONDS):
                    return "ended after SIGTERM"
            _signal(descriptor, pid, signal.SIGKILL)
            if not _ended(descriptor, _KILL_SECONDS):
                raise RuntimeError(f"process {pid} of the session in {folder} can't be ended")
            return "killed"
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _ask(client: NodeClient) -> None:
    try:
        client.request("shutdown", text="aktis stop")
    except (NoSessionError, TimeoutError):  # it ended before it could answer, or it hangs
        pass
    except (SessionRequestError, ValueError, LookupError):  # a node that knows no such request
        pass


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
