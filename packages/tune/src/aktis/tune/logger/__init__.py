"""What is written about trials while they run: JSON lines, CSV, TensorBoard, and the base for loggers of your own."""

from aktis.tune.logger.csv import CSVLogger, CSVLoggerCallback
from aktis.tune.logger.json import JsonLogger, JsonLoggerCallback
from aktis.tune.logger.logger import LegacyLoggerCallback, Logger, LoggerCallback, pretty_print
from aktis.tune.logger.noop import NoopLogger
from aktis.tune.logger.tensorboardx import TBXLogger, TBXLoggerCallback
from aktis.tune.logger.unified import UnifiedLogger

DEFAULT_LOGGERS = (JsonLogger, CSVLogger, TBXLogger)

__all__ = [
    "CSVLogger",
    "CSVLoggerCallback",
    "DEFAULT_LOGGERS",
    "JsonLogger",
    "JsonLoggerCallback",
    "LegacyLoggerCallback",
    "Logger",
    "LoggerCallback",
    "NoopLogger",
    "pretty_print",
    "TBXLogger",
    "TBXLoggerCallback",
    "UnifiedLogger",
]
