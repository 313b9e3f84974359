"""``result.json`` (a line per result), ``params.json`` and ``params.pkl``."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations.results import SafeFallbackEncoder, to_json, to_plain
from aktis.tune.logger._files import AppendFiles, ends_with
from aktis.tune.logger._views import identity, mend
from aktis.tune.logger.logger import DUPLICATE, FileLoggerCallback, Logger, TrialLog
from aktis.util.files import write_whole

__all__ = ["JsonLogger", "JsonLoggerCallback"]

RESULT_FILE = "result.json"
PARAMS_FILE = "params.json"
PARAMS_PICKLE = "params.pkl"

_log = logging.getLogger(__name__)


class _JsonLines:
    def __init__(self, logdir: str, files: AppendFiles) -> None:
        self._path = os.path.join(logdir, RESULT_FILE)
        self._files = files
        if not ends_with(self._path, b"\n"):
            files.close(self._path)
            _repair(self._path, ())
        files.append(self._path, b"")

    def write(self, result: dict[str, Any]) -> None:
        self._files.append(self._path, (to_json(result) + "\n").encode())

    def close(self) -> None:
        self._files.close(self._path)


class JsonLoggerCallback(FileLoggerCallback):
    """Writes ``result.json``, ``params.json`` and ``params.pkl`` into the directory of each trial."""

    FILE = RESULT_FILE

    def log_trial_start(self, trial: TrialInfo) -> None:
        try:
            self.update_config(trial, trial.config)
        except OSError as error:
            self._warn(trial, error)
        super().log_trial_start(trial)

    def open_log(self, trial: TrialInfo) -> TrialLog:
        return _JsonLines(trial.logdir, self._files)

    def update_config(self, trial: TrialInfo, config: dict[str, Any]) -> None:
        """Write the configuration of a trial (again)."""
        _write_config(trial.logdir, config)

    def repair(self, trial_dir: str, results: Sequence[dict[str, Any]]) -> None:
        """Cut a torn last line off ``result.json`` and make it hold all of ``results``.

        Lines from before the first of ``results`` stay; lines that ``results`` does not know, after its last one, go.

        Args:
            trial_dir: The directory of the trial.
            results: What the trial reported, in order.

        Raises:
            OSError: The file cannot be read or written.
        """
        path = os.path.join(trial_dir, RESULT_FILE)
        self._files.close(path)
        _repair(path, [result for result in results if DUPLICATE not in result])


class JsonLogger(Logger):
    """The same, as a logger of the old kind."""

    def _init(self) -> None:
        self._files = AppendFiles()
        self.update_config(self.config)
        self._lines = _JsonLines(self.logdir, self._files)

    def on_result(self, result: dict[str, Any]) -> None:
        self._lines.write(result)

    def update_config(self, config: dict[str, Any]) -> None:
        self.config = config
        _write_config(self.logdir, config)

    def close(self) -> None:
        self._lines.close()


def _repair(path: str, results: Sequence[dict[str, Any]]) -> None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if not results:
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content = b""
    records = content.splitlines(keepends=True)
    if records and not _is_whole(records[-1]):
        records.pop()
    wanted = [(to_json(result) + "\n").encode() for result in results]
    identities = [identity(json.loads(line)) for line in wanted]
    mend(path, content, b"", records, wanted, lambda record, index: _same(record, wanted[index], identities[index]))


def _is_whole(line: bytes) -> bool:
    return line.endswith(b"\n") and line.rstrip().endswith(b"}")


def _same(record: bytes, wanted: bytes, wanted_identity: tuple[str, ...] | None) -> bool:
    if record == wanted:
        return True
    if wanted_identity is None:
        return False
    try:
        row = json.loads(record)
    except ValueError:
        return False
    return isinstance(row, dict) and identity(row) == wanted_identity


def _write_config(logdir: str, config: dict[str, Any]) -> None:
    os.makedirs(logdir, exist_ok=True)
    try:
        text = json.dumps(config, indent=2, sort_keys=True, cls=SafeFallbackEncoder)
    except (TypeError, ValueError, RecursionError):  # keys of several types, or a configuration that holds itself
        text = json.dumps(to_plain(config), indent=2, sort_keys=True)
    write_whole(os.path.join(logdir, PARAMS_FILE), text)

    import cloudpickle

    path = os.path.join(logdir, PARAMS_PICKLE)
    try:
        pickled = cloudpickle.dumps(config)
    except Exception as error:
        _log.warning("%s was not written: the configuration cannot be pickled (%s)", path, error)
        return
    write_whole(path, pickled)
