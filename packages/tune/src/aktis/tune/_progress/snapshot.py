"""What a display shows at a moment, as data: made from the board, drawn by one of the views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aktis.air.display import format_value
from aktis.air.nested import flatten, lookup
from aktis.tune._progress.board import Board
from aktis.tune._progress.columns import Column, current_value, metric_columns, parameter_columns
from aktis.tune.analysis._errors import error_line

__all__ = ["Failure", "Options", "Row", "Snapshot", "describe_failure", "describe_params", "take_snapshot"]


@dataclass
class Options:
    """What the user asked the display to be like."""

    metric_columns: dict[str, str] | list[str] | None = None
    parameter_columns: dict[str, str] | list[str] | None = None
    max_progress_rows: int = 20
    max_error_rows: int = 20
    max_column_length: int = 20
    infer_limit: int = 3
    sort_by_metric: bool = False


@dataclass
class Row:
    """A trial in the table."""

    name: str
    status: str
    cells: list[str]
    is_best: bool = False


@dataclass
class Failure:
    """A trial that failed."""

    name: str
    failures: int
    message: str
    file: str


@dataclass
class Snapshot:
    """All that is to be seen."""

    name: str
    done: bool
    elapsed: float
    counts: dict[str, int]
    total: int  # of the trials that there are
    expected: int | None  # of those that there will be, when known
    remaining: float | None  # seconds, a guess
    best: str = ""
    best_params: str = ""
    info: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)  # trials without a row, by status
    failures: list[Failure] = field(default_factory=list)
    hidden_failures: int = 0


def take_snapshot(
    board: Board,
    options: Options,
    *,
    elapsed: float,
    expected: int | None = None,
    done: bool = False,
    info: Sequence[str] = (),
    max_rows: int | None = None,
    metrics: Sequence[str] = (),
) -> Snapshot:
    """The board at this moment. Looks at no more trials than there are rows (and, when done, sorts them all once)."""
    limit = options.max_progress_rows if max_rows is None else max(0, min(options.max_progress_rows, max_rows))
    shown = _choose(board, options, limit, done)
    columns = _columns(board, options, shown, metrics)
    best = board.best
    snapshot = Snapshot(
        name=_experiment_name(shown),
        done=done,
        elapsed=elapsed,
        counts=board.counts,
        total=board.total,
        expected=expected if expected is not None and expected >= board.total else None,
        remaining=_remaining(board, elapsed, expected),
        info=[line for text in info if text for line in str(text).splitlines()],
        columns=columns,
    )
    for trial in shown:
        cells = [column.cell(trial, options.max_column_length) for column in columns]
        snapshot.rows.append(Row(str(trial), trial.status, cells, best is not None and trial.trial_id == best.trial_id))
    hidden = dict(board.counts)
    for trial in shown:
        hidden[trial.status] = hidden.get(trial.status, 0) - 1
    snapshot.hidden = {status: number for status, number in hidden.items() if number > 0}
    if best is not None and board.metric is not None:
        snapshot.best, snapshot.best_params = _describe_best(best, board.metric, board.mode)
    failed = list(board.by_status["ERROR"].values())
    newest = failed[::-1][: max(0, options.max_error_rows)]
    snapshot.failures = [_failure(trial) for trial in newest]
    snapshot.hidden_failures = len(failed) - len(newest)
    return snapshot


def _choose(board: Board, options: Options, limit: int, done: bool) -> list[Any]:
    """The trials that get a row: those that run first, then the latest that ended; all by score when the run is over."""
    if done:
        trials = list(board.all())
        if board.metric is not None:
            trials.sort(key=lambda trial: _worst_last(board, trial))
        return trials[:limit]
    shown: list[Any] = []
    for status in ("RUNNING", "PAUSED"):
        waiting = iter(board.by_status[status].values())
        while len(shown) < limit:
            trial = next(waiting, None)
            if trial is None:
                break
            shown.append(trial)
    for trial in reversed(board.recent):
        if len(shown) >= limit:
            break
        if trial.status in ("TERMINATED", "ERROR"):
            shown.append(trial)
    if len(shown) < limit:
        queue = iter(board.by_status["PENDING"].values())
        shown += [
            trial for trial in (next(queue, None) for _ in range(min(3, limit - len(shown)))) if trial is not None
        ]
    if options.sort_by_metric and board.metric is not None:
        shown.sort(key=lambda trial: _worst_last(board, trial))
    return shown


def _worst_last(board: Board, trial: Any) -> float:
    score = board.score(trial)
    return float("inf") if score is None else -score


def _columns(board: Board, options: Options, shown: Sequence[Any], metrics: Sequence[str]) -> list[Column]:
    length = options.max_column_length
    best = [board.best] if board.best is not None else []
    wanted = list(metrics) or ([board.metric] if board.metric else [])
    return parameter_columns(options.parameter_columns, shown, length) + metric_columns(
        options.metric_columns, wanted, [*shown, *best], options.infer_limit, length
    )


def _experiment_name(trials: Sequence[Any]) -> str:
    return str(getattr(trials[0], "experiment_dir_name", "")) if trials else ""


def _remaining(board: Board, elapsed: float, expected: int | None) -> float | None:
    """A guess: the trials to come take as long as those that ended. None before three have ended."""
    if expected is None or board.ended < 3 or expected <= board.ended:
        return None
    return elapsed / board.ended * (expected - board.ended)


def _describe_best(trial: Any, metric: str, mode: str | None) -> tuple[str, str]:
    value = lookup(trial.last_result, metric)
    iteration = trial.last_result.get("training_iteration")
    text = f"{metric} {format_value(value)}"
    text += f" ({mode})" if mode else ""
    text += f" by {trial}"
    text += f" in iteration {iteration}" if iteration is not None else ""
    return text, describe_params(trial)


def describe_params(trial: Any, most: int = 12) -> str:
    """``lr=0.001 layers=4``: what was searched."""
    if trial.evaluated_params:
        params: Mapping[str, Any] = {key: current_value(trial, key) for key in map(str, trial.evaluated_params)}
    else:
        params = flatten(trial.config)
    parts = [f"{key}={format_value(value, 24)}" for key, value in params.items()]
    return " ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def _failure(trial: Any) -> Failure:
    return Failure(str(trial), trial.num_failures, _failure_line(trial), trial.error_file or "")


def _failure_line(trial: Any) -> str:
    error = trial.error
    if error is None:
        return ""
    return getattr(error, "summary", "") or error_line(str(error)) or type(error).__name__


def describe_failure(trial: Any) -> str:
    """What went wrong, and where it can be read, on one line."""
    line = _failure_line(trial) or "unknown reason"
    return f"{line} ({trial.error_file})" if trial.error_file else line
