"""The journal of an experiment: what happened, in order, in one SQLite file, and now and then a snapshot of what it led to.

```
 experiment.sqlite
   meta       format, version of the library, creation time
   events     seq, kind, trial, time, data (JSON)          append-only
   trials     one row per trial, as of the snapshot        only rows that changed are written
   snapshots  named parts (brain, search, callbacks)       pickled, all of the same seq
```

Guarantees: a transaction is whole or not there (SQLite in WAL mode); what ``commit`` returned from survives a kill of this
process; others may read at any time. What a crash of the machine may cost is the last moments, never consistency.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from aktis.tune.error import ExperimentDirectoryError, TuneError

FILE_NAME = "experiment.sqlite"
FORMAT = 1
DOWNLOADED = "downloaded"  # in meta: when the journal was copied from another place; "" when a run has gone on since

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, trial TEXT, time REAL NOT NULL, data TEXT);
CREATE TABLE trials (trial TEXT PRIMARY KEY, number INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE snapshots (part TEXT PRIMARY KEY, seq INTEGER NOT NULL, data BLOB);
"""

_INSERT = "INSERT INTO events (kind, trial, time, data) VALUES (?, ?, ?, ?)"


class Record(NamedTuple):
    """One event as it is stored."""

    seq: int
    kind: str
    trial_id: str | None
    time: float
    data: str | None


class Journal:
    """An open journal. One writer; its connection belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self.path = path
        self.told_of_big_rows = False
        self._db = connection
        self._rows: list[tuple[str, str | None, float, str | None]] = []
        found = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        self.last_seq: int = found or 0

    @classmethod
    def create(cls, directory: str, version: str) -> Journal:
        """Begin a journal in a directory that has none."""
        path = os.path.join(directory, FILE_NAME)
        if os.path.exists(path):
            raise ExperimentDirectoryError(
                f"{directory} holds an experiment already: choose another name, or go on with it by "
                f"Tuner.restore({directory!r}) or tune.run(..., resume=True)"
            )
        connection = _connect(path)
        connection.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        meta = {"format": str(FORMAT), "version": version, "created": repr(time.time())}
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
        return cls(connection, path)

    @classmethod
    def open(cls, directory: str, *, read_only: bool = False) -> Journal:
        """Open the journal of an experiment.

        Raises:
            ExperimentDirectoryError: there is none, it is damaged, or a newer version of the library wrote it.
        """
        path = os.path.join(directory, FILE_NAME)
        if not os.path.isfile(path):
            raise ExperimentDirectoryError(
                f"{directory} holds no {FILE_NAME}: no experiment of aktis.tune was written there"
            )
        try:
            connection = _connect(path, read_only)
            row = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
            if row is None:
                raise ExperimentDirectoryError(f"{path} has no format number: the run ended before it began")
            number = int(row[0])
            journal = cls(connection, path)
        except (sqlite3.DatabaseError, ValueError) as error:
            if isinstance(error, ExperimentDirectoryError):
                raise
            raise ExperimentDirectoryError(f"{path} cannot be read ({error}): it is damaged, or not ours") from error
        if number > FORMAT:
            raise ExperimentDirectoryError(
                f"{path} has format {row[0]}, and this version of aktis-tune knows formats up to {FORMAT}: "
                "a newer version wrote it, so upgrade (pip install -U aktis-tune)"
            )
        return journal

    def check(self) -> None:
        """Read all of it.

        Raises:
            ExperimentDirectoryError: it is damaged.
        """
        try:
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise damaged(self.path, found)

    # -- writing ----------------------------------------------------------------------------------

    def append(self, kind: str, trial_id: str | None, now: float, data: str | None = None) -> None:
        """Add an event to the transaction that :meth:`commit` writes."""
        self._rows.append((kind, trial_id, now, data))

    def commit(self) -> None:
        """Write what was appended. When this returns it survives the end of this process."""
        rows = self._rows
        if not rows:
            return
        count = len(rows)
        self._rows = []  # what cannot be written has not happened
        try:
            if count == 1:  # a transaction of its own, without two more statements
                self._db.execute(_INSERT, rows[0])
            else:
                with self._transaction():
                    self._db.executemany(_INSERT, rows)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error
        self.last_seq += count

    def discard(self) -> None:
        """Drop what was appended and not committed."""
        self._rows.clear()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _unwritable(self, error: sqlite3.Error) -> TuneError:
        return TuneError(
            f"the journal {self.path} cannot be written to ({error}): the run cannot go on. When there is space, and the file may "
            "be written to, the run can be resumed with all that was in the journal before"
        )

    def write_snapshot(self, parts: Mapping[str, bytes], trials: Iterable[tuple[str, int, str]]) -> None:
        """Keep the state after the last event: its parts, and the trials that changed since the last snapshot."""
        self.commit()
        rows = [(part, self.last_seq, data) for part, data in parts.items()]
        try:
            with self._transaction():
                self._db.executemany("INSERT OR REPLACE INTO trials VALUES (?, ?, ?)", trials)
                self._db.execute("DELETE FROM snapshots")
                self._db.executemany("INSERT INTO snapshots VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._unwritable(error) from error

    def set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def last_time(self) -> float | None:
        """When the last event happened."""
        row = self._db.execute("SELECT time FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return row[0] if row is not None else None

    # -- reading ----------------------------------------------------------------------------------

    def meta(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT key, value FROM meta"))

    def events(self, after: int = 0, kinds: Iterable[str] = ()) -> Iterator[Record]:
        """Events in order; of some kinds only, when they are named."""
        wanted = tuple(kinds)
        only = f" AND kind IN ({', '.join('?' * len(wanted))})" if wanted else ""
        query = f"SELECT seq, kind, trial, time, data FROM events WHERE seq > ?{only} ORDER BY seq"
        return map(Record._make, self._db.execute(query, (after, *wanted)))

    def snapshot(self) -> tuple[int, dict[str, bytes], list[str]]:
        """The latest snapshot: the event that it follows, its parts, and the trials in order."""
        self._db.execute("BEGIN")  # one view of all three
        parts = list(self._db.execute("SELECT part, seq, data FROM snapshots"))
        trials = [data for (data,) in self._db.execute("SELECT data FROM trials ORDER BY number")]
        self._db.execute("COMMIT")
        return (parts[0][1] if parts else 0), {part: data for part, _, data in parts}, trials

    def close(self) -> None:
        """Write what is left, and put everything into one file."""
        try:
            self.commit()
        finally:
            self._db.close()


def damaged(path: str, why: object) -> ExperimentDirectoryError:
    """The error of a journal that cannot be resumed."""
    return ExperimentDirectoryError(
        f"the journal {path} is damaged ({why}): the run cannot be resumed from it. Its results are in the trials' directories: "
        f"ExperimentAnalysis({os.path.dirname(path)!r}) reads them. Use a copy of the journal, if there is one"
    )


def _connect(path: str, read_only: bool = False) -> sqlite3.Connection:
    if read_only:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None, timeout=10)
        return connection
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # fsync at checkpoints of the log only: see the guarantees above
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    return connection


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(path)
