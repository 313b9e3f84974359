"""What holds for every scheduler: one suite, which each of them runs."""

import inspect
import io
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tune.schedulers.controller import FakeController

import aktis.tune.schedulers as schedulers
from aktis.tune.schedulers import create_scheduler
from aktis.tune.search.sample import choice, loguniform

COMMON = {"metric": "score", "mode": "max", "time_attr": "training_iteration"}
MUTATIONS = {"hyperparam_mutations": {"lr": loguniform(1e-4, 1), "kind": choice(["a", "b", "c"]), "n": [1, 2, 3]}}


def draw():
    return random.random()


MAKERS = {
    "fifo": lambda: create_scheduler("fifo"),
    "asha": lambda: create_scheduler("asha", **COMMON, max_t=8, reduction_factor=2, brackets=3, seed=1),
    "asha_min": lambda: create_scheduler("asha", **{**COMMON, "mode": "min"}, max_t=8, stop_last_trials=False, seed=1),
    "median": lambda: create_scheduler("medianstopping", **COMMON, grace_period=1, min_samples_required=2),
    "median_soft": lambda: create_scheduler(
        "medianstopping", **COMMON, grace_period=1, hard_stop=False, min_time_slice=1
    ),
    "hyperband": lambda: create_scheduler("hyperband", **COMMON, max_t=8, reduction_factor=2),
    "hyperband_on": lambda: create_scheduler(
        "hyperband", **COMMON, max_t=4, reduction_factor=2, stop_last_trials=False
    ),
    "hb_bohb": lambda: create_scheduler("hb_bohb", **COMMON, max_t=8, reduction_factor=2),
    "pbt": lambda: create_scheduler("pbt", **COMMON, **MUTATIONS, perturbation_interval=2, seed=1),
    "pbt_synch": lambda: create_scheduler("pbt", **COMMON, **MUTATIONS, perturbation_interval=2, synch=True, seed=1),
    "pbt_functions": lambda: create_scheduler(
        "pbt", **COMMON, hyperparam_mutations={"lr": draw}, perturbation_interval=2, seed=1, quantile_fraction=0.5
    ),
    "pb2": lambda: create_scheduler(
        "pb2", **COMMON, hyperparam_bounds={"lr": [0, 1.0]}, perturbation_interval=6, seed=1
    ),
    "resources": lambda: create_scheduler(
        "resource_changing", base_scheduler=create_scheduler("asha", **COMMON, max_t=8, reduction_factor=2, seed=1)
    ),
    "resources_top_pbt": lambda: create_scheduler(
        "resource_changing",
        base_scheduler=create_scheduler("pbt", **COMMON, **MUTATIONS, perturbation_interval=2, seed=1),
        resources_allocation_function=schedulers.DistributeResourcesToTopJob(),
    ),
}


class Story:
    """A run in which anything may happen, told from a seed: the same seed and decisions give the same story."""

    def __init__(self, scheduler, seed, cpus):
        self.rng = random.Random(seed)
        self.controller = FakeController(scheduler, cpus=cpus)
        self.controller.expects_trials = True
        self.steps = {}
        self.told = []
        self.added = 0

    def go(self, events):
        for _ in range(events):
            self.event()

    def event(self):
        controller, rng = self.controller, self.rng
        kind = rng.choices(["report", "add", "fail", "again", "complete", "stop"], [60, 12, 1, 2, 3, 1])[0]
        running = sorted(controller.running)
        if kind == "add" and self.added < 30:
            controller.add(f"t{self.added:02}", {"lr": rng.random(), "kind": "a", "n": 2})
            self.added += 1
        elif kind == "stop" and controller.get_live_trials():
            controller.stop_trial(
                controller.trials[rng.choice(sorted(t.trial_id for t in controller.get_live_trials()))]
            )
        elif running and kind != "add":
            trial_id = rng.choice(running)
            if kind == "report":
                trial = controller.trials[trial_id]
                step = trial.last_result.get("training_iteration", 0) + rng.choice([1, 1, 1, 2])
                score = rng.choice([rng.random(), rng.random(), float(step), float("nan")])
                self.told.append((trial_id, controller.report(trial_id, training_iteration=step, score=score)))
            elif kind == "complete":
                controller.complete(trial_id)
            else:
                controller.fail(trial_id, again=kind == "again")
        self.told.append(controller.fill())
        used = sum(trial.placement_group_factory.required_resources["CPU"] for trial in controller.running.values())
        assert used <= controller.total_resources["CPU"]

    def end(self):
        """No trial is added any more, and each runs for at most 20 steps: nobody may be left waiting."""
        controller = self.controller
        controller.expects_trials = False
        self.told.append(controller.fill())
        while controller.running:
            trial_id = sorted(controller.running)[0]
            step = controller.trials[trial_id].last_result.get("training_iteration", 0) + 1
            if step > 20:
                controller.complete(trial_id)
            else:
                self.told.append((trial_id, controller.report(trial_id, training_iteration=step, score=step)))
            self.told.append(controller.fill())
        assert not controller.get_live_trials()
        return self.told, controller.asked, controller.log, controller.scheduler.debug_string()


def tell(story, events=120):
    story.go(events)
    return story.end()


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**20), cpus=st.integers(1, 6))
def test_the_same_events_give_the_same_decisions_and_nobody_is_left_waiting(name, seed, cpus):
    random.seed(1)
    first = tell(Story(MAKERS[name](), seed, cpus))
    random.seed(2)  # the global generators have no say
    assert tell(Story(MAKERS[name](), seed, cpus)) == first


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**20), before=st.integers(0, 100))
def test_it_goes_on_from_a_pickle(name, seed, before):
    whole = Story(MAKERS[name](), seed, 3)
    expected = tell(whole)
    story = Story(MAKERS[name](), seed, 3)
    story.go(before)
    copy = pickle.loads(pickle.dumps(story))  # the scheduler with the trials that it knows
    copy.controller.scheduler.validate()
    copy.go(120 - before)
    assert copy.end() == expected


@pytest.mark.parametrize("name", MAKERS)
def test_save_and_restore(name, tmp_path):
    story = Story(MAKERS[name](), 7, 3)
    story.go(40)
    path = str(tmp_path / "state")
    story.controller.scheduler.save(path)
    other = MAKERS[name]()
    other.restore(path)
    assert other.debug_string() == story.controller.scheduler.debug_string()
    other.validate()


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_over_is_forgotten(name):
    """The state after a thousand trials is not larger than what the algorithm needs: numbers, not trials."""

    class Pickler(pickle.Pickler):
        trials = 0

        def persistent_id(self, obj):
            if type(obj).__name__ == "Trial":
                Pickler.trials += 1
                return obj.trial_id
            return None

    controller = FakeController(MAKERS[name](), cpus=3)
    for index in range(200):
        controller.add(str(index), {"lr": 0.5, "kind": "a", "n": 2})
        controller.fill()
        for trial_id in list(controller.running):
            controller.complete(trial_id, training_iteration=1, score=index)
    Pickler(io.BytesIO()).dump(controller.scheduler)
    assert Pickler.trials <= 3


def test_names():
    for name, kind in (
        ("fifo", schedulers.FIFOScheduler), ("async_hyperband", schedulers.ASHAScheduler),
        ("asynchyperband", schedulers.AsyncHyperBandScheduler), ("median_stopping_rule", schedulers.MedianStoppingRule),
        ("medianstopping", schedulers.MedianStoppingRule), ("hyperband", schedulers.HyperBandScheduler),
        ("hb_bohb", schedulers.HyperBandForBOHB), ("resource_changing", schedulers.ResourceChangingScheduler),
        ("ASHA", schedulers.ASHAScheduler),
    ):  # fmt: skip
        assert type(create_scheduler(name, metric="a", mode="max")) is kind
    with pytest.raises(ValueError, match="there is no scheduler 'bohb': the names are fifo, async_hyperband"):
        create_scheduler("bohb")
    with pytest.raises(TypeError, match="no scheduler has the argument 'metrik'"):
        create_scheduler("hyperband", metrik="a")
    scheduler = create_scheduler("hyperband", grace_period=3, max_t=9)  # grace_period is one of others
    assert scheduler._max_t == 9


def test_the_public_names_are_those_that_are_listed():
    assert set(schedulers.__all__) == {
        name for name, value in vars(schedulers).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }  # fmt: skip
