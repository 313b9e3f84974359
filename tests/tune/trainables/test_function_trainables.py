"""The function API, without actors: the thread and its hand-offs."""

from __future__ import annotations

import functools
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aktis.air import session, session_host
from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import SessionError
from aktis.tune.error import TuneError
from aktis.tune.trainable import FunctionTrainable, wrap_function
from aktis.tune.trainable import session as tune
from aktis.tune.trainable.messages import DUPLICATE
from aktis.tune.trainable.session import TuneContext, TuneSession


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "results"))
    yield
    assert session_host.current() is None, "a test left its session installed"


def results(function: Any, config: dict[str, Any] | None = None, most: int = 20) -> list[dict[str, Any]]:
    """All results up to the one that is done."""
    trainable = wrap_function(function)(config)
    found = []
    try:
        for _ in range(most):
            found.append(trainable.train())
            if found[-1]["done"]:
                return found
    finally:
        trainable.stop()
    raise AssertionError(f"not done after {most} results")


def reported(function: Any, key: str = "x", config: dict[str, Any] | None = None) -> list[Any]:
    """What the results have under a key, and whether each repeats the last one."""
    return [(result.get(key), DUPLICATE in result) for result in results(function, config)]


# -- ways to report -----------------------------------------------------------------------------------


def new_style(config: dict[str, Any]) -> None:
    for x in range(2):
        session.report({"x": x})


def new_style_of_tune(config: dict[str, Any]) -> None:
    tune.report({"x": 0})
    tune.report(metrics={"x": 1})


def old_style(config: dict[str, Any]) -> None:
    for x in range(2):
        tune.report(x=x)


def with_reporter(config: dict[str, Any], reporter: Any) -> None:
    assert os.path.isdir(reporter.logdir) and reporter.trial_id == "default"
    for x in range(2):
        reporter(x=x)


def yields(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for x in range(2):
        yield {"x": x}


def reports_and_yields(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    session.report({"x": 0})
    yield {"x": 1}


async def asynchronous(config: dict[str, Any]) -> None:
    for x in range(2):
        session.report({"x": x})


class Methods:
    def method(self, config: dict[str, Any]) -> None:
        new_style(config)

    def __call__(self, config: dict[str, Any]) -> None:
        new_style(config)


def three_arguments(a: int, b: int, config: dict[str, Any]) -> None:
    new_style(config)


@pytest.mark.parametrize(
    "function",
    [
        new_style, new_style_of_tune, old_style, with_reporter, yields, reports_and_yields, asynchronous, Methods().method,
        Methods(), functools.partial(three_arguments, 1, 2), functools.partial(functools.partial(three_arguments, 1), 2),
        lambda config: new_style(config),
    ],
)  # fmt: skip
def test_every_way_to_report(function: Any) -> None:
    assert reported(function) == [(0, False), (1, False), (1, True)]


def test_what_is_returned_is_the_last_result() -> None:
    def returns(config: dict[str, Any]) -> dict[str, Any]:
        session.report({"x": 1})
        return {"x": 2}

    assert reported(returns) == [(1, False), (2, False)]


@pytest.mark.parametrize("number", [3, 0.5, np.float32(0.5), np.array(2)])
def test_a_number_is_the_default_metric(number: Any) -> None:
    assert reported(lambda config: number, "_metric") == [(number, False)]

    def generator(config: dict[str, Any]) -> Any:
        yield number
        return 7

    assert reported(generator, "_metric") == [(number, False), (7, False)]


def test_one_number_is_reported_with_others() -> None:
    def function(config: dict[str, Any]) -> None:
        tune.report(3.0, x=2)

    first, _ = results(function)
    assert first["_metric"] == 3.0 and first["x"] == 2


@pytest.mark.parametrize("value", ["text", [1], True, object])
def test_other_values_are_no_results(value: Any) -> None:
    with pytest.raises(ValueError, match="returned or yielded"):
        results(lambda config: value)

    def generator(config: dict[str, Any]) -> Any:
        yield value

    with pytest.raises(ValueError, match="generator returned or yielded"):
        results(generator)


def test_a_function_that_reports_nothing() -> None:
    (only,) = results(lambda config: None)
    assert only["done"] and only[DUPLICATE]
    assert only["trial_id"] == "default" and "training_iteration" not in only


def test_the_repetition_changes_nothing_but_done() -> None:
    *_, last, repetition = results(new_style)
    assert not last["done"] and repetition["done"]
    assert repetition == {**last, "done": True, DUPLICATE: True}


def test_results_are_filled_in() -> None:
    first, second, _ = results(new_style, {"a": 1})
    assert (first["training_iteration"], second["training_iteration"]) == (1, 2)
    assert second["config"] == {"a": 1} and second["time_total_s"] > 0


def test_done_ends_the_trial_in_the_report() -> None:
    after: list[int] = []

    def function(config: dict[str, Any]) -> None:
        session.report({"x": 1, "done": True})
        after.append(1)

    assert reported(function) == [(1, False)]
    assert after == []


def test_the_function_gets_a_copy_of_its_configuration() -> None:
    def function(config: dict[str, Any]) -> dict[str, Any]:
        config["list"].append(1)
        return {"x": len(config["list"])}

    config: dict[str, Any] = {"list": []}
    assert results(function, config)[0]["config"] == {"list": []}


# -- one after the other ------------------------------------------------------------------------------


def test_report_returns_only_when_the_next_result_is_asked_for() -> None:
    log: list[str] = []

    def function(config: dict[str, Any]) -> None:
        for x in range(3):
            log.append(f"before {x}")
            session.report({"x": x})
            log.append(f"after {x}")

    trainable = wrap_function(function)({})
    assert log == [], "nothing runs before the first step"
    for x in range(3):
        trainable.train()
        log.append(f"result {x}")
    trainable.stop()
    expected = ["before 0", "result 0", "after 0", "before 1", "result 1", "after 1", "before 2", "result 2"]
    assert log == expected, "nor anything after the report at which it was stopped"


def test_a_stop_runs_what_cleans_up_and_nothing_else() -> None:
    log: list[str] = []

    def function(config: dict[str, Any]) -> Any:
        try:
            yield {"x": 1}
            log.append("after")
        finally:
            log.append("finally")

    def with_swallowed_exit(config: dict[str, Any]) -> None:
        while True:
            try:
                session.report({"x": 1})
            except BaseException as error:
                log.append("exit" if isinstance(error, SystemExit) else repr(error))
                if log.count("exit") == 3:
                    return

    for wrapped in (function, with_swallowed_exit):
        trainable = wrap_function(wrapped)({})
        trainable.train()
        trainable.stop()
    assert log == ["finally", "exit", "exit", "exit"]


def test_an_asynchronous_function_is_stopped_too() -> None:
    log: list[str] = []

    async def function(config: dict[str, Any]) -> None:
        try:
            session.report({"x": 1})
            log.append("after")
        finally:
            log.append("finally")

    trainable = wrap_function(function)({})
    trainable.train()
    trainable.stop()
    assert log == ["finally"]


def test_an_error_while_it_is_stopped_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def function(config: dict[str, Any]) -> None:
        try:
            session.report({"x": 1})
        finally:
            raise RuntimeError("in the middle of cleaning up")

    trainable = wrap_function(function)({})
    trainable.train()
    trainable.stop()
    assert "in the middle of cleaning up" in caplog.text


def test_threads_end_and_nothing_is_kept_alive() -> None:
    class Large:
        pass

    alive: list[weakref.ref[Large]] = []

    def function(config: dict[str, Any]) -> None:
        large = Large()
        alive.append(weakref.ref(large))
        session.report({"x": 1})

    before = set(threading.enumerate())
    trainable = wrap_function(function)({})
    trainable.train()
    trainable.stop()
    assert set(threading.enumerate()) == before
    gc.collect()
    assert alive[0]() is None


def test_a_function_that_does_not_end_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "0.01")
    wait, ended = threading.Event(), threading.Event()
    late: list[BaseException] = []

    def function(config: dict[str, Any]) -> None:
        try:
            session.report({"x": 1})
        except SystemExit:
            wait.wait()  # a C library that takes no notice
            try:
                session.report({"x": 2})
            except BaseException as error:
                late.append(error)
            ended.set()

    trainable = wrap_function(function)({})
    trainable.train()
    with pytest.warns(RuntimeWarning, match="function has not ended 0.01 s after"):
        assert trainable.end_function() is False
    wait.set()
    assert ended.wait(10)
    assert late == [], "outside of its session, a report goes nowhere"
    trainable.stop()


class Interrupt(BaseException):
    pass


@pytest.fixture
def armed() -> Iterator[threading.Event]:
    """While it is set, SIGUSR1 raises Interrupt in the main thread, once."""
    event = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        if event.is_set():
            event.clear()
            raise Interrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield event
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("how", ["go on", "stop before the report", "stop after it"])
def test_an_interrupted_step(how: str, armed: threading.Event) -> None:
    go_on, at_report = threading.Event(), threading.Event()

    def function(config: dict[str, Any]) -> None:
        session.report({"x": 1})
        while armed.is_set():  # a signal that comes just before the wait does not end it
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            armed_no_more.wait(0.01)
        go_on.wait()
        at_report.set()
        session.report({"x": 2})
        session.report({"x": 3})

    armed_no_more = threading.Event()
    trainable = wrap_function(function)({})
    trainable.train()
    armed.set()
    with pytest.raises(Interrupt):
        trainable.train()
    armed_no_more.set()
    if how == "stop before the report":
        threading.Timer(0.01, go_on.set).start()
    else:
        go_on.set()
        at_report.wait()
    if how == "go on":
        assert [trainable.train()["x"] for _ in range(2)] == [2, 3]
    assert trainable.end_function()
    trainable.stop()


def test_a_timeout_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "soon")
    trainable = wrap_function(new_style)({})
    trainable.train()
    with pytest.raises(ValueError, match="TUNE_FUNCTION_THREAD_TIMEOUT_S='soon': expected a number"):
        trainable.stop()
    monkeypatch.setenv("TUNE_FUNCTION_THREAD_TIMEOUT_S", "2")
    trainable.stop()


# -- threads of the function --------------------------------------------------------------------------


def test_threads_of_the_function_may_report() -> None:
    def function(config: dict[str, Any]) -> None:
        threads = [threading.Thread(target=session.report, args=({"x": 1},)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert reported(function) == [(1, False)] * 4 + [(1, True)]


def test_a_thread_that_still_reports_when_the_function_returns_is_heard() -> None:
    def function(config: dict[str, Any]) -> None:
        started = threading.Event()

        def reports() -> None:
            started.set()
            session.report({"x": 1})

        threading.Thread(target=reports).start()
        started.wait()
        session.report({"x": 1})

    assert reported(function)[-1] == (1, True)


def test_who_waits_for_results_cannot_report() -> None:
    trainable = wrap_function(new_style)({})
    trainable.train()
    with pytest.raises(SessionError, match="the one that waits for its results"):
        session.report({"x": 1})
    trainable.stop()


def test_a_thread_of_an_ended_function_cannot_report() -> None:
    go, done = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def function(config: dict[str, Any]) -> None:
        host = session_host.current()

        def late() -> None:
            go.wait()
            try:
                host.report({"x": 2})  # type: ignore[union-attr]
            except BaseException as error:
                errors.append(error)
            done.set()

        threading.Thread(target=late).start()
        session.report({"x": 1})

    trainable = wrap_function(function)({})
    assert not trainable.train()["done"]
    assert trainable.train()["done"]
    go.set()
    assert done.wait(10)
    assert isinstance(errors[0], SessionError) and "has ended" in str(errors[0])
    trainable.stop()


def test_a_thread_of_an_earlier_trial_cannot_report_for_the_next() -> None:
    go, done = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def function(config: dict[str, Any]) -> None:
        def late() -> None:
            go.wait()
            try:
                session.report({"x": "of the first trial"})
            except BaseException as error:
                errors.append(error)
            done.set()

        if config["first"]:
            threading.Thread(target=late).start()
            session.report({"x": 1})
        else:
            go.set()
            done.wait()
            session.report({"x": 2})

    trainable = wrap_function(function)({"first": True})
    trainable.train()
    assert trainable.reset({"first": False})
    assert trainable.train()["x"] == 2
    assert isinstance(errors[0], SessionError) and "left over from a trial" in str(errors[0])
    trainable.stop()


# -- errors -------------------------------------------------------------------------------------------


def test_an_error_comes_with_the_users_traceback() -> None:
    def function(config: dict[str, Any]) -> None:
        session.report({"x": 1})
        raise ZeroDivisionError("boo")

    trainable = wrap_function(function)({})
    trainable.train()
    with pytest.raises(ZeroDivisionError, match="boo") as caught:
        trainable.train()
    assert caught.traceback[-1].name == "function"
    assert not any(entry.name in ("_main", "_call") for entry in caught.traceback), "our frames are in the way"
    with pytest.raises(TuneError, match="function has ended"):
        trainable.train()
    trainable.stop()


@pytest.mark.parametrize("code", [None, 0])
def test_a_clean_exit_is_an_end(code: Any) -> None:
    def function(config: dict[str, Any]) -> None:
        session.report({"x": 1})
        raise SystemExit(code)

    assert reported(function) == [(1, False), (1, True)]


class Strange(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), r"function called sys\.exit\(3\)"),
        (SystemExit("no"), r"function called sys\.exit\('no'\)"),
        (KeyboardInterrupt(), "function raised KeyboardInterrupt"),
        (Strange(), "function raised Strange"),
    ],
)
def test_what_would_end_the_process_is_an_error_of_the_trial(error: BaseException, text: str) -> None:
    def function(config: dict[str, Any]) -> None:
        raise error

    with pytest.raises(TuneError, match=text) as caught:
        results(function)
    assert caught.value.__cause__ is error


RUBBISH: list[tuple[Any, str]] = [
    ([1], r"metrics must be a dict such as"),
    (None, r"metrics must be a dict such as"),
    ({1: 2}, r"names of metrics must be strings, not 1"),
    ({"a": threading.Lock()}, r"the metric 'a' cannot be sent .* cannot be pickled"),
    ({"a": {"b": [threading.Lock()]}}, r"the metric 'a/b\[0\]' cannot be sent"),
]


@pytest.mark.parametrize(("rubbish", "text"), RUBBISH)
def test_rubbish_is_refused_where_it_is_reported(rubbish: Any, text: str) -> None:
    lines: list[str] = []

    def function(config: dict[str, Any]) -> None:
        try:
            session.report(rubbish)
        except TypeError as error:
            lines.append(str(error))
            raise

    with pytest.raises(TypeError, match=text):
        results(function)
    assert len(lines) == 1

    def goes_on(config: dict[str, Any]) -> None:
        with pytest.raises(TypeError):
            session.report(rubbish)
        session.report({"x": 1})

    assert reported(goes_on) == [(1, False), (1, True)]


def test_values_that_can_be_sent_are_not_touched() -> None:
    values = {"a": [1, (2, {"b": 3})], "c": np.arange(3), "d": np.float64(1), "e": Path("x"), "f": Strange}

    def function(config: dict[str, Any]) -> None:
        session.report(values)

    result = results(function)[0]
    assert all(result[key] is value for key, value in values.items())


@pytest.mark.parametrize("first", ["new", "old", "directory"])
@pytest.mark.parametrize("second", ["new", "old", "directory"])
def test_styles_are_not_mixed(first: str, second: str) -> None:
    def use(style: str) -> None:
        if style == "new":
            session.report({"x": 1})
        elif style == "old":
            tune.report(x=1)
        else:
            with tune.checkpoint_dir(1):
                pass

    def function(config: dict[str, Any]) -> None:
        use(first)
        use(second)

    if (first == "new") == (second == "new"):
        assert results(function)[-1]["done"]
    else:
        with pytest.raises(ValueError, match="a function reports in one style only"):
            results(function)


def test_a_dict_is_reported_alone() -> None:
    with pytest.raises(ValueError, match="tune.report got a dict of metrics and y beside it"):
        tune.report({"x": 1}, y=2)
    with pytest.raises(ValueError, match="with a Checkpoint, metrics are reported as a dict"):
        tune.report(x=1, checkpoint=Checkpoint.from_dict({"a": 1}))


# -- checkpoints --------------------------------------------------------------------------------------


def saves(config: dict[str, Any]) -> None:
    checkpoint = session.get_checkpoint()
    start = checkpoint.to_dict()["i"] + 1 if checkpoint else 0
    for i in range(start, 4):
        session.report({"x": i, "start": start}, checkpoint=Checkpoint.from_dict({"i": i}) if i % 2 else None)


def test_checkpoints_come_with_their_results() -> None:
    trainable = wrap_function(saves)({})
    found = []
    for _ in range(5):
        trainable.train()
        found.append(trainable.step_checkpoint and os.path.basename(trainable.step_checkpoint))
    assert found == [None, "checkpoint_000001", None, "checkpoint_000003", None]
    assert sorted(os.listdir(trainable.logdir)) == ["checkpoint_000001", "checkpoint_000003"]
    assert trainable.save() == os.path.join(trainable.logdir, "checkpoint_000003")
    trainable.stop()


def test_a_function_goes_on_from_a_checkpoint() -> None:
    trainable = wrap_function(saves)({})
    trainable.train()
    second = trainable.train()
    path = trainable.save()
    trainable.stop()
    other = wrap_function(saves)({})
    other.restore(path)
    result = other.train()
    assert (result["x"], result["start"], result["training_iteration"]) == (2, 2, 3)
    assert result["iterations_since_restore"] == 1 and result["time_total_s"] > second["time_total_s"]
    other.train()
    assert os.listdir(other.logdir) == ["checkpoint_000003"], "the numbers go on"
    other.restore(Checkpoint.from_dict({"i": 0}))  # while it runs: it begins again
    assert other.train()["start"] == 1
    other.restore(Checkpoint.from_directory(path))
    assert other.train()["training_iteration"] == 3
    other.stop()


def test_checkpoints_of_functions_as_bytes_and_copies(tmp_path: Path) -> None:
    trainable = wrap_function(saves)({})
    for _ in range(2):
        trainable.train()
    data = trainable.save_to_object()
    copy = trainable.save(str(tmp_path))
    assert os.path.dirname(copy) == str(tmp_path)
    trainable.stop()
    for restore in (lambda one: one.restore_from_object(data), lambda one: one.restore(copy)):
        other = wrap_function(saves)({})
        restore(other)
        assert other.train()["start"] == 2
        other.stop()


def test_without_a_checkpoint_there_is_nothing_to_save() -> None:
    trainable = wrap_function(new_style)({})
    assert not trainable.has_checkpoint()
    with pytest.raises(TuneError, match="new_style has reported no checkpoint"):
        trainable.save()


def test_a_reported_directory_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "model").write_text("weights")

    def function(config: dict[str, Any]) -> None:
        for x in range(2):
            session.report({"x": x}, checkpoint=Checkpoint.from_directory(source))

    trainable = wrap_function(function)({})
    for x in range(2):
        trainable.train()
        assert trainable.step_checkpoint is not None
        assert Path(trainable.step_checkpoint, "model").read_text() == "weights"
        assert os.path.basename(trainable.step_checkpoint) == f"checkpoint_{x:06d}"
    assert (source / "model").exists() and len(os.listdir(source)) == 1
    trainable.stop()


def with_directories(config: dict[str, Any], checkpoint_dir: str | None = None) -> None:
    start = int(Path(checkpoint_dir, "i").read_text()) + 1 if checkpoint_dir else 0
    for i in range(start, 3):
        with tune.checkpoint_dir(step=i) as directory:
            assert directory == os.path.join(str(tune.get_trial_dir()), f"checkpoint_{i:06d}")
            Path(directory, "i").write_text(str(i))
        tune.report(x=i, start=start)


def test_directories_of_the_older_style() -> None:
    with pytest.warns(DeprecationWarning, match="checkpoint_dir is deprecated"):
        cls = wrap_function(with_directories)
    trainable = cls({})
    trainable.train()
    trainable.train()
    path = trainable.step_checkpoint
    assert path == os.path.join(trainable.logdir, "checkpoint_000001")
    assert (Path(path) / ".is_checkpoint").exists()
    trainable.stop()
    for source in (path, Checkpoint.from_dict(Checkpoint.from_directory(path).to_dict())):
        other = cls({})
        other.restore(source)
        assert other.train()["start"] == 2
        other.stop()


def test_a_directory_that_is_not_complete_is_no_checkpoint() -> None:
    def function(config: dict[str, Any]) -> None:
        for _ in range(2):
            with tune.checkpoint_dir(step=1) as directory:
                assert not os.path.exists(os.path.join(directory, ".is_checkpoint"))
                if os.listdir(directory):
                    raise RuntimeError("killed")
                Path(directory, "half").write_text("half")
            tune.report(x=1)

    trainable = wrap_function(function)({})
    trainable.train()
    path = Path(trainable.save())
    assert (path / ".is_checkpoint").exists()
    with pytest.raises(RuntimeError, match="killed"):
        trainable.train()
    assert not (path / ".is_checkpoint").exists()
    trainable.stop()


def test_a_last_directory_without_a_report_counts() -> None:
    def function(config: dict[str, Any]) -> None:
        tune.report(x=1)
        with tune.checkpoint_dir(step=1):
            pass

    trainable = wrap_function(function)({})
    assert trainable.train() and trainable.step_checkpoint is None
    assert trainable.train()["done"] and trainable.step_checkpoint is not None
    trainable.stop()


@pytest.mark.parametrize("step", [None, -1, 1.5, True])
def test_a_step_is_a_number(step: Any) -> None:
    with pytest.raises(ValueError, match=r"checkpoint_dir\(step=...\) needs a number"), tune.checkpoint_dir(step):
        pass


# -- outside, and which functions ----------------------------------------------------------------------


def test_outside_of_a_session(caplog: pytest.LogCaptureFixture) -> None:
    assert not tune.is_session_enabled()
    assert tune.get_trial_id() is tune.get_trial_name() is tune.get_trial_dir() is tune.get_trial_resources() is None
    tune.report(x=1)
    with tune.checkpoint_dir(3) as directory:
        assert os.path.basename(directory) == "checkpoint_000003"
    assert not os.path.exists(directory)


def test_inside_of_a_session() -> None:
    def function(config: dict[str, Any]) -> dict[str, Any]:
        return {
            "x": (tune.is_session_enabled(), tune.get_trial_id(), tune.get_trial_name(), session.get_world_size()),
            "y": (tune.get_context().get_trial_id(), tune.get_checkpoint()),
            "context": isinstance(tune.get_context(), TuneContext)
            and isinstance(session_host.current(), TuneSession)
            and [
                getattr(tune.get_context(), name)() == getattr(tune, name)()
                for name in ("get_trial_id", "get_trial_name", "get_trial_dir", "get_trial_resources")
            ],
            "dir": tune.get_trial_dir(),
        }

    (result,) = results(function)
    assert (
        result["x"] == (True, "default", "default", 1)
        and result["y"] == ("default", None)
        and os.path.isdir(result["dir"])
        and result["context"] == [True] * 4
    )


@pytest.mark.parametrize(
    "function", [lambda: None, lambda a, b: None, lambda *, config: None, functools.partial(three_arguments, 1)]
)
def test_functions_that_do_not_take_a_configuration(function: Any) -> None:
    with pytest.raises(ValueError, match="cannot be run as a trial"):
        wrap_function(function)


def test_names_of_functions() -> None:
    assert wrap_function(new_style).__name__ == "new_style"
    assert wrap_function(new_style, name="mine").__name__ == "mine"
    assert wrap_function(functools.partial(three_arguments, 1, 2)).__name__ == "three_arguments"
    assert wrap_function(lambda config: None).__name__ == "lambda"
    assert wrap_function(Methods()).__name__ == "Methods"
    assert issubclass(wrap_function(print), FunctionTrainable)
