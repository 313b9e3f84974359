"""Stoppers: when trials end and when the run does, also after a stopper was pickled."""

import datetime
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.tune.error import TuneError
from aktis.tune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    NoopStopper,
    Stopper,
    TimeoutStopper,
    TrialPlateauStopper,
    set_clock,
)

finite = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 1.0005, 2.0])


def test_nothing_is_stopped_by_the_noop_stopper():
    assert not NoopStopper()("t", {}) and not NoopStopper().stop_all()


def test_a_stopper_must_say_both():
    for call in (lambda: Stopper()("t", {}), lambda: Stopper().stop_all()):
        with pytest.raises(NotImplementedError, match="Stopper does not say"):
            call()


def test_a_function_says_which_trials_end():
    stopper = FunctionStopper(lambda trial_id, result: result["m"] > 1 and trial_id == "a")
    assert stopper("a", {"m": 2}) is True and stopper("b", {"m": 2}) is False and stopper.stop_all() is False


def test_iterations_are_those_of_the_trial_or_results_are_counted():
    stopper = MaximumIterationStopper(3)
    assert [stopper("a", {"training_iteration": number}) for number in (1, 2, 2, 3)] == [False, False, False, True]
    assert [stopper(trial, {}) for trial in "bcbbc"] == [False, False, False, True, False]
    assert not stopper.stop_all()
    with pytest.raises(ValueError, match="max_iter"):
        MaximumIterationStopper(0)


# -- plateaus, against the definition ------------------------------------------------------------------


@given(
    st.lists(finite, max_size=40),
    st.integers(2, 5),
    st.sampled_from(["min", "max"]),
    st.integers(0, 4),
    st.floats(0.001, 10),
)
def test_a_run_ends_when_its_best_results_are_equal(values, top, mode, patience, std):
    stopper = ExperimentPlateauStopper("m", std=std, top=top, mode=mode, patience=patience)
    flat = 0
    for number, value in enumerate(values):
        best = sorted(values[: number + 1], reverse=mode == "max")[:top]
        deviation = np.std(best)
        if abs(deviation - std) < 1e-9:  # either answer is right
            return
        flat = flat + 1 if len(best) == top and deviation <= std else 0
        expected = flat > 0 and flat >= patience
        assert stopper(str(number % 3), {"m": value}) is expected
        assert stopper.stop_all() is expected
        stopper = pickle.loads(pickle.dumps(stopper))


@given(
    st.lists(finite | st.none(), max_size=30),
    st.integers(1, 5),
    st.integers(0, 8),
    st.none() | st.floats(-2, 2),
    st.sampled_from(["min", "max"]),
)
def test_a_trial_ends_when_its_latest_results_are_equal(values, window, grace, threshold, mode):
    stopper = TrialPlateauStopper("m", 0.01, window, grace, threshold, mode)
    for number, value in enumerate(values):
        latest = values[max(number + 1 - window, 0) : number + 1]
        whole = None not in latest and len(latest) == window
        if whole and abs(np.std(latest) - 0.01) < 1e-9:
            return
        expected = bool(number + 1 >= grace and whole and np.std(latest) < 0.01)
        if expected and threshold is not None:
            expected = value <= threshold if mode == "min" else value >= threshold
        assert stopper("a", {"m": value} if value is not None else {}) is expected
        assert stopper("b", {"m": number * 10.0}) is (
            window == 1 and number + 1 >= grace and _far(number * 10.0, threshold, mode)
        )
        stopper = pickle.loads(pickle.dumps(stopper))
    assert not stopper.stop_all()


def _far(value, threshold, mode):
    return threshold is None or (value <= threshold if mode == "min" else value >= threshold)


def test_nested_metrics_and_missing_ones():
    stopper = ExperimentPlateauStopper("eval/loss", top=2)
    assert stopper("a", {"eval": {"loss": 1.0}}) is False and stopper("b", {"eval": {"loss": 1.0}}) is True
    with pytest.raises(TuneError, match="'eval/loss' is not in the result of trial c: did you mean 'eval/los'"):
        stopper("c", {"eval": {"los": 1.0}, "config": {"eval": {"loss": 1}}})
    trial = TrialPlateauStopper("eval/loss", num_results=2, grace_period=0)
    assert [trial("a", {"eval": {"loss": 1.0}}) for _ in range(2)] == [False, True]


def test_what_is_not_a_number_is_no_best_result():
    stopper = ExperimentPlateauStopper("m", top=2)
    assert (
        not stopper("a", {"m": float("nan")}) and not stopper("a", {"m": 1}) and not stopper("a", {"m": float("nan")})
    )
    assert stopper("a", {"m": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode"),
        ({"top": 1}, "top"),
        ({"patience": -1}, "patience"),
        ({"std": 0}, "std"),
        ({"std": "x"}, "std"),
    ],
)
def test_options_of_the_run_plateau_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        ExperimentPlateauStopper("m", **options)


def test_options_of_the_trial_plateau_are_checked():
    with pytest.raises(ValueError, match="metric_threshold needs a mode"):
        TrialPlateauStopper("m", metric_threshold=0.0)
    with pytest.raises(ValueError, match="num_results"):
        TrialPlateauStopper("m", num_results=0)


# -- time ----------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_time_counts_from_the_first_question_and_only_while_running():
    clock = Clock()
    stopper = TimeoutStopper(datetime.timedelta(seconds=10), clock)
    clock.now += 100  # preparations
    assert not stopper.stop_all() and not stopper("t", {})
    clock.now += 6
    assert not stopper.stop_all() and stopper.remaining == 4
    data = pickle.dumps(stopper)
    clock.now += 1_000_000  # nobody runs
    resumed = pickle.loads(data)
    set_clock(CombinedStopper(NoopStopper(), resumed), clock)
    assert not resumed.stop_all() and resumed.remaining == 4
    clock.now -= 50  # the machine's clock is set back
    assert not resumed.stop_all() and resumed.remaining == 4
    clock.now += 4
    assert resumed.stop_all() and resumed.stop_all()


def test_no_time_at_all():
    assert TimeoutStopper(0).stop_all()
    for wrong in (-1, "10", float("inf"), float("nan"), True, None):
        with pytest.raises(ValueError, match="timeout must be"):
            TimeoutStopper(wrong)


# -- several -------------------------------------------------------------------------------------------


def test_each_of_several_stoppers_sees_everything():
    class Once(Stopper):
        def __init__(self, end):
            self.seen, self.end = [], end

        def __call__(self, trial_id, result):
            self.seen.append(result)
            return self.end

        def stop_all(self):
            self.seen.append("all")
            return self.end

    first, second = Once(True), Once(False)
    stopper = CombinedStopper(first, second)
    assert stopper("a", 1) and stopper.stop_all()
    assert first.seen == second.seen == [1, "all"]
    assert not CombinedStopper(second)("a", 2)
    with pytest.raises(TypeError, match="instances of Stopper"):
        CombinedStopper(first, lambda trial_id, result: True)
