"""Directories to and from URIs: at once, or in the background while a run goes on.

::

    the run's thread                          a daemon thread per transfer
    sync_up(local, uri) ── starts ──────────▶ copies what changed since the last time, file by file
    wait()              ◀── result, error ──  ends; checks between files whether it was given up

Guarantees

- A syncer does one thing at a time: a second transfer is refused (False) while one runs.
- A file appears at the URI whole, or not at all; the file that says that a checkpoint is whole comes last.
- After ``sync_timeout`` seconds ``wait`` raises and the transfer is given up: its thread ends with the file that it is at, and
  nothing that it does afterwards is believed.
- Errors name the file and the URI.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air._settings import RESULTS_DIR
from aktis.air._uri import file_uri, is_uri, join, local_path
from aktis.air.exceptions import StorageError, StorageTimeoutError

if TYPE_CHECKING:
    from aktis.air.config import SyncConfig

__all__ = [
    "FsspecSyncer",
    "Syncer",
    "check_uri",
    "default_results_dir",
    "delete",
    "download",
    "download_file",
    "exists",
    "file_states",
    "file_uri",
    "get_node_to_storage_syncer",
    "is_uri",
    "join",
    "list_files",
    "local_path",
    "upload",
]

logger = logging.getLogger(__name__)

TEMPORARY_FILES = (".*.tmp",)  # what this package writes before it has its name
_LAST = "/.aktis_checkpoint/checkpoint.json"


def default_results_dir() -> str:
    """Where runs and experiments go that name no directory: ``~/aktis_results``, unless ``AKTIS_RESULTS_DIR`` says otherwise.

    Ray's names for it, ``TUNE_RESULT_DIR`` and ``TEST_TMPDIR``, count as well.
    """
    return os.path.expanduser(str(RESULTS_DIR.read()))


# -- at once -------------------------------------------------------------------------------------------------------------


def check_uri(uri: str, what: str = "uri") -> None:
    """Raise ValueError unless ``uri`` is one that fsspec knows (ModuleNotFoundError, if it lacks a package for it)."""
    from aktis.air import _transfer

    _transfer.open_uri(uri, what)


def upload(local_dir: str | os.PathLike[str], uri: str, exclude: Sequence[str] | None = None) -> None:
    """Copy a directory to a URI; files that are there and not in the directory stay.

    Args:
        local_dir: The directory.
        uri: Where to.
        exclude: Patterns of paths to leave out (``"*/checkpoint_*"``).

    Raises:
        FileNotFoundError: there is no such directory.
        StorageError: copying failed; names the file.
    """
    _copy_up(os.fspath(local_dir), uri, exclude, {}, False, lambda: False)


def download(uri: str, local_dir: str | os.PathLike[str], exclude: Sequence[str] | None = None) -> None:
    """Copy what is at a URI into a directory; files that are there already stay.

    Raises:
        CheckpointNotFoundError: (a FileNotFoundError) there is nothing.
        StorageError: copying failed; names the file.
    """
    from aktis.air import _transfer

    _transfer.download_dir(uri, os.fspath(local_dir), exclude)


def download_file(uri: str, name: str, target: str | os.PathLike[str]) -> None:
    """Copy one file below a URI, by its path there, to a path of this machine.

    Raises:
        StorageError: copying failed, or there is none.
    """
    from aktis.air import _transfer

    _transfer.download_file(uri, name, os.fspath(target))


def delete(uri: str) -> bool:
    """Delete what is at a URI, and below; False when there is nothing."""
    from aktis.air import _transfer

    return _transfer.delete(uri)


def list_files(uri: str) -> dict[str, int]:
    """Path and size of all files below a URI; {} when there are none."""
    from aktis.air import _transfer

    return _transfer.list_files(uri)


def file_states(local_dir: str | os.PathLike[str], exclude: Sequence[str] | None = None) -> dict[str, tuple[int, int]]:
    """The files of a directory: path in it, and size and time of change, by which a change is noticed."""
    from aktis.air import _transfer

    return _transfer.living_files(os.fspath(local_dir), exclude)


def exists(uri: str) -> bool:
    """Whether there is anything at a URI."""
    from aktis.air import _transfer

    return _transfer.exists(uri)


# -- in the background ---------------------------------------------------------------------------------------------------


class Syncer(ABC):
    """Copies directories to and from a place that other machines can reach.

    The methods that transfer start it and return True; False, if something else is under way. :meth:`wait` waits for the end.
    A syncer of your own goes into ``SyncConfig(upload_dir=..., syncer=...)``. Its ``sync_up`` adds and replaces files: what is at
    the URI and not in the directory stays, since one place is filled from several directories. Only ``delete`` deletes.

    Args:
        sync_period: Seconds between two transfers by :meth:`sync_up_if_needed`.
        sync_timeout: Seconds that a transfer may take.
    """

    def __init__(self, sync_period: float = 300.0, sync_timeout: float = 1800.0) -> None:
        self.sync_period = sync_period
        self.sync_timeout = sync_timeout
        self.last_sync_up_time = float("-inf")
        self.last_sync_down_time = float("-inf")

    @abstractmethod
    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        """Copy a directory to a URI."""

    @abstractmethod
    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        """Copy what is at a URI into a directory."""

    @abstractmethod
    def delete(self, remote_dir: str) -> bool:
        """Delete what is at a URI."""

    def wait(self) -> None:
        """Wait for the end of what is under way; raises what went wrong in it."""

    def retry(self) -> None:
        """Do again what was done last, in the background."""
        raise NotImplementedError(f"{type(self).__name__} cannot repeat a transfer: define retry()")

    def wait_or_retry(self, max_retries: int = 3, backoff_s: float = 5) -> None:
        """Wait; if that fails, try again.

        Args:
            max_retries: How often it is tried in all.
            backoff_s: Seconds before each further try.

        Raises:
            StorageError: it failed each time; ``__cause__`` is the last failure.
        """
        if max_retries < 1:
            raise ValueError(f"max_retries must be 1 or more, not {max_retries!r}")
        for attempt in range(max_retries):
            try:
                self.wait()
                return
            except Exception as error:
                if attempt + 1 == max_retries:
                    raise StorageError(f"a transfer failed {max_retries} times, at last: {error}") from error
                logger.warning("a transfer failed and is tried again in %s s: %s", backoff_s, error)
                time.sleep(backoff_s)
                self.retry()

    def sync_up_if_needed(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        """:meth:`sync_up`, unless the last one was less than ``sync_period`` ago."""
        now = self._now()
        if now - self.last_sync_up_time < self.sync_period:
            return False
        started = self.sync_up(local_dir, remote_dir, exclude)
        if started:
            self.last_sync_up_time = now
        return started

    def sync_down_if_needed(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        """:meth:`sync_down`, unless the last one was less than ``sync_period`` ago."""
        now = self._now()
        if now - self.last_sync_down_time < self.sync_period:
            return False
        started = self.sync_down(remote_dir, local_dir, exclude)
        if started:
            self.last_sync_down_time = now
        return started

    def reset(self) -> None:
        """Forget when the last transfers were."""
        self.last_sync_up_time = self.last_sync_down_time = float("-inf")

    def close(self) -> None:
        """Let go of what the syncer holds; it is not used any more."""

    def _now(self) -> float:
        return time.monotonic()


class FsspecSyncer(Syncer):
    """Copies with fsspec, in a thread: only what changed, whatever fsspec has a file system for."""

    def __init__(self, sync_period: float = 300.0, sync_timeout: float = 1800.0) -> None:
        super().__init__(sync_period, sync_timeout)
        self._transfer: _Transfer | None = None
        self._last: tuple[Callable[..., None], tuple[Any, ...], str] | None = None
        self._uploaded: dict[
            tuple[str, str], dict[str, tuple[int, int]]
        ] = {}  # what the files were when they were copied
        self._doubted: set[tuple[str, str]] = set()  # of these it is to be seen whether they are still there

    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        key = (os.path.abspath(local_dir), remote_dir)
        known = self._uploaded.setdefault(key, {})
        args = (local_dir, remote_dir, exclude, known, key in self._doubted)
        started = self._start(_copy_up, args, f"copying {local_dir} to {remote_dir}")
        if started:
            self._doubted.discard(key)
        return started

    def doubt(self) -> None:
        """Have the next :meth:`sync_up` see what is really there, and copy again what somebody has deleted."""
        self._doubted |= self._uploaded.keys()

    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        return self._start(_copy_down, (remote_dir, local_dir, exclude), f"copying {remote_dir} to {local_dir}")

    def delete(self, remote_dir: str) -> bool:
        return self._start(_delete, (remote_dir, self._uploaded), f"deleting {remote_dir}")

    def _start(self, function: Callable[..., None], args: tuple[Any, ...], what: str) -> bool:
        running = self._transfer
        if running is not None and running.is_running:
            if time.monotonic() - running.started < self.sync_timeout:
                logger.warning("%s was not started, since %s is still under way", what, running.what)
                return False
            logger.error("%s took longer than %s s and is given up", running.what, self.sync_timeout)
            self.close()
        elif running is not None and running.error is not None:
            logger.error("%s failed: %s", running.what, running.error)
        self._last = (function, args, what)
        self._transfer = _Transfer(function, args, what)
        return True

    def adopt(self, local_dir: str, remote_dir: str, files: Mapping[str, tuple[int, int]]) -> None:
        """Take for granted that these files are the same at both places, as long as they stay as they are.

        Args:
            local_dir: The directory.
            remote_dir: The URI that it is copied to.
            files: What :func:`file_states` said of them then.
        """
        self._uploaded.setdefault((os.path.abspath(local_dir), remote_dir), {}).update(files)

    def wait(self) -> None:
        """Wait for the end of what is under way.

        Raises:
            StorageTimeoutError: it took longer than ``sync_timeout``.
            StorageError: it failed.
        """
        transfer = self._transfer
        if transfer is None:
            return
        self._transfer = None
        left = transfer.started + self.sync_timeout - time.monotonic()
        if not transfer.done.wait(max(left, 0)):
            self._give_up(transfer)
            raise StorageTimeoutError(
                f"{transfer.what} took longer than {self.sync_timeout} s and was given up: "
                "raise SyncConfig(sync_timeout=...) if it needs more"
            )
        if transfer.error is not None:
            self.doubt()
            raise transfer.error

    def retry(self) -> None:
        """Do again what was done last.

        Raises:
            StorageError: nothing was done yet.
        """
        if self._last is None:
            raise StorageError("there is nothing to retry: no transfer was started yet")
        self._start(*self._last)

    def reset(self) -> None:
        super().reset()
        self.close()
        self._last = None
        self._uploaded = {}

    def close(self) -> None:
        """Give up what is under way."""
        if self._transfer is not None:
            self._give_up(self._transfer)
            self._transfer = None

    def _give_up(self, transfer: _Transfer) -> None:
        transfer.give_up()
        self._uploaded = {}  # its thread may still write what it believes into the old one

    def __getstate__(self) -> dict[str, Any]:
        # Transfers stay where they are; the copy starts afresh.
        return {**self.__dict__, "_transfer": None, "_last": None, "_uploaded": {}, "_doubted": set()}

    def __repr__(self) -> str:
        return f"FsspecSyncer(sync_period={self.sync_period}, sync_timeout={self.sync_timeout})"


class _Transfer:
    """One transfer and its thread."""

    def __init__(self, function: Callable[..., None], args: tuple[Any, ...], what: str) -> None:
        self.what = what
        self.started = time.monotonic()
        self.done = threading.Event()
        self.error: BaseException | None = None
        self._given_up = threading.Event()
        thread = threading.Thread(target=self._run, args=(function, args), name="aktis-syncer", daemon=True)
        thread.start()

    @property
    def is_running(self) -> bool:
        return not self.done.is_set()

    def give_up(self) -> None:
        self._given_up.set()

    def _run(self, function: Callable[..., None], args: tuple[Any, ...]) -> None:
        try:
            function(*args, self._given_up.is_set)
        except BaseException as error:  # whoever waits gets it
            self.error = error
        finally:
            self.done.set()


def _copy_up(
    local_dir: str,
    uri: str,
    exclude: Sequence[str] | None,
    known: dict[str, tuple[int, int]],
    doubtful: bool,
    given_up: Callable[[], bool],
) -> None:
    """Copy what is new or changed.

    ``known``: what was copied before, as (size, time of change). ``doubtful``: whether it may not be there any more.
    """
    from aktis.air import _transfer

    if not os.path.isdir(local_dir):
        raise FileNotFoundError(f"there is no directory {local_dir} to copy to {uri}")
    files = _transfer.living_files(local_dir, [*(exclude or ()), *TEMPORARY_FILES])
    there = {} if known and not doubtful else _transfer.list_times(uri)
    if doubtful:
        for name in [name for name, (size, _) in known.items() if there.get(name, (-1, 0.0))[0] != size]:
            del known[name]
    changed = [
        name for name, status in files.items() if known.get(name) != status and not _is_there(status, there.get(name))
    ]
    unchanged = {name: files[name] for name in files if name not in set(changed)}
    known.clear()
    known.update(unchanged)
    if not changed and not unchanged:
        _transfer.upload_files(local_dir, uri, [])  # so that the place exists
    for group in _in_order(changed):
        copied: list[str] = []
        try:
            _transfer.upload_files(local_dir, uri, group, given_up, copied)
        finally:  # what was copied before a failure is not copied again
            known.update((name, files[name]) for name in copied)


def _in_order(names: list[str]) -> list[list[str]]:
    """First all that may come in any order, then what says that a checkpoint is whole."""
    last = [name for name in names if f"/{name}".endswith(_LAST)]
    groups = [[name for name in names if name not in set(last)], last]
    return [group for group in groups if group]


def _is_there(status: tuple[int, int], there: tuple[int, float] | None) -> bool:
    """Whether a copy has the size of the file, and is newer, whatever the clocks."""
    from aktis.air import _transfer

    return there is not None and there[0] == status[0] and (there[1] - _transfer.CLOCK_SKEW_S) * 1e9 >= status[1]


def _copy_down(uri: str, local_dir: str, exclude: Sequence[str] | None, given_up: Callable[[], bool]) -> None:
    from aktis.air import _transfer

    _transfer.download_dir(uri, local_dir, exclude, given_up, only_changed=True)


def _delete(
    uri: str, uploaded: dict[tuple[str, str], dict[str, tuple[int, int]]], given_up: Callable[[], bool]
) -> None:
    from aktis.air import _transfer

    for (_, place), known in uploaded.items():
        below = f"{uri.rstrip('/')}/".removeprefix(f"{place.rstrip('/')}/")
        if f"{place.rstrip('/')}/".startswith(f"{uri.rstrip('/')}/"):
            known.clear()
        elif not is_uri(below):  # a part of what was copied
            for name in [name for name in known if name.startswith(below)]:
                del known[name]
    _transfer.delete(uri)


# -- which ---------------------------------------------------------------------------------------------------------------


def get_node_to_storage_syncer(sync_config: SyncConfig, upload_dir: str | None = None) -> Syncer | None:
    """What copies results to ``sync_config.upload_dir`` (or to ``upload_dir``, which goes before it); None: nothing does.

    Raises:
        ValueError: nothing knows the scheme of the URI; ``syncer`` is None although there is an upload_dir, is a syncer of your
            own although there is none, or is something else.
    """
    target = upload_dir or sync_config.upload_dir
    syncer = sync_config.syncer
    if not isinstance(syncer, Syncer) and syncer not in ("auto", None):
        raise ValueError(f"syncer must be 'auto', None or an instance of Syncer, not {syncer!r}")
    if not target:
        if isinstance(syncer, Syncer):
            raise ValueError(
                f"{syncer!r} has nowhere to copy to: set SyncConfig(upload_dir=...), or RunConfig(storage_path=...)"
            )
        return None
    if syncer is None:
        raise ValueError(
            f"upload_dir={target!r} asks for copies, but syncer=None forbids them: leave upload_dir out, or set syncer to "
            "'auto' or to a Syncer of your own"
        )
    if isinstance(syncer, Syncer):
        return syncer
    check_uri(target, "upload_dir")
    return FsspecSyncer(sync_config.sync_period, sync_config.sync_timeout)
