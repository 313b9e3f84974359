"""``ResultGrid``: what came out of ``Tuner.fit()``, one result per trial."""

from __future__ import annotations

import functools
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

from aktis.tune.analysis._best import MODES, SCOPES
from aktis.tune.analysis._results import read_frame
from aktis.tune.analysis.state_format import StoredTrialError
from aktis.tune.error import TuneError
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    import pandas

    from aktis.air.checkpoint import Checkpoint
    from aktis.air.html import Part
    from aktis.air.result import Result
    from aktis.tune.analysis.experiment_analysis import ExperimentAnalysis

__all__ = ["ResultGrid"]

_ROWS = 20  # of a repr


class ResultGrid:
    """The results of all trials, in their order, also of those that failed or have not ended.

    ::

        results = tuner.fit()
        best = results.get_best_result(metric="loss", mode="min")
        best.config, best.metrics, best.checkpoint
        results.get_dataframe()

    A result is made when it is asked for; its data frame and checkpoints are read when they are.
    """

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._experiment_analysis = experiment_analysis

    @property
    def _trials(self) -> list[Trial]:
        return self._experiment_analysis.trials

    def __len__(self) -> int:
        return len(self._trials)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...
    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        if isinstance(index, slice):
            return [self._result(trial) for trial in self._trials[index]]
        try:
            trial = self._trials[index]
        except IndexError:
            raise IndexError(f"there is no result {index}: the experiment has {len(self)} trials") from None
        return self._result(trial)

    def __iter__(self) -> Iterator[Result]:
        return (self._result(trial) for trial in self._trials)

    # -- questions ----------------------------------------------------------------------------------------------------

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """The result of the best trial. A single trial is the best one, whatever it reported.

        Args:
            metric: What to compare; ``TuneConfig``'s when left out.
            mode: "min" or "max"; ``TuneConfig``'s when left out.
            scope: "last": the last result of each trial. "all": its best one. "avg", "last-5-avg", "last-10-avg": the mean of
                all, of the last five, of the last ten.
            filter_nan_and_inf: Pass over trials whose score is NaN or infinite.

        Raises:
            ValueError: Metric or mode is not known, or there is no such mode or scope.
            RuntimeError: No trial has a usable value of the metric.
        """
        analysis = self._experiment_analysis
        if len(self) == 1:
            return self[0]
        for name, given, default in (
            ("metric", metric, analysis.default_metric),
            ("mode", mode, analysis.default_mode),
        ):
            if not given and not default:
                raise ValueError(
                    f"which result is best depends on a {name}: call get_best_result({name}=...), or set it in TuneConfig"
                )
        if mode is not None and mode not in MODES:
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if scope not in SCOPES:
            raise ValueError(f"scope must be one of {', '.join(map(repr, SCOPES))}, got {scope!r}")
        if not self._trials:
            raise RuntimeError("there is no best result: the experiment has no trials")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            best = analysis.get_best_trial(metric, mode, scope, filter_nan_and_inf)
        if best is None:
            reasons = "; ".join(str(one.message) for one in caught)
            failed = f"; {self.num_errors} of {len(self)} trials failed, see .errors" if self.num_errors else ""
            raise RuntimeError(f"there is no best result: {reasons}{failed}")
        return self._result(best)

    def get_dataframe(self, filter_metric: str | None = None, filter_mode: str | None = None) -> pandas.DataFrame:
        """One row per trial that reported: its last result, its configuration (``config/...``), its directory (``logdir``).

        Args:
            filter_metric: Take the result in which this metric is best, in place of the last one.
            filter_mode: "min" or "max".

        Raises:
            ValueError: Only one of the two, or an unknown mode.
            KeyError: No trial reported the metric.
        """
        if bool(filter_metric) != bool(filter_mode):
            missing, given = ("filter_mode", "filter_metric") if filter_metric else ("filter_metric", "filter_mode")
            raise ValueError(f"get_dataframe was given {given} without {missing}: give both, or neither")
        return self._experiment_analysis.dataframe(metric=filter_metric, mode=filter_mode)

    @property
    def errors(self) -> list[BaseException]:
        """What the failed trials failed of."""
        return [error for trial in self._trials if (error := self._error(trial)) is not None]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return sum(trial.status == Trial.ERROR for trial in self._trials)

    @property
    def num_terminated(self) -> int:
        """How many trials ended well."""
        return sum(trial.status == Trial.TERMINATED for trial in self._trials)

    @property
    def experiment_path(self) -> str:
        """The experiment's directory."""
        return self._experiment_analysis.experiment_path

    def add_to_page(self, part: Part) -> None:
        """Add trials, curves and what the parameters do to a page: ``page.add("The search", results)``; see aktis.air.html.

        Raises:
            ValueError: There are no trials.
        """
        from aktis.tune._report.gather import gather
        from aktis.tune._report.page import add_experiment

        if not self._trials:
            raise ValueError(
                f"the experiment in {self.experiment_path} has no trials, so there is nothing to say about it"
            )
        add_experiment(part, gather(self._experiment_analysis))

    # -- making results -------------------------------------------------------------------------------------------------

    def _error(self, trial: Trial) -> BaseException | None:
        if trial.status != Trial.ERROR:
            return None
        error = trial.error
        if isinstance(error, StoredTrialError) and self._experiment_analysis.load_pickles:
            return _unpickled(os.path.join(trial.logdir, "error.pkl")) or error
        return error if error is not None else TuneError(f"trial {trial} failed, and nothing says why")

    def _result(self, trial: Trial) -> Result:
        from aktis.air.result import Result

        metrics = dict(trial.last_result)
        metrics.setdefault("config", trial.config)
        return Result(
            metrics=metrics,
            checkpoint=_latest(trial),
            error=self._error(trial),
            log_dir=trial.logdir or None,
            metrics_dataframe=functools.partial(read_frame, trial.logdir) if trial.logdir else None,
            best_checkpoints=functools.partial(_kept, trial),
        )

    # -- looks ------------------------------------------------------------------------------------------------------------

    def _summary(self) -> str:
        counts = Counter(trial.status for trial in self._trials)
        states = ", ".join(f"{number} {status}" for status, number in counts.most_common())
        return f"{len(self)} trials" + (f": {states}" if states else "")

    def _rows(self) -> tuple[list[str], list[list[str]], int]:
        """Headings, rows, and how many trials have none."""
        from aktis.tune._progress.board import Board
        from aktis.tune._progress.snapshot import Options, take_snapshot

        metric, mode = self._experiment_analysis.default_metric, self._experiment_analysis.default_mode
        board = Board(metric if isinstance(metric, str) else None, mode if isinstance(mode, str) else None)
        board.sync(self._trials)
        picture = take_snapshot(board, Options(max_progress_rows=_ROWS), elapsed=0.0, done=True)
        header = ["trial", "status", *[column.label for column in picture.columns]]
        rows = [[row.name, row.status, *row.cells] for row in picture.rows]
        return header, rows, sum(picture.hidden.values())

    def __repr__(self) -> str:
        if not self._trials:
            return "ResultGrid(no trials)"
        header, rows, hidden = self._rows()
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, *rows]
        ]
        more = [f"  ... and {hidden} more"] if hidden else []
        return "\n".join([f"ResultGrid({self._summary()})", *lines, *more])

    def _repr_html_(self) -> str:
        from html import escape

        from aktis.air.html import fragment_table

        header, rows, hidden = self._rows()
        more = f"<div>… and {hidden} more</div>" if hidden else ""
        return f"<div><b>ResultGrid</b> · {escape(self._summary())}{fragment_table(header, rows)}{more}</div>"


def _latest(trial: Trial) -> Checkpoint | None:
    try:
        return trial.checkpoint
    except (OSError, ValueError) as error:  # it was deleted, or is only half there
        warnings.warn(f"the checkpoint of trial {trial} can't be used: {error}", UserWarning, stacklevel=4)
        return None


def _kept(trial: Trial) -> list[tuple[Checkpoint, dict[str, Any]]]:
    return trial.checkpoints.best_checkpoints if trial.checkpoints is not None else []


def _unpickled(path: str) -> BaseException | None:
    import pickle

    try:
        with open(path, "rb") as file:
            error = pickle.load(file)
    except Exception:  # whatever unpickling raises: its class may be gone; the text is there all the same
        return None
    return error if isinstance(error, BaseException) else None
