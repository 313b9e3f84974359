"""``progress.csv``: a row per result. The first result says which columns there are; keys that come later are left out."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations.results import flatten_dict, safe_str
from aktis.tune.logger._files import AppendFiles
from aktis.tune.logger._views import identity, mend
from aktis.tune.logger.logger import DUPLICATE, FileLoggerCallback, Logger, TrialLog

__all__ = ["CSVLogger", "CSVLoggerCallback"]

PROGRESS_FILE = "progress.csv"

_END = b"\r\n"


class _Echo:
    """A file for csv.writer that hands back what is written, so that nothing is kept."""

    @staticmethod
    def write(text: str) -> str:
        return text


_writer = csv.writer(_Echo())
_PLAIN = frozenset({str, int, float, bool, type(None)})


def _line(cells: Sequence[Any]) -> bytes:
    plain = [cell if type(cell) in _PLAIN else safe_str(cell) for cell in cells]
    text: str = _writer.writerow(plain)  # what _Echo.write returned
    return text.encode("utf-8", "backslashreplace")


def _flat(result: dict[str, Any]) -> dict[str, Any]:
    return flatten_dict(result, skip=_SKIP)


_SKIP = ("config",)


class _CsvTable:
    def __init__(self, logdir: str, files: AppendFiles) -> None:
        self._path = os.path.join(logdir, PROGRESS_FILE)
        self._files = files
        self._columns: list[str] | None = None
        content = _read(self._path)
        if content:
            files.close(self._path)
            _repair(self._path, ())  # ends as they do in cells cannot be told from the ends of rows without reading all
            records = _records(content)
            self._columns = _cells(records[0]) if records else None

    def write(self, result: dict[str, Any]) -> None:
        flat = _flat(result)
        if self._columns is None:
            if not flat:
                return
            self._files.append(self._path, _line(list(flat)) + _line(list(flat.values())))
            self._columns = list(flat)
            return
        get = flat.get
        self._files.append(self._path, _line([get(column) for column in self._columns]))

    def close(self) -> None:
        self._files.close(self._path)


class CSVLoggerCallback(FileLoggerCallback):
    """Writes ``progress.csv`` into the directory of each trial, without the configuration, nested keys as ``a/b``."""

    FILE = PROGRESS_FILE

    def open_log(self, trial: TrialInfo) -> TrialLog:
        return _CsvTable(trial.logdir, self._files)

    def repair(self, trial_dir: str, results: Sequence[dict[str, Any]]) -> None:
        """Cut a torn last row off ``progress.csv`` and make it hold all of ``results``; the header stays as it is.

        Rows from before the first of ``results`` stay; rows that ``results`` does not know, after its last one, go.

        Args:
            trial_dir: The directory of the trial.
            results: What the trial reported, in order.

        Raises:
            OSError: The file cannot be read or written.
        """
        path = os.path.join(trial_dir, PROGRESS_FILE)
        self._files.close(path)
        _repair(path, [result for result in results if DUPLICATE not in result])


class CSVLogger(Logger):
    """The same, as a logger of the old kind."""

    def _init(self) -> None:
        self._files = AppendFiles()
        self._table: _CsvTable | None = None

    def on_result(self, result: dict[str, Any]) -> None:
        if self._table is None:
            self._table = _CsvTable(self.logdir, self._files)
        self._table.write(result)

    def close(self) -> None:
        self._files.close_all()
        self._table = None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _records(content: bytes) -> list[bytes]:
    """The whole rows, header included. A line's end inside of quotes ends no row."""
    found: list[bytes] = []
    begin = end = quotes = 0
    while (stop := content.find(b"\n", end)) >= 0:
        quotes += content.count(b'"', end, stop)
        end = stop + 1
        if quotes % 2 == 0 and content.endswith(_END, begin, end):
            found.append(content[begin:end])
            begin = end
    return found


def _cells(record: bytes) -> list[str]:
    text = record.decode("utf-8", "replace")
    return (
        next(csv.reader([text], strict=False), []) if "\n" not in text[:-2] else next(csv.reader(text.splitlines(True)))
    )


def _repair(path: str, results: Sequence[dict[str, Any]]) -> None:
    content = _read(path)
    if not content and not results:
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    flat = [_flat(result) for result in results]
    records = _records(content)
    if records:
        head = records.pop(0)
        columns = _cells(head)
    else:
        columns = list(flat[0]) if flat else []
        head = _line(columns) if columns else b""
    wanted = [_line([row.get(column) for column in columns]) for row in flat] if columns else []
    identities = [identity({key: row[key] for key in columns if row.get(key) is not None}) for row in flat]

    def same(record: bytes, index: int) -> bool:
        if record == wanted[index]:
            return True
        row = {key: cell for key, cell in zip(columns, _cells(record)) if cell}
        return identities[index] is not None and identity(row) == identities[index]

    mend(path, content, head, records, wanted, same)
