"""Environment variables of aktis.tune. Each is read here, when it is needed, and nowhere else.

| variable | meaning | default |
|---|---|---|
| TUNE_RESULT_DIR (or TEST_TMPDIR) | where experiments go | ~/aktis_results |
| TUNE_DISABLE_DATED_SUBDIR | 1: names that we make carry no date | 0 |
| TUNE_MAX_LEN_IDENTIFIER | the most characters of a trial's directory, before its date | 130 |
| TUNE_DISABLE_AUTO_CALLBACK_LOGGERS | 1: no JSON, CSV and TensorBoard logs unless asked for | 0 |
| TUNE_DISABLE_AUTO_CALLBACK_SYNCER | 1: nothing is uploaded by itself | 0 |
| TUNE_DISABLE_AUTO_INIT | 1: without aktis.init() a run is an error | 0 |
| TUNE_DISABLE_STRICT_METRIC_CHECKING | 1: results may lack the metric | 0 |
| TUNE_DISABLE_SIGINT_HANDLER | 1: Ctrl-C is an ordinary KeyboardInterrupt | 0 |
| TUNE_MAX_PENDING_TRIALS_PG | trials that are made ahead of their start | 1, or for grids and random search 16 or more |
| TUNE_GLOBAL_CHECKPOINT_S | seconds between snapshots of an experiment's state | about 5 % of the time |
| TUNE_RESULT_BUFFER_LENGTH | results that a trial may send at once | 1 |
| TUNE_RESULT_BUFFER_MIN_TIME_S, ..._MAX_TIME_S | how long it gathers them | 0, 100 |
| TUNE_FORCE_TRIAL_CLEANUP_S | after how long a trial that does not stop is killed | 60 |
| TUNE_FUNCTION_THREAD_TIMEOUT_S | how long a function may take to end after it was told to, before its thread is abandoned | 2 |
| TUNE_RESTORE_RETRY_NUM | failures while starting from a checkpoint that do not count | 0 |
| TUNE_PRINT_ALL_TRIAL_ERRORS | 0: errors of trials are not printed as they happen | 1 |
"""

from __future__ import annotations

import os


def _flag(name: str, default: bool = False) -> bool:
    return os.environ.get(name, "1" if default else "0").strip().lower() not in ("", "0", "false")


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "").strip()
    if not text or text == "auto":
        return default
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the environment variable {name} must be a number, not {text!r}") from None


def result_dir() -> str:
    return os.environ.get("TUNE_RESULT_DIR", "") or os.environ.get("TEST_TMPDIR", "")


def dated_subdir() -> bool:
    return not _flag("TUNE_DISABLE_DATED_SUBDIR")


def max_len_identifier() -> int:
    return int(_number("TUNE_MAX_LEN_IDENTIFIER", 130))


def automatic_loggers() -> bool:
    return not _flag("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS")


def automatic_syncer() -> bool:
    return not _flag("TUNE_DISABLE_AUTO_CALLBACK_SYNCER")


def automatic_init() -> bool:
    return not _flag("TUNE_DISABLE_AUTO_INIT")


def strict_metrics() -> bool:
    return not _flag("TUNE_DISABLE_STRICT_METRIC_CHECKING")


def sigint_handler() -> bool:
    return not _flag("TUNE_DISABLE_SIGINT_HANDLER")


def max_pending_trials(default: int) -> int:
    return max(1, int(_number("TUNE_MAX_PENDING_TRIALS_PG", default)))


def snapshot_period() -> float | None:
    """Seconds; None: adapt to what a snapshot costs."""
    value = _number("TUNE_GLOBAL_CHECKPOINT_S", -1)
    return None if value < 0 else value


def result_buffer() -> tuple[int, float, float]:
    """The most results at once, and the least and most seconds to gather them."""
    return (
        int(_number("TUNE_RESULT_BUFFER_LENGTH", 1)),
        _number("TUNE_RESULT_BUFFER_MIN_TIME_S", 0),
        _number("TUNE_RESULT_BUFFER_MAX_TIME_S", 100),
    )


def force_cleanup_after() -> float:
    return _number("TUNE_FORCE_TRIAL_CLEANUP_S", 60)


def function_thread_timeout() -> float:
    return max(0.0, _number("TUNE_FUNCTION_THREAD_TIMEOUT_S", 2))


def restore_retries() -> int:
    return int(_number("TUNE_RESTORE_RETRY_NUM", 0))


def print_errors() -> bool:
    return _flag("TUNE_PRINT_ALL_TRIAL_ERRORS", True)
