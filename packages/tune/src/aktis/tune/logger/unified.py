"""The logger that passes everything on to others."""

from __future__ import annotations

import logging
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.tune.logger.csv import CSVLogger
from aktis.tune.logger.json import JsonLogger
from aktis.tune.logger.logger import Logger
from aktis.tune.logger.tensorboardx import TBXLogger

__all__ = ["UnifiedLogger"]

_log = logging.getLogger(__name__)


class UnifiedLogger(Logger):
    """Several loggers as one.

    Args:
        config: The configuration of the trial.
        logdir: Where the loggers write.
        trial: The trial, when there is one.
        loggers: Classes of loggers. Default: JSON, CSV and TensorBoard.
    """

    def __init__(
        self,
        config: dict[str, Any],
        logdir: str,
        trial: TrialInfo | None = None,
        loggers: list[type[Logger]] | None = None,
    ) -> None:
        self._classes: list[type[Logger]] = [JsonLogger, CSVLogger, TBXLogger] if loggers is None else list(loggers)
        self._loggers: list[Logger] = []
        super().__init__(config, logdir, trial)

    def _init(self) -> None:
        for kind in self._classes:
            try:
                self._loggers.append(kind(self.config, self.logdir, self.trial))
            except Exception:
                _log.warning("The logger %s could not be made: going on without it", kind.__name__, exc_info=True)

    def on_result(self, result: dict[str, Any]) -> None:
        for logger in self._loggers:
            logger.on_result(result)

    def update_config(self, config: dict[str, Any]) -> None:
        for logger in self._loggers:
            logger.update_config(config)

    def close(self) -> None:
        for logger in self._loggers:
            logger.close()

    def flush(self) -> None:
        for logger in self._loggers:
            logger.flush()
