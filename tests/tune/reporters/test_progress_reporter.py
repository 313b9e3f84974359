"""Reporters on a terminal, in a log and in a notebook, and the callback that feeds them."""

from __future__ import annotations

import io
import logging
import os
import pty
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from aktis.air import display as display_module
from aktis.air.display import PlainDisplay, TerminalDisplay, environment
from aktis.tune.experiment.trial import Trial
from aktis.tune.progress_reporter import (
    CLIReporter,
    JupyterNotebookReporter,
    ProgressReporter,
    TrialProgressCallback,
    TuneReporterBase,
    detect_reporter,
)


def trial_of(number: int, status: str = Trial.RUNNING, **result: Any) -> Trial:
    trial = Trial("train", trial_id=f"t{number}", config={"lr": number / 10}, evaluated_params={"lr": number / 10})
    trial.experiment_dir, trial.relative_logdir = "/results/exp", f"train_t{number}"
    trial.status = status
    if result:
        trial.last_result = {"training_iteration": 1, **result}
    return trial


def failed(trial: Trial, text: str) -> Trial:
    trial.status, trial.error, trial.num_failures = Trial.ERROR, ValueError(text), 1
    return trial


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "time", clock)
    return clock


def reporter_for(stream: io.StringIO, **kwargs: Any) -> CLIReporter:
    reporter = CLIReporter(stream=stream, **kwargs)
    reporter.setup(start_time=990.0, total_samples=4, metric="loss", mode="min")
    return reporter


# -- in a log --------------------------------------------------------------------------------------------------------------


def test_a_line_every_five_seconds_and_a_table_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    reporter = reporter_for(stream)
    trials = [trial_of(1, loss=0.5), trial_of(2, loss=0.25), trial_of(3, Trial.PENDING)]
    assert reporter.should_report(trials)
    reporter.report(trials, False, "2/4 CPUs", "FIFO")
    clock.now += 4.9
    assert not reporter.should_report(trials)
    clock.now += 0.1
    assert reporter.should_report(trials)
    assert stream.getvalue() == (
        "[10 s] 0 of 4 trials: 2 running, 1 pending; best loss 0.25 (min) by train_t2 in iteration 1 (lr=0.2); 2/4 CPUs\n"
    )
    trials[0].status = trials[1].status = Trial.TERMINATED
    failed(trials[2], "loss became NaN")
    assert reporter.should_report(trials, done=True), "the end is always reported"
    reporter.report(trials, True)
    text = stream.getvalue()
    rows = [line.split()[:2] for line in text.splitlines() if "TERMINATED" in line]
    assert rows == [["★", "train_t2"], ["train_t1", "✓"]], "best first"
    assert "loss became NaN" in text
    assert "/results/exp/train_t3/error.txt" in text
    assert "\x1b" not in text, "no colours in a file"


def test_silence(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = detect_reporter()
    reporter.setup(verbose=0)
    assert not reporter.should_report([trial_of(1)], done=True)
    reporter.report([trial_of(1)], True)
    callback = TrialProgressCallback(reporter, verbose=1)
    callback.on_trial_complete(1, [], trial_of(1))
    callback.on_trial_error(1, [], failed(trial_of(2), "x"))
    assert capsys.readouterr().out == ""


def test_how_many_rows_and_how_often(clock: Clock) -> None:
    stream = io.StringIO()
    reporter = reporter_for(
        stream, max_progress_rows=2, max_error_rows=1, max_report_frequency=60, print_intermediate_tables=True
    )
    trials = [trial_of(number, loss=float(number)) for number in range(5)]
    trials += [failed(trial_of(number), f"error {number}") for number in (7, 8)]
    assert reporter.should_report(trials)
    clock.now += 59
    assert not reporter.should_report(trials)
    reporter.report(trials, False)
    text = stream.getvalue()
    assert "... 5 more trials not shown (3 RUNNING, 2 ERROR)" in text
    assert "error 8" in text
    assert "error 7" not in text
    assert "... 1 more failed trials not shown" in text


def test_columns(clock: Clock) -> None:
    stream = io.StringIO()
    reporter = CLIReporter(
        stream=stream,
        metric_columns=["loss"],
        parameter_columns={"lr": "rate"},
        max_column_length=5,
        print_intermediate_tables=True,
    )
    reporter.add_metric_column("acc", "accuracy")
    reporter.add_parameter_column("seed")
    with pytest.raises(ValueError, match="the metric column 'acc' is there already"):
        reporter.add_metric_column("acc")
    trial = trial_of(1, loss=0.5, acc=1)
    trial.config["seed"] = "abcdefghijkl"
    reporter.report([trial], False)
    heading = next(line for line in stream.getvalue().splitlines() if line.startswith("trial"))
    assert heading.split() == ["trial", "status", "rate", "seed", "loss", "accuracy"]
    assert "abc…l" in stream.getvalue()


def test_arguments_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'up'"):
        CLIReporter(mode="up")
    with pytest.raises(ValueError, match="max_report_frequency"):
        CLIReporter(max_report_frequency=-1)
    with pytest.raises(TypeError, match="list of names or a dict"):
        CLIReporter(metric_columns="loss")
    with pytest.raises(NotImplementedError, match="must define report"):
        ProgressReporter().report([], False)


def test_metric_and_mode_are_given_in_one_place() -> None:
    reporter = CLIReporter(metric="loss", mode="min")
    assert not reporter.set_search_properties("acc", "max")
    assert reporter.set_search_properties(None, None)
    other = CLIReporter()
    assert other.set_search_properties(["acc", "size"], ["max", "min"])
    other.setup(total_samples=3)
    picture = other.snapshot([trial_of(1, acc=0.5, size=3)], False)
    assert [column.key for column in picture.columns][1:3] == ["acc", "size"], "of several objectives all have a column"
    assert "acc 0.5 (max)" in picture.best


def test_a_reporter_of_ones_own() -> None:
    class AtEnds(CLIReporter):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.ended = 0

        def should_report(self, trials: Any, done: bool = False) -> bool:
            before, self.ended = self.ended, sum(trial.status == Trial.TERMINATED for trial in trials)
            return self.ended > before

    stream = io.StringIO()
    reporter = AtEnds(stream=stream)
    assert not reporter.should_report([trial_of(1)])
    assert reporter.should_report([trial_of(1, "TERMINATED")])
    reporter.report([trial_of(1, "TERMINATED")], False)
    assert "1 done" in stream.getvalue()


# -- the callback ----------------------------------------------------------------------------------------------------------


def test_lines_about_trials(clock: Clock) -> None:
    stream = io.StringIO()
    callback = TrialProgressCallback(reporter_for(stream), verbose=3, metric="loss")
    trial = trial_of(1, val={"acc": 0.5}, loss=0.12345678, time_total_s=90.0, pid=3)
    callback.on_trial_start(1, [trial], trial)
    callback.on_trial_result(1, [trial], trial, trial.last_result)
    clock.now += 4
    callback.on_trial_result(1, [trial], trial, trial.last_result)  # too soon
    trial.status = Trial.TERMINATED
    callback.on_trial_complete(2, [trial], trial)
    callback.on_trial_error(
        3, [trial], failed(trial_of(2), "Traceback (most recent call last):\nRuntimeError: boom\nmore")
    )
    assert stream.getvalue().splitlines() == [
        "train_t1 reported loss=0.1235, val/acc=0.5, iteration 1, 1 min 30 s",
        "train_t1 finished: loss=0.1235, val/acc=0.5, iteration 1, 1 min 30 s",
        "train_t2 failed: RuntimeError: boom (/results/exp/train_t2/error.txt)",
    ]


def test_chosen_metrics_and_fewer_words(capsys: pytest.CaptureFixture[str]) -> None:
    callback = TrialProgressCallback(None, verbose=2, progress_metrics=["val/acc", "nope"])
    trial = trial_of(1, val={"acc": 0.5}, loss=1.0)
    callback.on_trial_result(1, [trial], trial, trial.last_result)
    callback.on_trial_complete(1, [trial], trial)
    assert capsys.readouterr().out == "train_t1 finished: val/acc=0.5, iteration 1\n"


def test_a_result_of_a_fed_reporter_looks_at_no_other_trial() -> None:
    class Untouchable(Trial):
        __slots__ = ()

        @property
        def last_result(self) -> dict[str, Any]:  # type: ignore[override]
            raise AssertionError("looked at")

        @last_result.setter
        def last_result(self, value: Any) -> None:
            pass

    reporter = CLIReporter(stream=io.StringIO())
    reporter.setup(metric="loss", mode="min")
    callback = TrialProgressCallback(reporter, verbose=1)
    trial = trial_of(0, loss=1.0)
    trials = [trial, *[Untouchable("f", trial_id=str(number)) for number in range(3)]]
    callback.on_trial_start(1, trials, trial)
    callback.on_trial_result(1, trials, trial, trial.last_result)


# -- on a terminal -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A pseudo terminal: what writes to it, and what reads all that was written so far."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    stream = os.fdopen(slave, "w", encoding="utf-8")

    def read() -> str:
        stream.flush()
        chunks = []
        while True:
            try:
                chunks.append(os.read(master, 65536))
            except BlockingIOError:
                return b"".join(chunks).decode()

    yield stream, read
    stream.close()
    os.close(master)


def test_a_picture_that_is_painted_over(terminal: Any, clock: Clock) -> None:
    stream, read = terminal
    assert environment(stream) == "terminal"
    reporter = CLIReporter(stream=stream)
    reporter.setup(start_time=clock.now, total_samples=100, metric="loss", mode="min")
    trials = [trial_of(number, loss=1 / (number + 1)) for number in range(40)]
    assert reporter.should_report(trials)
    reporter.report(trials, False, "2/4 CPUs")
    first = read()
    assert "0 of 100 trials" in first
    assert first.count("\n") < 20, "no more than the terminal has lines"
    assert "more trials not shown" in first
    clock.now += 0.1
    assert not reporter.should_report(trials), "four times a second"
    clock.now += 10
    assert reporter.should_report(trials)
    reporter.line("train_t1 finished")
    assert "train_t1 finished" not in read(), "lines wait for the next picture"
    trials[0].status = Trial.TERMINATED
    reporter.report(trials, False, "2/4 CPUs")
    second = read()
    assert second.index("train_t1 finished") < second.index("1 of 100 trials")
    assert "\x1b[1A" in second, "the cursor goes back up"
    reporter.report(trials, True)
    assert "finished" in read()


def test_log_records_do_not_tear_the_picture(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, read = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    handler = logging.StreamHandler()
    logger = logging.getLogger("test_log_records")
    logger.addHandler(handler)
    screen = TerminalDisplay(stream)
    try:
        screen.update(lambda width, height: "PICTURE")
        read()
        logger.error("something happened")
        text = read()
        assert text.index("something happened") < text.index("PICTURE"), "above it, and the picture is painted anew"
        assert handler.stream is not stream
    finally:
        screen.close()
        logger.removeHandler(handler)
    assert handler.stream is stream
    assert sys.stderr is stream


# -- in a notebook -------------------------------------------------------------------------------------------------------------


def test_an_output_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("IPython")
    import IPython.display

    shown: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            shown.append("update:" + html.data)

    def show(html: Any, display_id: bool) -> Handle:
        shown.append("display:" + html.data)
        return Handle()

    monkeypatch.setattr(IPython.display, "display", show)
    monkeypatch.setattr(display_module, "environment", lambda *_: "notebook")
    reporter = detect_reporter()
    assert isinstance(reporter, JupyterNotebookReporter)
    reporter.setup(metric="loss", mode="min")
    trial = trial_of(1, loss=0.5)
    trial.config["lr"] = trial.evaluated_params["lr"] = "<script>"
    reporter.report([trial], False)
    reporter.report([failed(trial, "x < y")], True)
    assert [text.partition(":")[0] for text in shown] == ["display", "update"]
    assert "&lt;script&gt;" in shown[0]
    assert "<script>" not in shown[0]
    assert "x &lt; y" in shown[1]
    appending = JupyterNotebookReporter(overwrite=False)
    appending.report([trial], False)
    appending.report([trial], False)
    assert [text.partition(":")[0] for text in shown[2:]] == ["display", "display"]


def test_outside_of_a_notebook_its_reporter_prints_text(capsys: pytest.CaptureFixture[str]) -> None:
    reporter: TuneReporterBase = JupyterNotebookReporter()
    reporter.report([trial_of(1, loss=0.5)], True)
    assert "train_t1" in capsys.readouterr().out


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert environment(stream) == "plain"
    assert isinstance(display_module.open_display(io.StringIO()), PlainDisplay)


def test_beside_a_reporter_that_tells_everything_nobody_speaks_of_trials() -> None:
    from aktis.tune._execution.front import Options, progress_callbacks, tells_everything

    class Own(ProgressReporter):
        tells_everything = True

        def report(self, trials: Sequence[Any], done: bool, *sys_info: str) -> None:
            pass

    options = Options(progress_reporter=Own(), verbose=3)
    assert tells_everything(options) and not tells_everything(Options())
    assert [type(callback).__name__ for callback in progress_callbacks(options)] == ["ReporterCallback"]
    assert len(progress_callbacks(Options(verbose=3))) == 2
