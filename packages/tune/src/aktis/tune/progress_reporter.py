"""What a run shows of itself while it goes on.

::

    runner ──hooks──▶ TrialProgressCallback ──▶ reporter.observe(trial), lines about trials that ended
       └──every turn──▶ reporter.should_report(trials) ? reporter.report(trials, done, *words about resources and scheduler)

On a terminal a display is painted over at most four times a second, in a notebook an output is replaced, elsewhere a line is
printed every five seconds. A result costs a few dictionary lookups, whatever the number of trials.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from aktis.air.callbacks import Callback
from aktis.air.display import Pace
from aktis.tune._progress.board import Board
from aktis.tune._progress.snapshot import Options, Snapshot, take_snapshot

if TYPE_CHECKING:
    from aktis.air.callbacks import TrialInfo
    from aktis.air.display import Display

__all__ = [
    "CLIReporter", "JupyterNotebookReporter", "ProgressReporter", "TrialProgressCallback", "TuneReporterBase", "detect_reporter",
]  # fmt: skip

_PLAIN_PERIOD = 5.0  # seconds between two lines in a log


class ProgressReporter:
    """Base of reporters. Subclasses override :meth:`should_report` and :meth:`report`.

    Attributes:
        tells_everything: Whether the reporter itself says all that there is to be said: no lines about trials that report, end or
            fail are printed or logged beside it.
    """

    tells_everything: bool = False

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Before the first report.

        Args:
            start_time: When the run began, in seconds since 1970.
            total_samples: How many trials there will be, when known.
            metric: What is compared.
            mode: "min" or "max".
            kwargs: May grow; ``verbose`` is the run's verbosity, 0 to 3.
        """

    def should_report(self, trials: Sequence[Any], done: bool = False) -> bool:
        """Whether :meth:`report` is to be called now. ``done``: the run has ended."""
        return True

    def report(self, trials: Sequence[Any], done: bool, *sys_info: str) -> None:
        """Show the state of the run.

        Args:
            trials: All trials so far.
            done: The run has ended: this is the last call.
            sys_info: Words about resources and the scheduler.
        """
        raise NotImplementedError(f"{type(self).__name__} must define report(trials, done, *sys_info)")

    def set_search_properties(self, metric: str | None, mode: str | None) -> bool:
        """Take metric and mode of the run. False when the reporter was given its own."""
        return True


class TuneReporterBase(ProgressReporter):
    """What the reporters of Tune share.

    Args:
        metric_columns: Metrics to show: names (``"a/b"`` for nested ones), or names with the headings to show. Left out: the metric
            that is compared, iteration, time, and some that the trials report.
        parameter_columns: The same for the configuration. Left out: what is searched.
        total_samples: How many trials there will be.
        max_progress_rows: Rows of the table of trials at most.
        max_error_rows: Rows of the table of failures at most.
        max_column_length: Characters of a cell at most.
        max_report_frequency: Seconds between two reports at least. Left out: 0.25 where the display is painted over, else 5.
        infer_limit: How many metrics to show that nobody asked for.
        print_intermediate_tables: Show the table also while the run goes on. Left out: where the display is painted over.
        metric: What decides which trial is best. Left out: the run's.
        mode: "min" or "max".
        sort_by_metric: Sort the table by ``metric``, best first.
    """

    def __init__(
        self,
        *,
        metric_columns: Sequence[str] | Mapping[str, str] | None = None,
        parameter_columns: Sequence[str] | Mapping[str, str] | None = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: float | None = None,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        if mode is not None and mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
        if max_report_frequency is not None and max_report_frequency < 0:
            raise ValueError(f"max_report_frequency must be 0 or more seconds, got {max_report_frequency!r}")
        self._options = Options(
            _copied(metric_columns), _copied(parameter_columns), max_progress_rows, max_error_rows, max_column_length, infer_limit,
            sort_by_metric,
        )  # fmt: skip
        self._total_samples = total_samples
        self._pace = Pace(max_report_frequency, _PLAIN_PERIOD)
        self._tables = print_intermediate_tables
        self._own_metric, self._own_mode = metric, mode
        self._metrics: list[str] = []
        self._board = Board(metric, mode)
        self._start_time = time.time()
        self._display: Display | None = None
        self.verbose = 3

    # -- settings -----------------------------------------------------------------------------------------------------

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.set_start_time(start_time)
        self.set_total_samples(total_samples)
        self.set_search_properties(metric, mode)
        if kwargs.get("verbose") is not None:
            self.verbose = int(kwargs["verbose"])

    def set_search_properties(self, metric: Any, mode: Any) -> bool:
        if (self._own_metric and metric) or (self._own_mode and mode):
            return False
        # Of several objectives all have a column, and the first one says which trial is best.
        if metric:
            self._metrics = [metric] if isinstance(metric, str) else list(metric)
        first_mode = mode if isinstance(mode, str) or not mode else mode[0]
        self._board.set_metric(
            self._own_metric or (self._metrics[0] if self._metrics else self._board.metric),
            self._own_mode or first_mode or self._board.mode,
        )
        return True

    def set_total_samples(self, total_samples: int | None) -> None:
        """How many trials there will be; None leaves what is known."""
        self._total_samples = total_samples if total_samples else self._total_samples

    def set_start_time(self, timestamp: float | None = None) -> None:
        """When the run began: now, when left out."""
        self._start_time = time.time() if timestamp is None else timestamp

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show one more metric.

        Args:
            metric: Its name.
            representation: The heading.

        Raises:
            ValueError: It is shown already.
        """
        self._options.metric_columns = _added(self._options.metric_columns, metric, representation, "metric")

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show one more parameter; see :meth:`add_metric_column`."""
        self._options.parameter_columns = _added(
            self._options.parameter_columns, parameter, representation, "parameter"
        )

    # -- being fed ----------------------------------------------------------------------------------------------------

    def observe(self, trial: Any) -> None:
        """A trial's status changed. From the first call on no trial is looked at without need."""
        self._board.fed = True
        self._board.observe(trial)

    def observe_result(self, trial: Any) -> None:
        """A trial reported."""
        self._board.fed = True
        self._board.observe_result(trial)

    def line(self, text: str) -> None:
        """Print a line about a trial: above the display where there is one."""
        self._open().line(text)

    # -- reporting ----------------------------------------------------------------------------------------------------

    def _open(self) -> Display:
        if self._display is None:
            self._display = self._new_display()
        return self._display

    def _new_display(self) -> Display:
        from aktis.air.display import open_display

        return open_display()

    def should_report(self, trials: Sequence[Any], done: bool = False) -> bool:
        if self.verbose <= 0:
            return False
        return self._pace.is_time(lambda: self._open().live, anyway=done)

    def snapshot(self, trials: Sequence[Any], done: bool, *sys_info: str, max_rows: int | None = None) -> Snapshot:
        """The state of the run as data, for views of one's own."""
        self._board.sync(trials)
        return take_snapshot(
            self._board,
            self._options,
            elapsed=max(0.0, time.time() - self._start_time),
            expected=self._total_samples,
            done=done,
            info=sys_info,
            max_rows=max_rows,
            metrics=self._metrics,
        )

    def report(self, trials: Sequence[Any], done: bool, *sys_info: str) -> None:
        if self.verbose <= 0:
            return
        from aktis.tune._progress.views import html_view, rich_view, status_line

        display = self._open()
        with_table = done or (display.live if self._tables is None else self._tables)

        def picture(width: int, height: int) -> Any:
            # When the run is over the terminal may scroll, before that it may not.
            rows = None if with_table else 0
            return rich_view(
                self.snapshot(trials, done, *sys_info, max_rows=rows), width, 1_000_000 if done else height
            )

        if not display.live and not with_table:
            display.line(status_line(self.snapshot(trials, done, *sys_info, max_rows=0)))
        else:
            with self._pace.painting():
                display.update(picture, lambda: html_view(self.snapshot(trials, done, *sys_info)))
        if done:
            self.close()

    def close(self) -> None:
        """Leave the last picture. A run that breaks off calls this, too."""
        if self._display is not None:
            self._display.close()
            self._display = None


class CLIReporter(TuneReporterBase):
    """For terminals and logs. Arguments: :class:`TuneReporterBase`; ``stream`` is where to write (standard output)."""

    def __init__(self, *, stream: TextIO | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stream = stream

    def _new_display(self) -> Display:
        from aktis.air.display import environment, open_display

        where = environment(self._stream)
        return open_display(self._stream, where="plain" if where == "notebook" else where)


class JupyterNotebookReporter(TuneReporterBase):
    """For notebooks. Arguments: :class:`TuneReporterBase`; ``overwrite=False`` adds outputs in place of replacing the last one."""

    def __init__(self, *, overwrite: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._overwrite = overwrite

    def _new_display(self) -> Display:
        from aktis.air.display import environment, open_display

        # Outside of a notebook nobody could see HTML.
        return open_display(where=environment(), overwrite=self._overwrite)


def detect_reporter(**kwargs: Any) -> TuneReporterBase:
    """The reporter that fits where output goes. Arguments: :class:`TuneReporterBase`."""
    from aktis.air.display import environment

    return JupyterNotebookReporter(**kwargs) if environment() == "notebook" else CLIReporter(**kwargs)


def _copied(columns: Sequence[str] | Mapping[str, str] | None) -> dict[str, str] | list[str] | None:
    if columns is None:
        return None
    if isinstance(columns, str):
        raise TypeError(f"columns must be a list of names or a dict of names and headings, got the string {columns!r}")
    return dict(columns) if isinstance(columns, Mapping) else list(columns)


def _added(
    columns: dict[str, str] | list[str] | None, name: str, heading: str | None, what: str
) -> dict[str, str] | list[str]:
    columns = columns if columns is not None else []
    if name in columns:
        raise ValueError(f"the {what} column {name!r} is there already")
    if isinstance(columns, dict):
        return {**columns, name: heading or name}
    if heading is not None and heading != name:
        return {**{column: column for column in columns}, name: heading}
    return [*columns, name]


class TrialProgressCallback(Callback):
    """Tells a reporter of each change, and prints a line for trials that end (verbose 2 and up) or report (3, in logs).

    Args:
        reporter: The reporter of the run; None: lines are printed, nothing else.
        verbose: 0 and 1 print no lines; 2: trials that ended or failed; 3: also results, one per trial in five seconds, where no
            live display shows them anyway.
        progress_metrics: Only these metrics in lines about results.
        metric: The metric that is compared comes first in lines.
    """

    def __init__(
        self,
        reporter: ProgressReporter | None = None,
        verbose: int = 3,
        progress_metrics: Sequence[str] | None = None,
        metric: str | None = None,
    ) -> None:
        self._reporter = reporter if isinstance(reporter, TuneReporterBase) else None
        self._verbose = verbose
        self._metrics = list(progress_metrics or ())
        self._metric = metric
        self._told: dict[str, float] = {}

    def _say(self, text: str) -> None:
        if self._reporter is not None:
            self._reporter.line(text)
        else:
            print(text)

    def _is_live(self) -> bool:
        return self._reporter is not None and self._reporter._open().live

    def on_trial_start(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        if self._reporter is not None:
            self._reporter.observe(trial)

    on_trial_restore = on_trial_start

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, result: dict[str, Any], **info: Any
    ) -> None:
        if self._reporter is not None:
            self._reporter.observe_result(trial)
        if self._verbose < 3:
            return
        now = time.monotonic()
        if now - self._told.get(trial.trial_id, float("-inf")) < _PLAIN_PERIOD or self._is_live():
            return
        self._told[trial.trial_id] = now
        self._say(f"{trial} reported {self._words(result)}")

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self._ended(trial)
        if self._verbose >= 2:
            words = self._words(trial.last_result)
            self._say(f"{trial} finished{': ' if words else ''}{words}")

    def on_trial_error(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self._ended(trial)
        if self._verbose >= 2:
            from aktis.tune._progress.snapshot import describe_failure

            self._say(f"{trial} failed: {describe_failure(trial)}")

    def _ended(self, trial: TrialInfo) -> None:
        self._told.pop(trial.trial_id, None)
        if self._reporter is not None:
            self._reporter.observe(trial)

    def _words(self, result: Mapping[str, Any]) -> str:
        from aktis.air.display import format_duration, format_value
        from aktis.air.nested import flatten, lookup
        from aktis.tune._progress.columns import AUTO_KEYS

        if self._metrics:
            shown = {key: lookup(result, key) for key in self._metrics}
        else:
            shown = flatten({key: value for key, value in result.items() if key not in AUTO_KEYS})
        if self._metric in shown:
            shown = {self._metric: shown[self._metric], **shown}
        parts = [f"{key}={format_value(value, 40)}" for key, value in list(shown.items())[:12] if value is not None]
        if result.get("training_iteration") is not None:
            parts.append(f"iteration {result['training_iteration']}")
        if result.get("time_total_s") is not None:
            parts.append(format_duration(float(result["time_total_s"])))
        return ", ".join(parts)
