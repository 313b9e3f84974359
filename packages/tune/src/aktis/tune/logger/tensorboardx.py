"""TensorBoard: numbers under ``ray/tune/...``, lists and arrays as histograms, hyper-parameters when a trial ends."""

from __future__ import annotations

import importlib
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations.results import flatten_dict, to_number
from aktis.tune.logger import _events as events
from aktis.tune.logger._files import AppendFiles
from aktis.tune.logger.logger import DUPLICATE, FileLoggerCallback, Logger

__all__ = ["TBXLogger", "TBXLoggerCallback"]

_log = logging.getLogger(__name__)

# What tools that know runs of Ray Tune look for.
_PREFIX = "ray/tune/"
# Ours among the event files of a directory, into which the trial may write its own.
_SUFFIX = ".tune"
# Counted elsewhere, or the same for each result.
_NOT_SHOWN = ("config", "pid", "timestamp", "time_total_s", "training_iteration")


class _EventFile:
    def __init__(self, logdir: str, files: AppendFiles) -> None:
        self._files = files
        self.path = _existing(logdir) or _new_path(logdir)
        files.close(self.path)
        if not _mend(self.path):
            files.append(self.path, events.record(events.file_version(time.time())))

    def write(self, result: dict[str, Any]) -> None:
        self._files.append(self.path, _result_record(result, time.time()))

    def write_hparams(self, params: Mapping[str, Any], result: Mapping[str, Any], name: str, failed: bool) -> None:
        """What makes the trial a row on the page of hyper-parameters."""
        now = time.time()
        shown = [_PREFIX + key for key, value in flatten_dict(result, skip=_NOT_SHOWN).items() if _is_scalar(value)]
        plain = _plain_params(params)
        if plain and shown:
            values = events.hparams(plain, shown, name, failed, now)
            self._files.append(self.path, b"".join(events.record(events.event([value], 0, now)) for value in values))

    def close(self) -> None:
        self._files.close(self.path)


class TBXLoggerCallback(FileLoggerCallback):
    """Writes an event file for TensorBoard into the directory of each trial.

    The step is ``timesteps_total`` or, without it, ``training_iteration``. Numbers are scalars, lists and arrays of numbers
    histograms, and arrays with five dimensions (N, T, C, H, W) videos, which needs tensorboardX and moviepy.
    """

    FILE = "The event file for TensorBoard"

    def open_log(self, trial: TrialInfo) -> _EventFile:
        return _EventFile(trial.logdir, self._files)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        log = self._logs.get(trial.trial_id)
        if isinstance(log, _EventFile) and trial.evaluated_params and trial.last_result:
            try:
                log.write_hparams(trial.evaluated_params, trial.last_result, str(trial), failed)
            except OSError as error:
                self._warn(trial, error)
        super().log_trial_end(trial, failed)

    def repair(self, trial_dir: str, results: Sequence[dict[str, Any]]) -> None:
        """Cut a torn end off the event file, and append those of ``results`` that come after its last one.

        Args:
            trial_dir: The directory of the trial.
            results: What the trial reported, in order.

        Raises:
            OSError: The file cannot be read or written.
        """
        path = _existing(trial_dir)
        results = [result for result in results if DUPLICATE not in result]
        if path is None and not results:
            return
        path = path or _new_path(trial_dir)
        self._files.close(path)
        steps = _mend(path)
        if not steps:
            self._files.append(path, events.record(events.file_version(time.time())))
        missing = _after(results, [step for step in steps if step is not None])
        for result in missing:
            self._files.append(path, _result_record(result, result.get("timestamp") or time.time()))
        self._files.close(path)


class TBXLogger(Logger):
    """The same, as a logger of the old kind."""

    def _init(self) -> None:
        self._files = AppendFiles()
        self._file = _EventFile(self.logdir, self._files)
        self._last: dict[str, Any] = {}

    def on_result(self, result: dict[str, Any]) -> None:
        self._last = result
        self._file.write(result)

    def close(self) -> None:
        params = self.trial.evaluated_params if self.trial is not None else {}
        if params and self._last:
            self._file.write_hparams(params, self._last, str(self.trial), failed=False)
            self._last = {}
        self._file.close()


def _existing(logdir: str) -> str | None:
    """Our event file in a directory, when it has one."""
    try:
        names = [name for name in os.listdir(logdir) if name.startswith("events.out.") and name.endswith(_SUFFIX)]
    except FileNotFoundError:
        return None
    return os.path.join(logdir, max(names)) if names else None


def _new_path(logdir: str) -> str:
    return os.path.join(logdir, f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}{_SUFFIX}")


def _mend(path: str) -> list[int | None]:
    """Cut a torn end off; the steps of what stays (None: not a result). Without the file: nothing."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    steps: list[int | None] = []
    whole = 0
    for end, step, size in events.read_events(content):
        whole = end
        steps.append(step if size >= 0 and b"_hparams_/" not in content[end - 4 - size : end - 4][:64] else None)
    if whole < len(content):
        os.truncate(path, whole)
    return steps


def _after(results: Sequence[dict[str, Any]], steps: list[int]) -> Sequence[dict[str, Any]]:
    """The results after the last one that is there."""
    if not steps:
        return results
    if len(steps) <= len(results) and all(_step(result) == step for result, step in zip(results, steps)):
        return results[len(steps) :]
    for index in range(len(results) - 1, -1, -1):
        if _step(results[index]) == steps[-1]:
            return results[index + 1 :]
    return ()


def _step(result: Mapping[str, Any]) -> int:
    for key in ("timesteps_total", "training_iteration"):
        number = to_number(result.get(key))
        if number and number == number and abs(number) < 2**63:
            return max(int(number), 0)
    return 0


def _result_record(result: dict[str, Any], now: float) -> bytes:
    values: list[bytes] = []
    for key, value in flatten_dict(result, skip=_NOT_SHOWN).items():
        kind = type(value)
        if kind is float or kind is int or kind is bool:
            if value == value:
                values.append(events.scalar(_PREFIX + key, value))
        elif value is not None and kind is not str:
            other = _other_value(_PREFIX + key, value)
            if other is not None:
                values.append(other)
    return events.record(events.event(values, _step(result), now))


def _other_value(tag: str, value: Any) -> bytes | None:
    number = to_number(value)
    if number is not None:
        return events.scalar(tag, number) if number == number else None
    if getattr(value, "ndim", None) == 5:
        return _video(tag, value)
    if isinstance(value, (list, tuple)) or (hasattr(value, "dtype") and hasattr(value, "__array__")):
        try:
            return events.histogram(tag, value)
        except (TypeError, ValueError):  # not numbers, or lists of several lengths
            return None
    return None


def _video(tag: str, frames: Any) -> bytes | None:
    try:
        summary = importlib.import_module("tensorboardX.summary").video(tag, frames, fps=20)
    except Exception as error:
        _log.warning("The video %s was not logged (pip install tensorboardX moviepy): %s", tag, error)
        return None
    data: bytes | None = summary.SerializeToString() if summary is not None else None
    return data


def _is_scalar(value: Any) -> bool:
    number = None if value is None or isinstance(value, str) else to_number(value)
    return number is not None and number == number


def _plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Booleans, numbers and strings; lists as strings; nothing else."""
    plain: dict[str, Any] = {}
    for key, value in flatten_dict(params).items():
        if isinstance(value, (str, bool)):
            plain[key] = value
        elif isinstance(value, (list, tuple)):
            plain[key] = str(value)
        elif (number := to_number(value)) is not None:
            plain[key] = number != 0 if type(value).__name__ in ("bool_", "bool") else number
    return plain
