import pytest
from tests.tune.schedulers.controller import FakeController, drive

from aktis.tune.experiment.trial import Trial
from aktis.tune.schedulers import HyperBandForBOHB, HyperBandScheduler


def hyperband(kind=HyperBandScheduler, **options):
    return kind(**{"metric": "score", "mode": "max", **options})


# Li et al. 2018, Table 1: R = 81, eta = 3. For each bracket s the (n_i, r_i).
TABLE_1 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}


def test_brackets_are_those_of_table_1():
    scheduler = hyperband()
    for s in (4, 3, 2, 1, 0, 4):
        bracket = scheduler._open_bracket()
        assert bracket.s == s
        assert [(bracket.size(i), bracket.milestones[i]) for i in range(s + 1)] == TABLE_1[s]
    assert bracket.band == 1


@pytest.mark.parametrize("kind", [HyperBandScheduler, HyperBandForBOHB])
@pytest.mark.parametrize("cpus", [1, 7, 143])
def test_a_whole_band_runs_as_in_table_1(kind, cpus):
    """143 trials whose score is their number: how many of them come how far."""
    controller = FakeController(hyperband(kind), cpus=cpus)
    reached = {}

    def result_of(trial, step):
        reached[trial.trial_id] = step
        return {"score": int(trial.trial_id)}

    configs = {str(index): {} for index in range(143)}
    drive(controller, configs, result_of, lambda trial, step: 1 + int(trial.trial_id) % 3, lambda trial, result: False)
    first = 0
    for s in (4, 3, 2, 1, 0):
        n = TABLE_1[s][0][0]
        expected = [0] * n
        for n_i, r_i in TABLE_1[s]:
            expected[n - n_i :] = [r_i] * n_i  # the best are the last
        assert [reached[str(index)] for index in range(first, first + n)] == expected
        first += n
    scheduler = controller.scheduler
    assert not scheduler._bands and not scheduler._bracket_of
    assert scheduler.state() == {"num_brackets": 5, "num_stopped": 80 + 33 + 14 + 6}
    assert all(trial.status == Trial.TERMINATED for trial in controller.trials.values())


def small(**options):
    """R = 9, eta = 3: the first bracket has 9 trials, with rungs at 1, 3 and 9."""
    controller = FakeController(hyperband(max_t=9, **options), cpus=20)
    for index in range(9):
        controller.add(str(index))
    controller.fill()
    return controller


def test_a_halving_step_by_step():
    controller = small()
    for index in range(8):
        assert controller.report(str(index), training_iteration=1, score=index) == "PAUSE"
        assert controller.fill() == []
    # The last one is bad: it ends, the best three go on, the others end while they are paused.
    assert controller.report("8", training_iteration=1, score=-1) == "STOP"
    assert controller.asked == [("unpause", i) for i in "567"] + [("stop", i) for i in "01234"]
    assert controller.fill() == ["5", "6", "7"]
    assert "Bracket(Max Size (n)=3, Milestone (r)=3, completed=" in controller.scheduler.debug_string()
    controller.asked.clear()
    assert controller.report("5", training_iteration=2, score=9) == "CONTINUE"
    for index in "67":
        assert controller.report(index, training_iteration=3, score=int(index)) == "PAUSE"
    # The last one is good: it goes on at once.
    assert controller.report("5", training_iteration=3, score=9) == "CONTINUE"
    assert controller.asked == [("stop", "6"), ("stop", "7")]
    assert controller.report("5", training_iteration=9, score=9) == "STOP"


def test_minimising_and_what_diverged():
    controller = small(mode="min")
    for index in range(8):
        controller.report(str(index), training_iteration=1, score=float("nan") if index < 3 else index)
    assert controller.report("8", training_iteration=1, score=0) == "CONTINUE"
    assert sorted(controller.running | controller.pending) == ["3", "4", "8"]


def test_the_next_trial_opens_the_next_bracket_and_a_free_cpu_never_waits():
    controller = FakeController(hyperband(max_t=9), cpus=2)
    for index in range(9 + 5):
        controller.add(str(index))
    brackets = {trial_id: bracket.s for trial_id, bracket in controller.scheduler._bracket_of.items()}
    assert brackets == {**{str(i): 2 for i in range(9)}, **{str(i): 1 for i in range(9, 14)}}
    assert controller.fill() == ["0", "1"]
    controller.report("0", training_iteration=1, score=0)
    assert controller.fill() == ["9"]  # the other bracket is less complete now


def test_last_trials_may_run_on():
    controller = small(stop_last_trials=False)
    for index in range(9):
        controller.report(str(index), training_iteration=1, score=index)
    controller.fill()
    for index in "678":
        controller.report(index, training_iteration=3, score=int(index))
    assert controller.report("8", training_iteration=9, score=8) == "CONTINUE"
    assert controller.report("8", training_iteration=100, score=8) == "CONTINUE"


def test_a_bracket_that_nobody_else_can_join_halves_with_what_it_has():
    controller = FakeController(hyperband(max_t=9), cpus=20)
    controller.expects_trials = True
    for index in range(3):
        controller.add(str(index))
    controller.fill()
    for index in range(3):
        assert controller.report(str(index), training_iteration=1, score=index) == "PAUSE"
    assert controller.fill() == []
    controller.add("3")
    assert controller.fill() == ["3"]
    assert controller.report("3", training_iteration=1, score=3) == "PAUSE"
    controller.expects_trials = False
    assert controller.fill() == ["3"]  # the best third of four is one
    controller.add("4")  # a new bracket: the old one is closed
    assert controller.scheduler._bracket_of["4"].s == 1


def test_a_trial_that_ends_by_itself_keeps_its_rank():
    controller = small()
    controller.complete("8", training_iteration=1, score=100)
    for index in range(8):
        controller.report(str(index), training_iteration=1, score=index)
    assert sorted(controller.running | controller.pending) == ["6", "7"]  # and 8 was the third
    assert controller.fill() == ["6"]


@pytest.mark.parametrize("how", ["fails", "is stopped", "is stopped while it is paused"])
def test_the_others_do_not_wait_for_one_that_is_lost(how):
    controller = small()
    for index in range(8):
        controller.report(str(index), training_iteration=1, score=index)
    if how == "fails":
        controller.fail("8")
    else:
        if how == "is stopped while it is paused":
            controller._move(controller.trials["8"], Trial.PAUSED)
        controller.stop_trial(controller.trials["8"])
    assert controller.fill() == ["5", "6", "7"]


def test_a_trial_that_is_tried_again_goes_on_in_its_bracket():
    controller = small()
    for index in range(8):
        controller.report(str(index), training_iteration=1, score=index)
    controller.fail("8", again=True)
    assert controller.fill() == ["8"]  # the others still wait for it
    assert controller.report("8", training_iteration=1, score=8) == "CONTINUE"
    assert controller.fill() == ["6", "7"]


def test_one_that_comes_back_after_the_halving():
    controller = small()
    for index in range(8):
        controller.report(str(index), training_iteration=1, score=index)
    trial = controller.trials["8"]
    controller.fail("8")
    assert controller.fill() == ["5", "6", "7"]
    del controller.trials["8"]  # e.g. resumed with +ERRORED
    trial.status = Trial.PENDING
    controller.trials["8"] = controller.pending["8"] = trial
    controller.scheduler.on_trial_add(controller, trial)
    assert controller.fill() == ["8"]
    for index in "567":
        assert controller.report(index, training_iteration=3, score=int(index)) == "PAUSE"
    assert controller.report("8", training_iteration=3, score=8) == "CONTINUE"
    assert sorted(controller.get_live_trials(), key=str) == [trial]


def test_results_beyond_the_next_rung_count_for_it():
    controller = small()
    for index in range(8):
        controller.report(str(index), training_iteration=4 if index == 7 else 1, score=index)
    controller.report("8", training_iteration=1, score=-1)
    assert controller.fill() == ["5", "6"]  # 7 waits at the rung already
    assert controller.report("5", training_iteration=3, score=5) == "PAUSE"
    assert controller.report("6", training_iteration=3, score=6) == "STOP"
    assert controller.fill() == ["7"]


def test_all_beyond_the_end():
    controller = small()
    decisions = [controller.report(str(index), training_iteration=50, score=index) for index in range(9)]
    assert decisions == ["PAUSE"] * 8 + ["STOP"]
    assert not controller.get_live_trials()


def test_trials_that_somebody_else_restarted_or_paused_are_run():
    controller = small()
    controller._move(controller.running["3"], Trial.PENDING)
    controller._move(controller.running["4"], Trial.PAUSED)
    assert controller.fill() == ["3", "4"]


def test_resources_differ():
    controller = FakeController(hyperband(max_t=9), cpus=2)
    controller.add("big", cpus=3)
    controller.add("small", cpus=1)
    assert controller.fill() == ["small"]


def test_s_max_is_the_floor():
    assert hyperband(max_t=100)._s_max == 4
    assert hyperband(max_t=60)._s_max == 3  # 3.7 is not rounded to 4
    assert hyperband(max_t=1000, reduction_factor=10)._s_max == 3
    assert hyperband(max_t=0.5)._s_max == 0
    assert not hyperband().supports_buffered_results


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="max_t must be above 0, got -1"):
        hyperband(max_t=-1)
    with pytest.raises(ValueError, match="reduction_factor must be above 1, got 1"):
        hyperband(reduction_factor=1)
    with pytest.raises(ValueError, match="needs a metric"):
        FakeController(HyperBandScheduler()).add("0")


def test_bohb_is_told_the_budget():
    controller = FakeController(hyperband(HyperBandForBOHB, max_t=9), cpus=9)
    trial = controller.add("0")
    controller.add("1")
    controller.fill()
    scheduler = controller.scheduler
    result = {"training_iteration": 0.5, "score": 1}
    assert scheduler.on_trial_result(controller, trial, result) == "CONTINUE"
    assert result["hyperband_info"] == {}
    result = {"training_iteration": 1, "score": 1}
    assert scheduler.on_trial_result(controller, trial, result) == "PAUSE"
    assert result["hyperband_info"] == {"budget": 1}


def test_bohb_works_bracket_after_bracket():
    controller = FakeController(hyperband(HyperBandForBOHB, max_t=9), cpus=3)
    for index in range(14):
        controller.add(str(index))
    assert controller.fill() == ["0", "1", "2"]
