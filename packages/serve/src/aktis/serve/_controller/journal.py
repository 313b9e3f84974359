"""What survives the controller: one small file per key in a folder of the session.

Guarantees. A key's file is replaced whole (written beside it, then renamed), so a reader sees the old value or the new
one, never half of one. The journal has to survive the death of a process, not of the machine (the session dies with
that), so nothing waits for a disk.

::

    <session>/serve/journal/
        app-<name>          the ApplicationSpec as it was deployed, and how many replicas the autoscaler wanted last
        replicas-<id>       replicas that run: what is needed to adopt them
        settings-...        options of the proxies, with the ports that they got
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

logger = logging.getLogger("aktis.serve")

FORMAT = 1


def encode(value: Any) -> bytes:
    """A value as it is kept.

    Raises what pickling raises, where user code in it (a policy, a user_config) cannot be pickled.
    """
    try:
        return pickle.dumps((FORMAT, value), protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError):
        import cloudpickle  # functions of a driver's __main__ have come by value

        data: bytes = cloudpickle.dumps((FORMAT, value), protocol=5)
        return data


class Journal:
    """A dictionary in a folder. Keys are a kind and a name; values are anything that pickles."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._late: dict[Path, bytes] = {}  # what could not be written yet
        for left in folder.glob("*.new"):  # by a controller that was killed while it wrote
            left.unlink(missing_ok=True)

    def write(self, kind: str, name: str, value: Any) -> None:
        """Keep ``value``; when this returns, a later controller will find it.

        Raises:
            OSError: it cannot be written (the disk is full, mostly); then all is as it was.
        """
        self.write_encoded(kind, {name: encode(value)})

    def write_encoded(self, kind: str, values: dict[str, bytes]) -> None:
        """The same for several that :func:`encode` gave: all of them, or none."""
        paths = {self._path(kind, name): data for name, data in values.items()}
        try:
            for path, data in paths.items():
                _beside(path).write_bytes(data)
        except OSError:
            for path in paths:
                with contextlib.suppress(OSError):
                    _beside(path).unlink(missing_ok=True)
            raise
        for path in paths:
            os.replace(_beside(path), path)
            self._late.pop(path, None)

    def keep(self, kind: str, name: str, value: Any) -> None:
        """Keep ``value`` now, or as soon as that can be done (:meth:`catch_up`): what has happened cannot be refused."""
        data = encode(value)
        try:
            self.write_encoded(kind, {name: data})
        except OSError as error:
            if not self._late:
                logger.error(
                    "The journal in %s cannot be written (%s): a controller that had to go on now would not know all. "
                    "Is the disk full?",
                    self.folder,
                    error,
                )
            self._late[self._path(kind, name)] = data

    def catch_up(self) -> bool:
        """Write what could not be written before. Whether nothing is left of that."""
        for path, data in list(self._late.items()):
            try:
                _beside(path).write_bytes(data)
                os.replace(_beside(path), path)
            except OSError:
                return False
            del self._late[path]
            if not self._late:
                logger.info("The journal is written again")
        return True

    def erase(self, kind: str, name: str) -> None:
        """Forget a value; harmless when there is none."""
        path = self._path(kind, name)
        self._late.pop(path, None)
        path.unlink(missing_ok=True)

    def read(self, kind: str, name: str) -> Any | None:
        """The value, or None when there is none, or it cannot be read any more (that is logged)."""
        try:
            data = self._path(kind, name).read_bytes()
        except FileNotFoundError:
            return None
        try:
            version, value = pickle.loads(data)
        except Exception:  # of user code in it, anything: the rest must come back nevertheless
            logger.exception("What was kept of %s %r cannot be read: it is not continued", kind, name)
            return None
        return value if version == FORMAT else None

    def names(self, kind: str) -> Iterator[str]:
        """Names of all values of a kind."""
        prefix = f"{kind}-"
        for path in sorted(self.folder.glob(f"{prefix}*")):
            if not path.name.endswith(".new"):
                yield unquote(path.name[len(prefix) :])

    def clear(self) -> None:
        """Forget everything."""
        self._late.clear()
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        # quote() leaves dots alone: a dot at the end must not look like a file that is being written.
        return self.folder / f"{kind}-{quote(name, safe='').replace('.', '%2E')}"


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".new")
