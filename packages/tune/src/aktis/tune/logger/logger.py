"""The base of loggers: callbacks, and the classes from before callbacks existed."""

from __future__ import annotations

import importlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from aktis.air.callbacks import LoggerCallback, TrialInfo
from aktis.air.integrations.results import to_json
from aktis.tune.logger._files import AppendFiles

__all__ = ["LegacyLoggerCallback", "Logger", "LoggerCallback", "pretty_print"]

_log = logging.getLogger(__name__)

# A result that only says that the trial is done, and repeats the one before.
DUPLICATE = "__duplicate__"


class Logger(ABC):
    """A log of one trial, made where the trial is. New loggers are better written as :class:`LoggerCallback`.

    Args:
        config: The configuration of the trial.
        logdir: Where to write.
        trial: The trial, when there is one.
    """

    def __init__(self, config: dict[str, Any], logdir: str, trial: TrialInfo | None = None) -> None:
        self.config = config
        self.logdir = logdir
        self.trial = trial
        self._init()

    def _init(self) -> None:
        """Set up, at the end of the constructor."""

    @abstractmethod
    def on_result(self, result: dict[str, Any]) -> None:
        """Write a result."""

    def update_config(self, config: dict[str, Any]) -> None:
        """The trial goes on with another configuration."""

    def close(self) -> None:
        """Let go of what is held."""

    def flush(self) -> None:
        """Write what was held back."""


class LegacyLoggerCallback(LoggerCallback):
    """Runs loggers of the old kind, one of each class per trial.

    Args:
        logger_classes: Subclasses of :class:`Logger`.
    """

    def __init__(self, logger_classes: Iterable[type[Logger]]) -> None:
        self.logger_classes = list(logger_classes)
        for kind in self.logger_classes:
            if not (isinstance(kind, type) and issubclass(kind, Logger)):
                raise TypeError(f"logger_classes must be subclasses of Logger, got {kind!r}")
        self._loggers: dict[str, list[Logger]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_loggers": {}}

    def log_trial_start(self, trial: TrialInfo) -> None:
        loggers = self._loggers.get(trial.trial_id)
        if loggers is None:
            self._loggers[trial.trial_id] = [kind(trial.config, trial.logdir, trial) for kind in self.logger_classes]
            return
        for logger in loggers:
            logger.update_config(trial.config)

    def log_trial_restore(self, trial: TrialInfo) -> None:
        self.log_trial_save(trial)

    def log_trial_save(self, trial: TrialInfo) -> None:
        for logger in self._loggers.get(trial.trial_id, ()):
            logger.flush()

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        if trial.trial_id not in self._loggers:
            self.log_trial_start(trial)
        for logger in self._loggers[trial.trial_id]:
            logger.on_result(result)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        for logger in self._loggers.pop(trial.trial_id, ()):
            logger.close()

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        for loggers in self._loggers.values():
            for logger in loggers:
                logger.close()
        self._loggers.clear()


class TrialLog(Protocol):
    """One file of one trial."""

    def write(self, result: dict[str, Any]) -> None: ...
    def close(self) -> None: ...


class FileLoggerCallback(LoggerCallback):
    """A file per trial. The run goes on when a file cannot be written: the journal has the results all the same."""

    FILE: ClassVar[str]

    def __init__(self) -> None:
        self._logs: dict[str, TrialLog] = {}  # of the trials that have not ended
        self._warned = False
        self._files = AppendFiles()

    def __getstate__(self) -> dict[str, Any]:
        """A copy (runs keep their settings in files) begins without open logs."""
        return {**vars(self), "_logs": {}, "_warned": False}

    def open_log(self, trial: TrialInfo) -> TrialLog:
        """Begin, or go on with, the trial's file."""
        raise NotImplementedError(f"{type(self).__name__}.open_log")

    def log_trial_start(self, trial: TrialInfo) -> None:
        if trial.trial_id in self._logs:  # it was paused, and goes on
            return
        try:
            self._logs[trial.trial_id] = self.open_log(trial)
        except OSError as error:
            self._warn(trial, error)

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        log = self._logs.get(trial.trial_id)
        if log is None:
            FileLoggerCallback.log_trial_start(self, trial)
            log = self._logs.get(trial.trial_id)
        if log is None or DUPLICATE in result:
            return
        try:
            log.write(result)
        except OSError as error:
            self._warn(trial, error)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        log = self._logs.pop(trial.trial_id, None)
        if log is not None:
            log.close()

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._logs.clear()
        self._files.close_all()

    def _warn(self, trial: TrialInfo, error: OSError) -> None:
        log = _log.debug if self._warned else _log.warning
        self._warned = True
        log(
            "%s of trial %s could not be written (%s). The run goes on; resuming it completes the file from the journal.",
            self.FILE,
            trial,
            error,
        )


_HIDDEN = ("config", "hist_stats")


def pretty_print(result: dict[str, Any]) -> str:
    """A result as YAML for people, without the configuration and without what is None.

    Args:
        result: What a trial reported.
    """
    yaml: Any = importlib.import_module("yaml")

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Lists of more than three items stay on one line."""

        def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
            return super().represent_sequence(tag, sequence, flow_style=len(sequence) > 3)

    shown = {key: value for key, value in result.items() if value is not None and key not in _HIDDEN}
    return yaml.dump(json.loads(to_json(shown)), Dumper=Dumper, default_flow_style=False)  # type: ignore[no-any-return]
