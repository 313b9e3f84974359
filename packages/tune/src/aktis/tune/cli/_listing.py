"""Rows of trials and of experiments: filtered, sorted, printed, written to files."""

from __future__ import annotations

import datetime
import json
import math
import operator
import os
import re
import warnings
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from aktis.air.display import environment, format_duration, format_value
from aktis.air.nested import flatten
from aktis.tune._progress.columns import user_metrics
from aktis.tune.analysis._directory import experiment_dirs, load_states, local_path
from aktis.tune.analysis._results import last_result
from aktis.tune.cli import CommandError
from aktis.tune.error import ExperimentDirectoryError
from aktis.util.files import written_whole

__all__ = ["experiment_rows", "filtered", "show", "sorted_rows", "trial_rows"]

Row = dict[str, Any]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "=": operator.eq, "!=": operator.ne, ">=": operator.ge,
    ">": operator.gt,
}  # fmt: skip
_FILTER = re.compile(r"\s*(?P<column>.+?)\s*(?P<operator><=|>=|==|!=|<|>|=)\s*(?P<value>.*?)\s*\Z")
_MOST_METRICS = 6


# -- rows ----------------------------------------------------------------------------------------------------------------


def trial_rows(path: Path) -> tuple[list[Row], list[str]]:
    """A row per trial with all that is known of it, and the columns to show unless others are asked for."""
    states = load_states(path)
    trials = [trial for state in states for trial in state.trials]
    if not trials:
        raise CommandError(f"the experiment in {path} has no trials yet")
    base = local_path(path)
    rows, gone = [], []
    for trial in trials:
        result = last_result(trial.logdir) if trial.logdir else {}
        if not result and trial.last_result:
            if not os.path.isdir(trial.logdir):
                gone.append(trial.logdir)
            result = trial.last_result
        row: Row = {"trial": str(trial), "trial_id": trial.trial_id, "status": trial.status}
        if len(states) > 1:
            row["experiment"] = trial.experiment_dir_name
        row.update(flatten({key: value for key, value in result.items() if key not in ("config", "trial_id")}))
        row.update(flatten(trial.config, "config/"))
        row.update(
            trainable_name=trial.trainable_name,
            experiment_tag=trial.experiment_tag,
            last_update_time=trial.last_update_time or result.get("timestamp"),
            num_failures=trial.num_failures,
            error_file=trial.error_file,
            logdir=os.path.relpath(trial.logdir, base) if trial.logdir and base.is_dir() else trial.logdir,
        )
        rows.append(row)
    if gone:
        shown = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        warnings.warn(f"directories of trials are gone: {shown}", UserWarning, stacklevel=2)
    searched: dict[str, None] = {}
    for trial in trials:
        searched.update(dict.fromkeys(trial.evaluated_params or flatten(trial.config)))
    default = ["experiment"] if len(states) > 1 else []
    default += ["trial", "status", "training_iteration", "time_total_s", *user_metrics(trials)[:_MOST_METRICS]]
    return rows, default + [f"config/{key}" for key in searched]


def experiment_rows(path: Path) -> tuple[list[Row], list[str]]:
    """A row per experiment below ``path``. Those that can't be read are warned of."""
    base = local_path(path)
    if not base.is_dir():
        raise CommandError(f"{base} is no directory")
    rows = []
    for directory in experiment_dirs(base):
        try:
            state = load_states(directory)[0]
        except (ExperimentDirectoryError, OSError) as error:
            warnings.warn(f"{directory.name} is left out: {error}", UserWarning, stacklevel=2)
            continue
        counts: dict[str, int] = {}
        for trial in state.trials:
            counts[trial.status] = counts.get(trial.status, 0) + 1
        times = [trial.last_update_time for trial in state.trials if trial.last_update_time]
        start, end = state.stats.get("start_time"), state.stats.get("timestamp")
        rows.append(
            {
                "name": directory.name,
                "total_trials": len(state.trials),
                "running": counts.get("RUNNING", 0),
                "pending": counts.get("PENDING", 0) + counts.get("PAUSED", 0),
                "terminated": counts.get("TERMINATED", 0),
                "error": counts.get("ERROR", 0),
                "start_time": start,
                "last_updated": max([*times, *([end] if isinstance(end, (int, float)) else [])], default=None),
                "path": str(directory),
            }
        )
    if not rows:
        raise CommandError(
            f"there are no experiments in {base}: none of its directories has an experiment_state-*.json"
        )
    return rows, ["name", "total_trials", "running", "pending", "terminated", "error", "last_updated"]


# -- choosing --------------------------------------------------------------------------------------------------------------


def _listed(values: Sequence[str] | None) -> list[str]:
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _known(rows: Sequence[Row]) -> list[str]:
    known: dict[str, None] = {}
    for row in rows:
        known.update(dict.fromkeys(row))
    return list(known)


def _resolved(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names of columns; ``lr`` also means ``config/lr``.

    Raises:
        CommandError: There is no such column.
    """
    resolved = []
    for column in columns:
        if column not in known and f"config/{column}" in known:
            column = f"config/{column}"
        elif column not in known:
            import difflib

            close = difflib.get_close_matches(column, known, 3, 0.5)
            close += [name for name in known if name.endswith("/" + column)]
            hint = f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else f"there are: {', '.join(known)}"
            raise CommandError(f"there is no column {column!r}; {hint}")
        resolved.append(column)
    return resolved


def filtered(rows: Sequence[Row], filters: Sequence[str]) -> list[Row]:
    """The rows for which all filters hold. A row without a value never passes."""
    kept = list(rows)
    for text in filters:
        match = _FILTER.match(text)
        if match is None:
            raise CommandError(f"the filter {text!r} is not of the form 'COLUMN OP VALUE', e.g. 'loss < 0.5'")
        column, compare, wanted = match["column"], _OPERATORS[match["operator"]], _unquoted(match["value"])
        column = _resolved([column], _known(rows))[0]
        values = [row[column] for row in rows if row.get(column) is not None]
        numeric = bool(values) and all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
        convert: Callable[[Any], Any] = float if numeric else _as_text
        try:
            limit = convert(wanted)
        except ValueError:
            raise CommandError(f"the column {column!r} holds numbers, and {wanted!r} is none") from None
        kept = [row for row in kept if row.get(column) is not None and compare(convert(row[column]), limit)]
    return kept


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or str(value).lower() in ("true", "false") else str(value)


def sorted_rows(rows: Sequence[Row], columns: Sequence[str], descending: bool = False) -> list[Row]:
    """Rows by columns; those without a value, and NaN, come last either way."""
    ordered = list(rows)
    for column in reversed(columns):
        present = [row for row in ordered if not _is_missing(row.get(column))]
        absent = [row for row in ordered if _is_missing(row.get(column))]
        ordered = sorted(present, key=lambda row: _sort_key(row[column]), reverse=descending) + absent
    return ordered


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _sort_key(value: Any) -> tuple[bool, float, str]:
    return (False, float(value), "") if isinstance(value, Real) else (True, 0.0, str(value))


# -- showing -----------------------------------------------------------------------------------------------------------------


def show(
    rows: Sequence[Row],
    default: Sequence[str],
    what: str,
    sort: Sequence[str] | None,
    output: Path | None,
    filters: Sequence[str] | None,
    columns: Sequence[str] | None,
    limit: int | None,
    desc: bool,
) -> None:
    """Print the rows that were asked for, and write them when asked."""
    known = _known(rows)
    wanted, keys = _resolved(_listed(columns), known), _resolved(_listed(sort), known)
    if output is not None and output.suffix.lower() not in _WRITERS:
        raise CommandError(f"{output} has an unknown type: write to a {', '.join(_WRITERS)} file")
    chosen = sorted_rows(filtered(rows, filters or ()), keys, desc)
    total = len(chosen)
    chosen = chosen[:limit] if limit else chosen
    shown = wanted or [column for column in default if column in known]
    if not chosen:
        print(f"no {what}" + (f" that pass the filter (of {len(rows)})" if filters else ""))
    else:
        _print_table(chosen, shown, chosen_by_user=bool(wanted))
        if total > len(chosen):
            print(f"{len(chosen)} of {total} {what}")
    if output is not None:
        # A file has room: all columns, unless some were asked for.
        _write(output, chosen, wanted or known)
        print(f"{len(chosen)} {what} written to {output}")


def _cell(column: str, value: Any, longest: int | None) -> str:
    if isinstance(value, Real) and not isinstance(value, bool):
        if column in ("last_update_time", "last_updated", "start_time", "timestamp") and float(value) > 0:
            return datetime.datetime.fromtimestamp(float(value)).strftime("%Y-%m-%d %H:%M:%S")
        if column in ("time_total_s", "time_this_iter_s", "time_since_restore"):
            return format_duration(float(value))
    return format_value(value, longest)


_HEADINGS = {"training_iteration": "iter", "time_total_s": "time", "total_trials": "trials"}


def _print_table(rows: Sequence[Row], columns: Sequence[str], chosen_by_user: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: whoever reads it wants all columns on one line.
    console = Console(highlight=False, width=None if environment() == "terminal" else 100_000)
    longest = None if chosen_by_user else 32
    cells = {column: [_cell(column, row.get(column), longest) for row in rows] for column in columns}
    empty = [column for column in columns if not any(cells[column])] if not chosen_by_user else []
    left = console.width
    shown: list[str] = []
    dropped: list[str] = []
    for column in columns:
        heading = _HEADINGS.get(column, column)
        width = max(len(heading), *(len(cell) for cell in cells[column])) + 2
        if column in empty:
            continue
        if width <= left or not shown:
            shown.append(column)
            left -= width
        else:
            dropped.append(column)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in shown:
        numbers = all(row.get(column) is None or isinstance(row[column], Real) for row in rows)
        table.add_column(
            _HEADINGS.get(column, column), justify="right" if numbers else "left", no_wrap=True, overflow="ellipsis"
        )
    styles = {"ERROR": "red", "RUNNING": "cyan", "TERMINATED": "green"}
    for index in range(len(rows)):
        table.add_row(*[Text(cells[column][index], styles.get(cells[column][index], "")) for column in shown])
    console.print(table)
    if dropped:
        print(f"not shown for lack of room: {', '.join(dropped)} (choose with --columns, or write all with -o)")


# -- files -------------------------------------------------------------------------------------------------------------------


def _write(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    write = _WRITERS[path.suffix.lower()]
    try:
        with written_whole(path) as temporary:
            write(Path(temporary), [{column: row.get(column) for column in columns} for row in rows], columns)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror or error}") from error


def _write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    import csv

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    plain = [{key: None if _is_missing(value) else value for key, value in row.items()} for row in rows]
    path.write_text(json.dumps(plain, default=str, indent=2) + "\n", encoding="utf-8")


def _write_pickle(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    import pandas

    pandas.DataFrame(rows, columns=list(columns)).to_pickle(path)


_WRITERS: dict[str, Callable[[Path, Sequence[Row], Sequence[str]], None]] = {
    ".csv": _write_csv, ".json": _write_json, ".pkl": _write_pickle, ".pickle": _write_pickle, ".p": _write_pickle,
}  # fmt: skip
