"""The results of a trial, read from its ``result.json`` or ``progress.csv``."""

from __future__ import annotations

import json
import os
import warnings
from typing import TYPE_CHECKING, Any

from aktis.air.nested import flatten

if TYPE_CHECKING:
    import pandas

__all__ = ["last_result", "read_config", "read_frame", "read_results", "results_file"]

RESULT_FILE = "result.json"
PROGRESS_FILE = "progress.csv"
PARAMS_FILE = "params.json"
_TAIL = 1 << 16


def results_file(logdir: str, file_type: str | None = None) -> str | None:
    """The file that holds a trial's results: the one of the wanted type, else the other one; None when there is none."""
    names = [PROGRESS_FILE, RESULT_FILE] if file_type == "csv" else [RESULT_FILE, PROGRESS_FILE]
    for name in names:
        path = os.path.join(logdir, name)
        try:
            if os.path.getsize(path) > 0:
                return path
        except OSError:
            continue
    return None


def read_results(logdir: str, file_type: str | None = None) -> list[dict[str, Any]]:
    """All results of a trial, as they were reported (nested), [] when there are none. Lines that are damaged are left out."""
    path = results_file(logdir, file_type)
    if path is None:
        return []
    if path.endswith(".csv"):
        frame = _read_csv(path)
        return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    results, damaged = [], []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            result = _parsed(line)
            if result is None:
                damaged.append(number)
            else:
                results.append(result)
    if damaged:
        # The last line of a run that goes on, or that was killed, may be half written.
        lines = ", ".join(map(str, damaged[:5]))
        warnings.warn(f"{path}: line {lines} of the results is damaged and left out", UserWarning, stacklevel=2)
    return results


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        result = json.loads(line)
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def last_result(logdir: str, file_type: str | None = None) -> dict[str, Any]:
    """The latest result of a trial (nested), {} when there is none. Reads the end of the file only."""
    path = results_file(logdir, file_type)
    if path is None or path.endswith(".csv"):
        rows = read_results(logdir, file_type)
        return rows[-1] if rows else {}
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        span = _TAIL
        while True:
            start = max(0, size - span)
            file.seek(start)
            lines = file.read(size - start).splitlines()
            complete = lines if start == 0 else lines[1:]
            for line in reversed(complete):
                result = _parsed(line.decode("utf-8", errors="replace"))
                if result is not None:
                    return result
            if start == 0:
                return {}
            span *= 8


def read_frame(logdir: str, file_type: str | None = None) -> pandas.DataFrame | None:
    """All results of a trial as a data frame with flat columns (``"a/b"``), without the configuration; None without a file."""
    import pandas

    path = results_file(logdir, file_type)
    if path is None:
        return None
    if path.endswith(".csv"):
        return _read_csv(path)
    rows = []
    for result in read_results(logdir, file_type):
        result.pop("config", None)
        rows.append(flatten(result))
    return pandas.DataFrame(rows)


def _read_csv(path: str) -> pandas.DataFrame:
    import pandas

    try:
        return pandas.read_csv(path, dtype={"trial_id": str, "experiment_id": str})
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame()
    except pandas.errors.ParserError:
        warnings.warn(f"{path}: lines that are damaged are left out", UserWarning, stacklevel=2)
        return pandas.read_csv(path, dtype={"trial_id": str, "experiment_id": str}, on_bad_lines="skip")


def read_config(logdir: str) -> dict[str, Any] | None:
    """The configuration in ``params.json``; None when it can't be read."""
    try:
        with open(os.path.join(logdir, PARAMS_FILE), encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None
