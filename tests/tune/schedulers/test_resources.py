import pytest
from tests.tune.schedulers.controller import FakeController

from aktis.air.placement import PlacementGroupFactory
from aktis.tune.schedulers import (
    ASHAScheduler,
    DistributeResources,
    DistributeResourcesToTopJob,
    HyperBandScheduler,
    ResourceChangingScheduler,
)


def run(function, count, cpus=8, gpus=0, base=None, **options):
    """A controller in which ``count`` trials run."""
    bundles = PlacementGroupFactory([{"CPU": 1}] if base is None else base)
    controller = FakeController(
        ResourceChangingScheduler(resources_allocation_function=function, **options), cpus, gpus
    )
    for index in range(count):
        controller.add(str(index), bundles=bundles)
    controller.fill()
    return controller


def report(controller, trial_id, at=1, **result):
    decision = controller.report(trial_id, training_iteration=at, **result)
    controller.fill()
    return decision


def bundles(controller, trial_id):
    return controller.trials[trial_id].placement_group_factory.bundles


def test_free_cpus_are_shared_evenly():
    controller = run(DistributeResources(), 3)
    assert report(controller, "0") == "NOOP"  # 5 are free: it gets its share of them
    assert bundles(controller, "0") == [{"CPU": 3}]
    assert report(controller, "1") == "NOOP" and bundles(controller, "1") == [{"CPU": 3}]
    assert report(controller, "2") == "NOOP" and bundles(controller, "2") == [{"CPU": 2}]
    assert report(controller, "2", at=2) == "CONTINUE"
    # One ends: what it had is shared.
    controller.complete("2")
    assert report(controller, "0", at=2) == "NOOP" and bundles(controller, "0") == [{"CPU": 4}]
    controller.complete("1")
    assert report(controller, "0", at=3) == "NOOP" and bundles(controller, "0") == [{"CPU": 8}]


def test_resources_are_given_back_when_trials_are_added():
    controller = run(DistributeResources(), 1)
    report(controller, "0")
    assert bundles(controller, "0") == [{"CPU": 8}]
    controller.add("1", bundles=PlacementGroupFactory([{"CPU": 1}]))
    assert controller.fill() == []
    assert report(controller, "0", at=2) == "NOOP"
    assert bundles(controller, "0") == [{"CPU": 4}] and set(controller.running) == {"0", "1"}
    controller.add("2", bundles=PlacementGroupFactory([{"CPU": 1}]))
    controller.add("3", bundles=PlacementGroupFactory([{"CPU": 1}]))
    assert report(controller, "0", at=3) == "NOOP" and bundles(controller, "0") == [{"CPU": 2}]


def test_more_trials_than_resources_change_nothing():
    controller = run(DistributeResources(), 20)
    assert report(controller, "0") == "CONTINUE"
    assert bundles(controller, "0") == [{"CPU": 1}]


def test_units_and_reserves():
    unit = {"CPU": 2, "GPU": 1}
    controller = run(DistributeResources(increase_by=unit, reserve_resources={"CPU": 1}), 1, cpus=10, gpus=3)
    report(controller, "0")
    assert bundles(controller, "0") == [{"CPU": 7, "GPU": 3}]  # 1 + 3 * 2; GPUs are the limit
    controller = run(DistributeResources(increase_by={"CPU": 2}, increase_by_times=2), 1, cpus=10)
    report(controller, "0")
    assert bundles(controller, "0") == [{"CPU": 5}]
    controller = run(DistributeResources(), 1, cpus=8, gpus=4, base=[{"CPU": 1, "GPU": 1}])
    report(controller, "0")
    assert bundles(controller, "0") == [{"CPU": 1, "GPU": 4}]
    controller = run(DistributeResources(increase_by={"CPU": 0.3}), 1, cpus=1.9)
    report(controller, "0")
    assert bundles(controller, "0") == [{"CPU": pytest.approx(1.9)}]


def test_new_bundles():
    base = [{}, {"CPU": 1}]
    controller = run(DistributeResources(add_bundles=True), 2, cpus=6, base=base)
    report(controller, "0")
    factory = controller.trials["0"].placement_group_factory
    assert factory == PlacementGroupFactory([{}, {"CPU": 1}, {"CPU": 1}, {"CPU": 1}]) and factory.head_bundle_is_empty
    with pytest.raises(ValueError, match="trials have 2 bundles.*pass add_bundles=True"):
        report(run(DistributeResources(), 2, base=[{"CPU": 1}, {"CPU": 1}]), "0")


def test_the_strategy_is_kept():
    controller = FakeController(ResourceChangingScheduler(), cpus=4)
    controller.add("0", bundles=PlacementGroupFactory([{"CPU": 1}], strategy="SPREAD"))
    controller.fill()
    report(controller, "0")
    assert controller.trials["0"].placement_group_factory == PlacementGroupFactory([{"CPU": 4}], strategy="SPREAD")


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_top_job_gets_everything(mode):
    base = ASHAScheduler(metric="score", mode=mode, max_t=100, grace_period=50)
    controller = run(DistributeResourcesToTopJob(), 3, base_scheduler=base)
    good, better, bad = (1, 2, 0) if mode == "max" else (-1, -2, 0)
    assert report(controller, "0", score=good) == "NOOP" and bundles(controller, "0") == [{"CPU": 6}]
    assert report(controller, "1", score=bad) == "CONTINUE"
    assert report(controller, "2", score=better) == "CONTINUE"  # the best, but nothing is free
    controller.complete("1")
    assert report(controller, "0", at=2, score=good) == "CONTINUE"
    assert report(controller, "2", at=2, score=better) == "NOOP" and bundles(controller, "2") == [{"CPU": 2}]
    assert bundles(controller, "0") == [{"CPU": 6}]
    controller.complete("2")
    assert report(controller, "0", at=3, score=bad) == "NOOP" and bundles(controller, "0") == [{"CPU": 8}]
    controller.add("3", bundles=PlacementGroupFactory([{"CPU": 1}]))
    assert report(controller, "0", at=4, score=bad) == "NOOP" and bundles(controller, "0") == [{"CPU": 7}]


def test_the_next_best_gets_what_the_best_may_not_have():
    rule = DistributeResourcesToTopJob(increase_by={"CPU": 1}, increase_by_times=2, metric="score", mode="max")
    controller = run(rule, 3)
    report(controller, "0", score=3)
    assert bundles(controller, "0") == [{"CPU": 3}]
    assert report(controller, "2", score=1) == "NOOP"  # the best of those below the limit that have a result
    assert report(controller, "1", score=2) == "NOOP" and bundles(controller, "1") == [{"CPU": 2}]


def test_functions_of_the_user():
    seen = []

    def function(controller, trial, result, scheduler):
        seen.append((trial.trial_id, result["training_iteration"], scheduler.base_trial_resources.bundles))
        return {"cpu": 2} if result["training_iteration"] == 1 else None

    controller = run(function, 1)
    assert report(controller, "0") == "NOOP" and bundles(controller, "0") == [{"CPU": 2}]
    assert report(controller, "0", at=2) == "CONTINUE"
    assert seen == [("0", 1, [{"CPU": 1}]), ("0", 2, [{"CPU": 1}])]
    assert controller.trials["0"].last_result["training_iteration"] == 2


def test_the_base_scheduler_decides():
    base = ASHAScheduler(metric="score", mode="max", max_t=10, reduction_factor=2)
    controller = run(DistributeResources(), 2, base_scheduler=base)
    report(controller, "0", score=2)
    assert report(controller, "1", score=1) == "STOP"
    scheduler = controller.scheduler
    assert scheduler.debug_string().startswith("(ResourceChangingScheduler) Using AsyncHyperBand")
    assert (scheduler.metric, scheduler.mode, scheduler.base_scheduler) == ("score", "max", base)
    assert [trial.trial_id for trial in scheduler.changed_trials()] == ["0"]
    controller.complete("0")
    assert scheduler.changed_trials() == []


def test_around_a_scheduler_that_pauses():
    base = HyperBandScheduler(metric="score", mode="max", max_t=9)
    controller = run(DistributeResources(), 9, cpus=12, base_scheduler=base)
    for index in range(9):
        controller.report(str(index), training_iteration=0.5, score=index)  # restarted with more
        controller.fill()
    for index in range(9):
        controller.report(str(index), training_iteration=1, score=index)
    controller.fill()
    assert sorted(controller.running) == ["6", "7", "8"]
    assert not controller.scheduler.supports_buffered_results


def test_arguments_and_resources_are_checked():
    with pytest.warns(UserWarning, match="resources_allocation_function is None"):
        controller = run(None, 1)
    assert report(controller, "0") == "CONTINUE"
    with pytest.raises(TypeError, match="base_scheduler must be a scheduler"):
        ResourceChangingScheduler("asha")
    with pytest.raises(TypeError, match="must be callable"):
        ResourceChangingScheduler(resources_allocation_function=3)
    with pytest.raises(RuntimeError, match="needs trials that begin with the same resources"):
        controller.add("other", cpus=2)
    with pytest.raises(ValueError, match="increase_by must not have amounts below 0"):
        DistributeResources(increase_by={"CPU": -1})
    with pytest.raises(ValueError, match="increase_by must have an amount above 0"):
        DistributeResources(increase_by={"CPU": 0})
    with pytest.raises(ValueError, match="'best'"):
        DistributeResourcesToTopJob(mode="best")
    with pytest.raises(ValueError, match="needs a metric"):
        report(run(DistributeResourcesToTopJob(), 1), "0")


def test_a_trial_that_failed_keeps_what_it_has():
    controller = run(DistributeResources(), 1)
    report(controller, "0")
    controller.fail("0", again=True)
    assert controller.fill() == ["0"] and bundles(controller, "0") == [{"CPU": 8}]


def test_metric_of_the_run():
    scheduler = ResourceChangingScheduler(resources_allocation_function=DistributeResourcesToTopJob())
    assert scheduler.set_search_properties("loss", "min")
    assert (scheduler.metric, scheduler.mode) == ("loss", "min")
