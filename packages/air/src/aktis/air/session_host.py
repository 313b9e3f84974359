"""The other side of :mod:`aktis.air.session`: who answers what the user's function asks.

A library that runs a user's function in a thread installs a host in that thread, and uninstalls it when the function is
done::

    with session_host.installed(host):
        function(config)

Guarantees

- A thread with a host of its own sees that one; with several, the one installed last.
- A thread without (the user started it) sees the host of the process, if all hosts were installed by one thread: its latest.
  Where the trials of several threads share a process, such a thread has no host, since nobody can tell whose it is:
  ``session_host.attach(host)`` in it says so.
- After :func:`uninstall`, from any thread, no thread sees the host.

One lock guards the list of hosts; it is held for a few instructions and no other lock is taken under it.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import SessionError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["SessionHost", "attach", "current", "install", "installed", "uninstall"]


class SessionHost(ABC):
    """What answers the functions of :mod:`aktis.air.session`, one method each."""

    @abstractmethod
    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        """Hand on metrics, which are checked, and a checkpoint; return when the function may go on.

        To end the function, raise ``SystemExit`` (or a subclass) from here.
        """

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, which goes with the next report, or with the end of the function."""
        raise SessionError(
            "train.save_checkpoint is for the training loop of a trainer; elsewhere a checkpoint goes with its metrics: "
            "session.report(metrics, checkpoint=...)"
        )

    @abstractmethod
    def get_checkpoint(self) -> Checkpoint | None:
        """The checkpoint to go on from."""

    @abstractmethod
    def get_experiment_name(self) -> str | None:
        """Name of the experiment; None outside of one."""

    @abstractmethod
    def get_trial_name(self) -> str | None:
        """Name of the trial; None outside of one."""

    @abstractmethod
    def get_trial_id(self) -> str | None:
        """Id of the trial; None outside of one."""

    @abstractmethod
    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """What the trial was given; None outside of one."""

    @abstractmethod
    def get_trial_dir(self) -> str | None:
        """The trial's directory; None outside of one."""

    # A function that runs alone is rank 0 of 1.

    def get_world_size(self) -> int:
        """How many workers run the function."""
        return 1

    def get_world_rank(self) -> int:
        """Which of them this one is."""
        return 0

    def get_local_rank(self) -> int:
        """Which of those on its machine this one is."""
        return 0

    def get_local_world_size(self) -> int:
        """How many of them are on this machine."""
        return 1

    def get_node_rank(self) -> int:
        """Which of the machines this one is."""
        return 0

    def get_metadata(self) -> dict[str, Any]:
        """What the user told the trainer to keep with the run."""
        return {}

    def get_dataset_shard(self, dataset_name: str | None = None) -> Any:
        """This worker's part of a data set."""
        raise SessionError(
            "session.get_dataset_shard is for the training loop of a trainer that was given datasets=...; "
            "here is none: read the data in this function, or pass it with tune.with_parameters"
        )


_lock = threading.Lock()
_hosts: list[tuple[SessionHost, int]] = []  # in the order of installation, with the thread that did it


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack: list[SessionHost] = []


_thread = _Thread()


def install(host: SessionHost) -> None:
    """Make ``host`` answer in this thread, and in threads without a host of their own (see the module)."""
    if not isinstance(host, SessionHost):
        raise TypeError(f"a host must be an instance of SessionHost, not {host!r}")
    _thread.stack.append(host)
    with _lock:
        _hosts.append((host, threading.get_ident()))


def uninstall(host: SessionHost) -> None:
    """Undo :func:`install`, from any thread. Does nothing if it is not installed."""
    with _lock:
        _hosts[:] = [entry for entry in _hosts if entry[0] is not host]
    _thread.stack[:] = [entry for entry in _thread.stack if entry is not host]


def attach(host: SessionHost) -> None:
    """Let this thread, which runs beside the one that installed it, see ``host`` for as long as it is installed."""
    _thread.stack.append(host)


def current() -> SessionHost | None:
    """The host that answers here; None outside of a session."""
    stack = _thread.stack
    while stack:
        if _is_installed(stack[-1]):
            return stack[-1]
        stack.pop()
    with _lock:
        if not _hosts or any(thread != _hosts[0][1] for _, thread in _hosts):
            return None
        return _hosts[-1][0]


@contextlib.contextmanager
def installed(host: SessionHost) -> Iterator[SessionHost]:
    """:func:`install` for the duration of a block."""
    install(host)
    try:
        yield host
    finally:
        uninstall(host)


def _is_installed(host: SessionHost) -> bool:
    with _lock:
        return any(entry[0] is host for entry in _hosts)
