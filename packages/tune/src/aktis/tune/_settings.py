"""Environment variables of aktis.tune. Each is read here, when it is needed, and nowhere else.

Those that Ray Tune has, too, count under its names as well. ``scripts/write_environment_variables.py`` puts the table into
docs/environment-variables.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.util.variables import Variable, flag


def _ray(name: str, parse: Callable[[str], Any], default: Any, meaning: str) -> Variable:
    """A variable that Ray has, too."""
    return Variable(name, parse, default, meaning, others=(name,))


def _number(text: str) -> float | None:
    try:
        return None if text.strip() == "auto" else float(text)
    except ValueError:
        raise ValueError("expected a number, or auto") from None


_DATED_SUBDIR = _ray("TUNE_DISABLE_DATED_SUBDIR", flag, False, "1: names that we make carry no date")
_IDENTIFIER = _ray("TUNE_MAX_LEN_IDENTIFIER", int, 130, "the most characters of a trial's directory, before its date")
_LOGGERS = _ray(
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", flag, False, "1: no JSON, CSV and TensorBoard logs unless asked for"
)
_SYNCER = _ray("TUNE_DISABLE_AUTO_CALLBACK_SYNCER", flag, False, "1: nothing is uploaded by itself")
_INIT = _ray("TUNE_DISABLE_AUTO_INIT", flag, False, "1: without aktis.init() a run is an error")
_METRICS = _ray("TUNE_DISABLE_STRICT_METRIC_CHECKING", flag, False, "1: results may lack the metric")
_SIGINT = _ray("TUNE_DISABLE_SIGINT_HANDLER", flag, False, "1: Ctrl-C is an ordinary KeyboardInterrupt")
_PENDING = _ray(
    "TUNE_MAX_PENDING_TRIALS_PG",
    _number,
    None,
    "trials that are made ahead of their start (default: 1, or for grids and random search 16 or more)",
)
_SNAPSHOTS = _ray(
    "TUNE_GLOBAL_CHECKPOINT_S",
    _number,
    None,
    "seconds between snapshots of an experiment's state (default: about 5 % of the time)",
)
_BUFFER = _ray("TUNE_RESULT_BUFFER_LENGTH", int, 1, "results that a trial may send at once")
_BUFFER_MIN = _ray("TUNE_RESULT_BUFFER_MIN_TIME_S", float, 0.0, "seconds that it gathers them at least")
_BUFFER_MAX = _ray("TUNE_RESULT_BUFFER_MAX_TIME_S", float, 100.0, "seconds that it gathers them at most")
_CLEANUP = _ray("TUNE_FORCE_TRIAL_CLEANUP_S", float, 60.0, "seconds after which a trial that does not stop is killed")
_THREAD = _ray(
    "TUNE_FUNCTION_THREAD_TIMEOUT_S",
    float,
    2.0,
    "seconds that a function may take to end after it was told to, before its thread is abandoned",
)
_RESTORE = _ray("TUNE_RESTORE_RETRY_NUM", int, 0, "failures while starting from a checkpoint that do not count")
_ERRORS = _ray("TUNE_PRINT_ALL_TRIAL_ERRORS", flag, True, "0: errors of trials are not printed as they happen")

VARIABLES = (
    _DATED_SUBDIR, _IDENTIFIER, _LOGGERS, _SYNCER, _INIT, _METRICS, _SIGINT, _PENDING, _SNAPSHOTS, _BUFFER, _BUFFER_MIN,
    _BUFFER_MAX, _CLEANUP, _THREAD, _RESTORE, _ERRORS,
)  # fmt: skip


def dated_subdir() -> bool:
    return not _DATED_SUBDIR.read()


def max_len_identifier() -> int:
    return int(_IDENTIFIER.read())


def automatic_loggers() -> bool:
    return not _LOGGERS.read()


def automatic_syncer() -> bool:
    return not _SYNCER.read()


def automatic_init() -> bool:
    return not _INIT.read()


def strict_metrics() -> bool:
    return not _METRICS.read()


def sigint_handler() -> bool:
    return not _SIGINT.read()


def max_pending_trials(default: int) -> int:
    value = _PENDING.read()
    return max(1, int(default if value is None else value))


def snapshot_period() -> float | None:
    """Seconds; None: adapt to what a snapshot costs."""
    value: float | None = _SNAPSHOTS.read()
    return None if value is None or value < 0 else value


def result_buffer() -> tuple[int, float, float]:
    """The most results at once, and the least and most seconds to gather them."""
    return _BUFFER.read(), _BUFFER_MIN.read(), _BUFFER_MAX.read()


def force_cleanup_after() -> float:
    return float(_CLEANUP.read())


def function_thread_timeout() -> float:
    return max(0.0, float(_THREAD.read()))


def restore_retries() -> int:
    return int(_RESTORE.read())


def print_errors() -> bool:
    return bool(_ERRORS.read())
