"""End sessions from outside: SIGTERM, which makes a node end its session in good order, then SIGKILL.

A process is only signalled when the kernel says that it is the one that listens at the session's socket and that it
is ours, and through a descriptor of that very process (where there is none, by its number and its start), so that it does
no harm if its number was given to another one meanwhile.
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
        process = _open_process(pid)
        if process is None:
            return "killed" if force else "ended"
        try:
            if not force:
                process.signal(signal.SIGTERM)
                if process.ended(_TERMINATE_SECONDS):
                    return "ended"
            process.signal(signal.SIGKILL)
            if not process.ended(_KILL_SECONDS):
                raise RuntimeError(f"process {pid} of the session in {folder} can't be ended")
            return "killed"
        finally:
            process.close()


class _ByName:
    """A process by its number and its start, for systems without descriptors of processes."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._errors = psutil.Error

    def signal(self, number: signal.Signals) -> None:
        try:
            self._process.send_signal(number)
        except self._errors:
            pass  # it has ended

    def ended(self, timeout: float) -> bool:
        try:
            self._process.wait(timeout)
        except self._errors:  # time is up
            return not self._process.is_running()
        return True

    def close(self) -> None:
        pass


class _ByDescriptor:
    """A process by a descriptor of it, which never means another one."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            pass

    def ended(self, timeout: float) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)  # readable when the process has ended
        return bool(poll.poll(timeout * 1000))

    def close(self) -> None:
        os.close(self._descriptor)


def _open_process(pid: int) -> _ByDescriptor | _ByName | None:
    """A handle of a process; None when it has ended."""
    if hasattr(os, "pidfd_open"):
        try:
            return _ByDescriptor(pid)
        except ProcessLookupError:
            return None
    import psutil

    try:
        return _ByName(pid)
    except psutil.NoSuchProcess:
        return None
