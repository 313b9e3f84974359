import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tune.schedulers.controller import FakeController

from aktis.tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler
from aktis.tune.schedulers.async_hyperband import _Rung


def asha(**options):
    return ASHAScheduler(**{"metric": "score", "mode": "max", "max_t": 9, "reduction_factor": 3, **options})


def rungs(scheduler, bracket=0):
    return [rung.time for rung in scheduler._brackets[bracket].rungs]


def test_rungs_are_those_of_the_paper():
    # Li et al., Figure 1: r = 1, R = 9, eta = 3
    scheduler = asha(brackets=3)
    assert [rungs(scheduler, s) for s in range(3)] == [[1, 3, 9], [3, 9], [9]]
    # log(1000) / log(10) is a little less than 3
    assert rungs(asha(max_t=1000, reduction_factor=10)) == [1, 10, 100, 1000]
    assert rungs(asha(max_t=100, grace_period=10, reduction_factor=2)) == [10, 20, 40, 80]


def test_the_best_third_goes_on():
    controller = FakeController(asha(), cpus=9)
    for index in range(9):
        controller.add(str(index))
    controller.fill()
    # The first is never stopped; after it what is below the top third of those before.
    scores = [5, 4, 6, 1, 5.9, 7, 6.2, 8, 0]
    decisions = [controller.report(str(i), training_iteration=1, score=score) for i, score in enumerate(scores)]
    expected = []
    for i, score in enumerate(scores):
        before = scores[:i]
        expected.append("STOP" if before and score < np.percentile(before, (1 - 1 / 3) * 100) else "CONTINUE")
    assert decisions == expected
    assert "STOP" in decisions and decisions[7] == "CONTINUE"
    assert controller.scheduler.debug_string().startswith(
        f"Using AsyncHyperBand: num_stopped={decisions.count('STOP')}\n"
    )


def test_a_tie_with_the_cutoff_goes_on():
    controller = FakeController(asha(), cpus=9)
    for index in range(4):
        controller.add(str(index))
    controller.fill()
    assert [controller.report(str(i), training_iteration=1, score=1.0) for i in range(4)] == ["CONTINUE"] * 4


def test_minimising():
    controller = FakeController(asha(mode="min"))
    for index in range(3):
        controller.add(str(index))
    controller.fill()
    assert controller.report("0", training_iteration=1, score=1.0) == "CONTINUE"
    assert controller.report("1", training_iteration=1, score=2.0) == "STOP"
    assert controller.report("2", training_iteration=1, score=0.5) == "CONTINUE"


def test_results_between_rungs_decide_nothing_and_jumped_rungs_stay_empty():
    controller = FakeController(asha())
    for index in range(2):
        controller.add(str(index))
    controller.fill()
    scheduler = controller.scheduler
    assert controller.report("0", training_iteration=5, score=9.0) == "CONTINUE"  # jumps over rung 1
    assert controller.report("0", training_iteration=6, score=0.0) == "CONTINUE"
    assert [len(rung.scores) for rung in scheduler._brackets[0].rungs] == [0, 1, 0]
    assert controller.report("1", training_iteration=2, score=0.0) == "CONTINUE"  # the first at rung 1
    assert controller.report("1", training_iteration=3, score=8.0) == "STOP"


def test_max_t():
    controller = FakeController(asha())
    controller.add("0")
    controller.fill()
    assert controller.report("0", training_iteration=9, score=1.0) == "STOP"
    controller = FakeController(asha(stop_last_trials=False))
    controller.add("0")
    controller.add("1")
    controller.fill()
    assert controller.report("0", training_iteration=9, score=1.0) == "CONTINUE"
    assert controller.report("0", training_iteration=10, score=1.0) == "CONTINUE"
    assert controller.report("1", training_iteration=9, score=0.0) == "STOP"  # by the rung at 9


def test_what_diverged_is_stopped_and_tells_nothing():
    controller = FakeController(asha())
    for index in range(4):
        controller.add(str(index))
    controller.fill()
    assert controller.report("0", training_iteration=1, score=float("nan")) == "CONTINUE"  # nobody to compare with
    assert controller.report("1", training_iteration=1, score=1.0) == "CONTINUE"
    assert controller.report("2", training_iteration=1, score=float("nan")) == "STOP"
    assert controller.scheduler._brackets[0].rungs[0].scores == [1.0]


def test_results_without_the_metric_are_passed_over_and_no_number_is_an_error():
    controller = FakeController(asha())
    controller.add("0")
    controller.fill()
    assert controller.report("0", training_iteration=1) == "CONTINUE"
    assert controller.report("0", score=1.0) == "CONTINUE"
    with pytest.raises(TypeError, match=r"needs a number in 'score', but a trial reported 'good'"):
        controller.report("0", training_iteration=1, score="good")


def test_nested_metrics():
    controller = FakeController(asha(metric="eval/score"))
    for index in range(2):
        controller.add(str(index))
    controller.fill()
    controller.report("0", training_iteration=1, eval={"score": 2.0})
    assert controller.report("1", **{"training_iteration": 1, "eval/score": 1.0}) == "STOP"


def test_the_last_score_of_a_trial_that_ends_counts():
    controller = FakeController(asha())
    for index in range(2):
        controller.add(str(index))
    controller.fill()
    controller.complete("0", training_iteration=1, score=5.0)
    assert controller.report("1", training_iteration=1, score=4.0) == "STOP"


def test_a_trial_that_is_tried_again_stays_where_it_was():
    controller = FakeController(asha(brackets=3, seed=1))
    controller.add("0")
    controller.add("1")
    controller.fill()
    places = dict(controller.scheduler._places)
    controller.report("0", training_iteration=3, score=1.0)
    controller.fail("0", again=True)
    assert controller.scheduler._places == places
    controller.fill()
    controller.report("0", training_iteration=3, score=1.0)
    assert sum(len(rung.scores) for bracket in controller.scheduler._brackets for rung in bracket.rungs) == 1


def test_finished_trials_are_forgotten():
    controller = FakeController(asha())
    for index in range(100):
        controller.add(str(index))
        controller.fill()
        if index % 3:
            controller.report(str(index), training_iteration=1, score=-index)
        else:
            controller.complete(str(index))
    assert list(controller.scheduler._places) == list(controller.running) == ["1"]


def test_brackets_are_drawn_with_softmax_of_their_number_of_rungs():
    controller = FakeController(asha(brackets=3, seed=0))
    for index in range(3000):
        controller.add(str(index))
    places = controller.scheduler._places.values()
    counts = [sum(place.bracket is bracket for place in places) for bracket in controller.scheduler._brackets]
    weights = np.exp([3, 2, 1])
    assert np.allclose(counts, 3000 * weights / weights.sum(), atol=110)  # four standard deviations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_t": 0}, "max_t must be above 0, got 0"),
        ({"grace_period": 0}, "grace_period must be above 0, got 0"),
        ({"grace_period": 10}, "grace_period must not be above max_t, got 10 and 9"),
        ({"reduction_factor": 1}, "reduction_factor must be above 1, got 1"),
        ({"brackets": 0}, "brackets must be at least 1, got 0"),
        ({"mode": "best"}, "must be 'min' or 'max', not 'best'"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        asha(**options)


def test_metric_and_mode_come_from_either_side():
    scheduler = AsyncHyperBandScheduler()
    with pytest.raises(ValueError, match=r"needs a metric \(now None\) and a mode \(now None\)"):
        FakeController(scheduler).add("0")
    assert scheduler.set_search_properties("loss", "min")
    assert (scheduler.metric, scheduler._mode) == ("loss", "min")
    assert not scheduler.set_search_properties("other", None)
    assert not scheduler.set_search_properties(None, "max")
    assert scheduler.set_search_properties(None, None)
    unnamed = AsyncHyperBandScheduler()
    assert unnamed.set_search_properties(None, "max")
    assert unnamed.metric == "_metric"
    with pytest.raises(ValueError, match="'most'"):
        AsyncHyperBandScheduler().set_search_properties("a", "most")


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40),
    st.sampled_from([1.5, 2, 3, 4, 7, 2.7182818]),
)
def test_the_cutoff_is_numpys_percentile_to_the_last_bit(scores, eta):
    rung = _Rung(1, eta)
    for index, score in enumerate(scores):
        rung.enter(score)
        assert rung.cutoff() == np.nanpercentile(scores[: index + 1], (1 - 1 / eta) * 100)


def test_infinite_scores():
    rung = _Rung(1, 3)
    for score in (float("inf"), 1.0, float("inf"), 2.0):
        rung.enter(score)
    assert rung.cutoff() == float("inf")
    assert not rung.enter(1e300)
    assert rung.enter(float("inf"))
