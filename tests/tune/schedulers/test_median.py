import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tune.schedulers.controller import FakeController

import aktis.tune.schedulers.median_stopping_rule as module
from aktis.tune.schedulers import MedianStoppingRule


def median(**options):
    return MedianStoppingRule(
        **{"time_attr": "training_iteration", "metric": "score", "mode": "max", "grace_period": 1, **options}
    )


def started(scheduler, count, **options):
    controller = FakeController(scheduler, **{"cpus": count, **options})
    for index in range(count):
        controller.add(str(index))
    controller.fill()
    return controller


def test_by_hand():
    controller = started(median(min_samples_required=3), 4)
    # running means at t = 3: (1 + 2 + 3) / 3 = 2, (4 + 4 + 4) / 3 = 4, (10 + 0 + 2) / 3 = 4
    for trial_id, scores in (("0", (1, 2, 3)), ("1", (4, 4, 4)), ("2", (10, 0, 2))):
        for step, score in enumerate(scores, start=1):
            assert controller.report(trial_id, training_iteration=step, score=score) == "CONTINUE"
    # the medians of the running means are 4 (of 1, 4, 10), 4 (of 1.5, 4, 5) and 4 (of 2, 4, 4)
    assert controller.report("3", training_iteration=1, score=4) == "CONTINUE"  # not strictly worse
    assert controller.report("3", training_iteration=2, score=3) == "CONTINUE"  # the best so far is still 4
    assert controller.report("3", training_iteration=3, score=0) == "CONTINUE"
    assert controller.report("3", training_iteration=4, score=0) == "CONTINUE"  # nobody has come to 4
    assert controller.scheduler._median_of_others("3", 1) == (3, 4)
    assert controller.scheduler._median_of_others("3", 2) == (3, 4)
    assert controller.scheduler._median_of_others("2", 3) == (3, pytest.approx(7 / 3))  # of 2, 4 and (4 + 3 + 0) / 3


def test_worse_than_the_median_is_stopped():
    for mode, good, bad in (("max", 2.0, 1.0), ("min", 1.0, 2.0)):
        controller = started(median(mode=mode), 4)
        for index in range(3):
            assert controller.report(str(index), training_iteration=1, score=good) == "CONTINUE"
        assert controller.report("3", training_iteration=1, score=bad) == "STOP"
        assert controller.scheduler.debug_string() == "Using MedianStoppingRule: num_stopped=1."


def test_grace_period():
    controller = started(median(grace_period=2), 4)
    for index in range(3):
        controller.report(str(index), training_iteration=1, score=100)  # does not count
        controller.report(str(index), training_iteration=2, score=2)
    assert controller.report("3", training_iteration=1, score=0) == "CONTINUE"
    assert controller.report("3", training_iteration=2, score=2) == "CONTINUE"
    assert (
        controller.report("0", training_iteration=3, score=0) == "CONTINUE"
    )  # 100 before the grace period is its best


def test_one_without_a_result_in_the_grace_period_is_not_counted():
    controller = started(median(grace_period=5, min_samples_required=1), 3)
    controller.report("0", training_iteration=1, score=9)
    controller.report("0", training_iteration=10, score=9)  # at t = 7 it has no running mean
    assert controller.report("1", training_iteration=7, score=0) == "CONTINUE"
    controller.report("1", training_iteration=8, score=5)
    assert controller.report("2", training_iteration=8, score=1) == "STOP"  # 2.5 is the only mean


def test_too_few_samples_let_others_have_a_turn():
    controller = FakeController(median(min_time_slice=2), cpus=1)
    controller.add("0")
    controller.add("1")
    assert controller.fill() == ["0"]
    assert controller.report("0", training_iteration=1, score=1) == "PAUSE"
    assert controller.fill() == ["1"]
    assert controller.report("1", training_iteration=1, score=1) == "PAUSE"
    assert controller.fill() == ["0"]
    assert controller.report("0", training_iteration=2, score=1) == "CONTINUE"  # ran for 1
    assert controller.report("0", training_iteration=3, score=1) == "CONTINUE"
    assert controller.report("0", training_iteration=4, score=1) == "PAUSE"  # ran for 3
    controller.fill()
    controller.stop_trial(controller.trials["0"])
    assert controller.report("1", training_iteration=9, score=1) == "CONTINUE"  # nobody waits


def test_soft_stop_pauses_once():
    controller = started(median(hard_stop=False), 4)
    for index in range(3):
        controller.report(str(index), training_iteration=1, score=2)
    assert controller.report("3", training_iteration=1, score=1) == "PAUSE"
    controller.complete("0")
    assert controller.fill() == ["3"]
    assert controller.report("3", training_iteration=2, score=0) == "CONTINUE"
    controller.complete("3")
    assert not controller.scheduler._paused_for_good


def test_going_back_to_a_checkpoint_and_the_last_result_twice_change_nothing():
    controller = started(median(), 4)
    for step in (1, 2, 3, 2, 3):
        controller.report("0", training_iteration=step, score=step)
    controller.complete("0", training_iteration=3, score=3)
    assert list(controller.scheduler._curves["0"].times) == [1, 2, 3]
    assert list(controller.scheduler._curves["0"].means) == [1, 1.5, 2]


def test_what_diverged_is_stopped():
    controller = started(median(), 5)
    for index in range(3):
        controller.report(str(index), training_iteration=1, score=1)
    assert controller.report("3", training_iteration=1, score=float("nan")) == "STOP"
    assert controller.report("4", training_iteration=1, score=1) == "CONTINUE"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grace_period": -1}, "grace_period must not be negative, got -1"),
        ({"min_samples_required": 0}, "min_samples_required must be at least 1, got 0"),
        ({"min_time_slice": -1}, "min_time_slice must not be negative, got -1"),
        ({"mode": "up"}, "'up'"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        median(**options)


class Definition:
    """The rule as it is defined, by looking at everything."""

    def __init__(self, grace, least, sign):
        self.grace, self.least, self.sign, self.results = grace, least, sign, {}

    def decide(self, trial_id, time, score):
        self.results.setdefault(trial_id, []).append((time, self.sign * score))
        if time < self.grace:
            return "CONTINUE"
        means = []
        for other, results in self.results.items():
            scores = [s for t, s in results if self.grace <= t <= time]
            if other != trial_id and results[-1][0] >= time and scores:
                means.append(np.cumsum(scores)[-1] / len(scores))
        if len(means) < self.least:
            return "CONTINUE"
        return "STOP" if max(s for _, s in self.results[trial_id]) < np.median(means) else "CONTINUE"


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["min", "max"]),
    st.sampled_from([0, 1.5, 3]),
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from([0, 2, 256]),
)
def test_it_is_the_definition(seed, mode, grace, least, whole, few):
    """Also where medians are read off lists (from ``few`` trials on): for whole times there is no rounding."""
    rng = random.Random(seed)
    whole = whole or few < 256
    scheduler = median(mode=mode, grace_period=grace, min_samples_required=least)
    definition = Definition(grace, least, 1 if mode == "max" else -1)
    controller = started(scheduler, 8)
    times = dict.fromkeys(controller.running, 0.0)
    before, module.FEW = module.FEW, few
    try:
        for _ in range(60):
            if not controller.running:
                break
            trial_id = rng.choice(sorted(controller.running))
            times[trial_id] += rng.randint(1, 3) if whole else rng.random()
            score = rng.randint(0, 8)
            decision = controller.report(trial_id, training_iteration=times[trial_id], score=score)
            assert decision == definition.decide(trial_id, times[trial_id], score)
    finally:
        module.FEW = before


def test_with_very_many_trials_times_are_rounded_down_a_little():
    controller = started(median(time_attr="time_total_s", grace_period=0.5, min_samples_required=1), 300)
    rng = random.Random(0)
    for index in range(299):
        for step in range(1, 6):
            if str(index) in controller.running:
                controller.report(str(index), time_total_s=step + rng.random(), score=100.0 + rng.random())
    assert controller.report("299", time_total_s=2.7182818, score=0.0) == "STOP"
    assert controller.scheduler._rung_times and all(
        float(time * 128).is_integer() for time in controller.scheduler._rung_times if 1 <= time < 2
    )
