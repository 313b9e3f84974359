"""The ``stop`` argument: its forms, its mistakes, and when a dict of metrics is reached."""

import numpy as np
import pytest

from aktis.tune.error import TuneError
from aktis.tune.stopper import (
    CombinedStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    resolve_stop,
    should_stop_by_criterion,
)


class Wrong:
    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return False


def function(trial_id, result):
    return True


def test_each_form_becomes_a_criterion_and_a_stopper():
    stopper = MaximumIterationStopper(3)
    assert resolve_stop({"a/b": 3})[0] == {"a/b": 3}
    assert isinstance(resolve_stop({"a": 3})[1], NoopStopper) and isinstance(resolve_stop(None)[1], NoopStopper)
    assert resolve_stop(None)[0] == {} and resolve_stop({})[0] == {}
    assert isinstance(resolve_stop(function)[1], FunctionStopper)
    assert resolve_stop(stopper) == ({}, stopper)
    assert resolve_stop([stopper]) == ({}, stopper)
    both = resolve_stop([stopper, NoopStopper()])[1]
    assert isinstance(both, CombinedStopper) and both.stoppers[0] is stopper


def test_a_time_budget_comes_beside_all_of_them():
    clock = lambda: 5.0
    criterion, stopper = resolve_stop({"a": 1}, 30, clock)
    assert criterion == {"a": 1} and isinstance(stopper, TimeoutStopper) and stopper.clock is clock
    _, both = resolve_stop(function, 30)
    assert [type(each) for each in both.stoppers] == [FunctionStopper, TimeoutStopper]


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (Wrong(), "Wrong has stop_all.*subclass of aktis.tune.Stopper"),
        (MaximumIterationStopper, r"give an instance, MaximumIterationStopper\(...\)"),
        (Wrong, "give an instance"),
        (int, "stop must be a dict"),
        (5, "stop must be a dict .* got 5"),
        ("loss", "got 'loss'"),
        ([function], "stoppers only, got <function"),
        ({"a": {"b": 3}}, "written as paths: {'a/b': ...}"),
        ({3: 3}, "must be a name, got 3"),
        ({"a": "3"}, "ends at '3'"),
        ({"a": None}, "ends at None"),
        ({"a": function}, "ends at <function"),
    ],
)
def test_mistakes_are_told_at_once(stop, message):
    with pytest.raises(ValueError, match=message):
        resolve_stop(stop)


def test_a_function_cannot_be_a_stopper_by_accident():
    for wrong in (3, NoopStopper(), int):
        assert not FunctionStopper.is_valid_function(wrong)
    with pytest.raises(ValueError, match="takes \\(trial_id, result\\)"):
        FunctionStopper(3)
    assert issubclass(FunctionStopper, Stopper)


@pytest.mark.parametrize(
    ("criterion", "result", "reached"),
    [
        ({"m": 3}, {"m": 3}, True),
        ({"m": 3}, {"m": 2.9}, False),
        ({"m": 3}, {"m": float("nan")}, False),
        ({"m": 3, "n": 1}, {"m": 0, "n": 2}, True),
        ({"a/b": 1}, {"a": {"b": np.float32(1)}}, True),
        ({"a/b": 1}, {"a/b": 1, "a": {"b": 0}}, True),
        ({"done": True}, {"done": False}, False),
        ({}, {"m": 1}, False),
    ],
)
def test_a_criterion_is_reached_by_any_metric_at_its_value(criterion, result, reached):
    assert should_stop_by_criterion(criterion, result) is reached


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("mean_los", "did you mean 'mean_loss'"),
        ("acc", "did you mean 'eval/acc'"),
        ("eval/acc/x", "There are: mean_loss, eval/acc"),
        ("zzz", "not in the result: There are: mean_loss, eval/acc"),
        ("lr", "There are: mean_loss, eval/acc$"),
    ],
)
def test_a_metric_that_is_not_there_is_an_error(key, message):
    with pytest.raises(TuneError, match=message):
        should_stop_by_criterion({key: 1}, {"mean_loss": 1, "eval": {"acc": 2}, "config": {"lr": 1}})


def test_what_cannot_be_compared_is_an_error():
    with pytest.raises(TuneError, match="cannot compare 'm'='text' with 3"):
        should_stop_by_criterion({"m": 3}, {"m": "text"})
