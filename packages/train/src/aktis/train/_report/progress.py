"""What ``Trainer.fit`` shows while it goes on: one run, rather than a table of trials.

Tune's loop asks the reporter at each of its turns. What the trial reported is in the trial; what its workers do stands in the
record that the trainer's process writes, whose end is read when there is something to be shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from aktis.air.display import Pace
from aktis.train._report.record import FILE_NAME, RecordTail, RunRecord
from aktis.tune.progress_reporter import ProgressReporter

if TYPE_CHECKING:
    from aktis.air.display import Display
    from aktis.train._report.state import State

__all__ = ["TrainReporter"]

_PLAIN_PERIOD = 5.0  # seconds between two lines in a log, when there is something new
_SILENT_PERIOD = 60.0  # when there is nothing new
_LOOK_PERIOD = 0.25  # between two looks for something new


class TrainReporter(ProgressReporter):
    """Shows a training run: on a terminal and in notebooks a display that is painted over, elsewhere a line now and then.

    ========  ============================================================================================
    verbose
    ========  ============================================================================================
    0         nothing
    1         the display; in logs: restarts, and the end
    2         in logs also the metrics, every five seconds at most
    3         the display with a table of the ranks; in logs also what each of them uses (the default)
    ========  ============================================================================================

    Args:
        stream: Where to; standard output when left out.
        period: Seconds between two reports. Left out: 0.25 where a display is painted over, else 5.
    """

    tells_everything = True

    def __init__(self, *, stream: TextIO | None = None, period: float | None = None) -> None:
        self._stream = stream
        self._period = period
        self._pace = Pace(period, _LOOK_PERIOD)
        self._display: Display | None = None
        self._tail: RecordTail | None = None
        self._start_time = time.time()
        self._restarts = 0  # that were told
        self._told: tuple[Any, float] | None = None  # what the last line was about, and when it was
        self.verbose = 3

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._period,)  # it is stored with the run, which may be taken up in another process

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._start_time = time.time() if start_time is None else start_time
        if kwargs.get("verbose") is not None:
            self.verbose = int(kwargs["verbose"])

    def should_report(self, trials: Sequence[Any], done: bool = False) -> bool:
        if self.verbose <= 0:
            return False
        return self._pace.is_time(lambda: self._open().live, anyway=done)

    def _open(self) -> Display:
        if self._display is None:
            from aktis.air.display import environment, open_display

            where = environment(self._stream)
            self._display = open_display(self._stream, where="plain" if where == "notebook" and self._stream else where)
        return self._display

    def report(self, trials: Sequence[Any], done: bool, *sys_info: str) -> None:
        if self.verbose <= 0 or not trials:
            return
        from aktis.train._report.state import take_state

        trial = trials[0]
        record = self._record(trial)
        state = take_state(trial, record, max(0.0, time.time() - self._start_time), done)
        self._tell_restarts(state, record)
        if self._open().live:
            self._paint(state, done)
        else:
            self._print(state, done)
        if done:
            self.close()

    def _record(self, trial: Any) -> RunRecord:
        directory = trial.logdir
        if not directory:
            return RunRecord()
        path = os.path.join(directory, FILE_NAME)
        if self._tail is None or self._tail.path != path:
            self._tail = RecordTail(path)
        self._tail.look()
        return self._tail.record

    def _tell_restarts(self, state: State, record: RunRecord) -> None:
        from aktis.train._report.frames import error_line
        from aktis.train._report.views import restart_line

        for number, event in enumerate(record.restarts[self._restarts :], self._restarts + 1):
            self._open().line(restart_line(state, number, error_line(event.text)))
        self._restarts = max(self._restarts, state.restarts)

    def _paint(self, state: State, done: bool) -> None:
        from aktis.train._report.views import html_view, rich_view

        verbose = self.verbose
        with self._pace.painting():
            self._open().update(
                lambda width, height: rich_view(
                    state, width, 1_000_000 if done else height, verbose=verbose, done=done
                ),
                lambda: html_view(state, verbose=verbose, done=done),
            )

    def _print(self, state: State, done: bool) -> None:
        """A line: when there is news and the last was a while ago, when nothing comes for long, and at the end."""
        from aktis.train._report.views import closing_lines, status_line

        now, about = time.monotonic(), (state.state, state.iteration)
        if self._told is None:  # a run that is soon over has one line
            self._told = (None, now)
        period = _PLAIN_PERIOD if about != self._told[0] else _SILENT_PERIOD
        is_due = self.verbose >= 2 and state.iteration is not None and now - self._told[1] >= period
        if not (done or is_due):
            return
        self._told = (about, now)
        self._open().line(status_line(state, detailed=self.verbose >= 3 and not done))
        if done:
            for label, words in closing_lines(state):
                self._open().line(f"  {label:<11} {words}")

    def close(self) -> None:
        """Leave the last picture."""
        if self._display is not None:
            self._display.close()
            self._display = None


def _made(period: float | None) -> TrainReporter:
    return TrainReporter(period=period)
