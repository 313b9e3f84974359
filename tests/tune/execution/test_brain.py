"""The brain of a run: what it decides, event by event, and what holds whatever happens."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tune.execution.world import World

from aktis.air.config import CheckpointConfig
from aktis.air.placement import PlacementGroupFactory
from aktis.tune._execution import events as ev
from aktis.tune.error import TuneError
from aktis.tune.experiment.trial import Trial
from aktis.tune.schedulers import FIFOScheduler, TrialScheduler
from aktis.tune.stopper import FunctionStopper, MaximumIterationStopper, Stopper


class Scripted(TrialScheduler):
    """Decides as the test says, and notes what it is told."""

    def __init__(self, decide: Any = None) -> None:
        self.decide = decide or (lambda controller, trial, result: self.CONTINUE)
        self.heard: list[tuple[str, str]] = []

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        self.heard.append(("add", trial.trial_id))

    def on_trial_error(self, controller: Any, trial: Trial) -> None:
        self.heard.append(("error", trial.trial_id))

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self.heard.append(("complete", trial.trial_id))

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        self.heard.append(("remove", trial.trial_id))

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return str(self.decide(controller, trial, result))


def test_trials_run_as_the_resources_allow_and_in_order() -> None:
    world = World(trials=4, cpus=2)
    assert world.asked == {"t0": "start", "t1": "start"}
    world.answer("t0")
    for _ in range(3):
        world.answer("t0")
    assert world.brain.trials["t0"].status == Trial.TERMINATED
    assert world.asked == {"t1": "start", "t2": "start"}
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 4}
    assert world.hooks_of("t0") == ["on_trial_start", *["on_trial_result"] * 3, "on_trial_complete"]


def test_the_result_that_ends_a_trial_is_told_to_the_search_algorithm_as_the_end_only() -> None:
    world = World(trials=1)
    world.finish()
    assert world.told == [("result", "t0"), ("result", "t0"), ("complete", "t0")]


def test_the_end_of_a_function_is_no_second_result() -> None:
    scheduler = Scripted()
    world = World(scheduler, trials=1, steps=99, can_save=False)
    world.answer("t0")
    world.answer("t0")
    world.asked.clear()
    repeated = ev.Step({"training_iteration": 1, "score": 1.0, "done": True}, duplicate=True)
    world.send(ev.Stepped(0, "t0", [repeated]))
    assert world.brain.finished
    assert world.hooks_of("t0").count("on_trial_result") == 1
    assert world.told == [("result", "t0"), ("complete", "t0")]
    assert ("complete", "t0") in scheduler.heard
    assert world.brain.trials["t0"].last_result["done"] is True


def test_stopping_rules_come_before_the_scheduler() -> None:
    asked = []
    scheduler = Scripted(lambda controller, trial, result: asked.append(result["training_iteration"]) or "CONTINUE")
    world = World(scheduler, trials=1, steps=99, settings={"stopper": MaximumIterationStopper(2)})
    world.finish()
    assert asked == [1]
    assert scheduler.heard == [("add", "t0"), ("complete", "t0")]


def test_a_criterion_ends_a_trial() -> None:
    world = World(trials=1, steps=99, make_trial=lambda number: {"stopping_criterion": {"nested/a": 5}})
    world.answer("t0")
    world.answer("t0", nested={"a": 4})
    assert world.asked == {"t0": "step"}
    world.answer("t0", nested={"a": 5})
    assert world.brain.finished


def test_a_criterion_without_its_metric_ends_the_run_with_an_error() -> None:
    world = World(trials=1, steps=99, make_trial=lambda number: {"stopping_criterion": {"scor": 5}})
    world.answer("t0")
    world.answer("t0")
    assert isinstance(world.aborted, TuneError)
    assert "scor" in str(world.aborted)


def test_a_result_without_the_metric_ends_the_run_with_an_error() -> None:
    world = World(trials=1, settings={"metrics": ("scores",)})
    world.answer("t0")
    world.answer("t0")
    assert isinstance(world.aborted, ValueError)
    assert "'scores'" in str(world.aborted)
    assert "Did you mean 'score'" in str(world.aborted)


def test_a_paused_trial_leaves_a_checkpoint_first_and_goes_on_from_it() -> None:
    scheduler = Scripted(lambda controller, trial, result: "PAUSE" if result["training_iteration"] == 2 else "CONTINUE")
    world = World(scheduler, trials=1, steps=4)
    for _ in range(3):
        world.answer("t0")
    assert world.asked == {"t0": "save"}
    assert world.brain.trials["t0"].status == Trial.RUNNING
    world.answer("t0")
    # Nothing else runs, so it is chosen again at once.
    assert world.asked == {"t0": "start"}
    assert world.done["t0"] == 2
    world.answer("t0")
    assert world.hooks_of("t0")[-2:] == ["on_trial_start", "on_trial_restore"]


def test_a_trial_saves_at_its_end_and_as_often_as_it_was_asked_to() -> None:
    config = CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True)
    world = World(trials=1, steps=3, make_trial=lambda number: {"checkpoint_config": config})
    world.finish()
    hooks = [hook for hook in world.hooks_of("t0") if hook in ("on_trial_save", "on_trial_result", "on_trial_complete")]
    assert hooks == [*["on_trial_result"] * 2, "on_trial_save", "on_trial_result", "on_trial_save", "on_trial_complete"]
    assert world.brain.trials["t0"].checkpoints.latest.path.endswith("checkpoint_000003")


def test_only_checkpoints_that_are_kept_stay() -> None:
    config = CheckpointConfig(checkpoint_frequency=1, num_to_keep=1)
    world = World(trials=1, steps=4, make_trial=lambda number: {"checkpoint_config": config})
    world.finish()
    # The last one belongs to the result that ends the trial.
    assert world.deleted == ["t0/checkpoint_000001", "t0/checkpoint_000002", "t0/checkpoint_000003"]


def test_a_failed_trial_is_tried_again_behind_the_others_from_its_checkpoint() -> None:
    scheduler = Scripted()
    config = CheckpointConfig(checkpoint_frequency=1)
    world = World(
        scheduler, trials=3, cpus=1, make_trial=lambda number: {"max_failures": 1, "checkpoint_config": config}
    )
    for _ in range(3):
        world.answer("t0")
    world.fail("t0")
    assert list(world.brain.pending) == ["t2", "t0"]
    assert scheduler.heard[:4] == [("add", "t0"), ("add", "t1"), ("add", "t2"), ("error", "t0")]
    assert world.count_told("complete") == {}
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 3}
    assert world.brain.trials["t0"].num_failures == 1
    assert world.hooks_of("t0").count("on_trial_restore") == 1


def test_a_trial_that_fails_too_often_is_an_error_once() -> None:
    world = World(trials=2, cpus=2, make_trial=lambda number: {"max_failures": 1})
    world.fail("t0")
    world.fail("t0")
    assert world.brain.trials["t0"].status == Trial.ERROR
    assert ("complete", "t0", "error") in world.told
    assert world.hooks_of("t0") == [
        "on_trial_start",
        "on_trial_error",
    ]  # it was never started, but listeners count on it
    world.finish()
    assert world.statuses() == {Trial.ERROR: 1, Trial.TERMINATED: 1}


def test_fail_fast_ends_the_run() -> None:
    world = World(trials=5, cpus=2, settings={"fail_fast": True})
    world.fail("t0")
    assert world.brain.finished
    assert world.statuses()[Trial.ERROR] == 1
    assert Trial.RUNNING not in world.statuses()
    raised = World(trials=5, cpus=2, settings={"fail_fast": "raise"})
    error = KeyError("x")
    raised.fail("t0", error)
    assert raised.aborted is error


def test_actors_are_reused_for_trials_with_the_same_needs() -> None:
    world = World(trials=5, cpus=2, settings={"reuse_actors": True})
    world.finish()
    assert world.brain._next_slot == 2
    assert not world.slots


def test_idle_actors_give_way_to_a_trial_with_other_needs() -> None:
    two = PlacementGroupFactory([{"CPU": 2}])
    needs = {4: two}
    world = World(
        trials=5, cpus=2, settings={"reuse_actors": True},
        make_trial=lambda number: {"placement_group_factory": needs.get(number, PlacementGroupFactory([{"CPU": 1}]))},
    )  # fmt: skip
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 5}
    assert world.brain._next_slot == 3


def test_an_actor_that_cannot_be_reset_is_replaced() -> None:
    world = World(trials=2, cpus=1, settings={"reuse_actors": True})
    for _ in range(4):
        world.answer("t0")
    del world.asked["t1"]
    world.send(ev.Started(0, "t1", needs_new_actor=True))
    assert world.asked == {"t1": "start"}
    assert list(world.slots.values()) == ["t1"]
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 2}


def test_a_trial_that_never_fits_is_an_error_and_no_wait() -> None:
    world = World(
        trials=1, cpus=2, make_trial=lambda number: {"placement_group_factory": PlacementGroupFactory([{"CPU": 3}])}
    )
    assert isinstance(world.aborted, TuneError)
    assert "3" in str(world.aborted)
    assert "with_resources" in str(world.aborted)


def test_a_scheduler_that_chooses_nobody_is_an_error_and_no_wait() -> None:
    class Lazy(FIFOScheduler):
        def choose_trial_to_run(self, controller: Any) -> None:
            return None

    world = World(Lazy(), trials=2)
    assert isinstance(world.aborted, TuneError)
    assert "Lazy" in str(world.aborted)


def test_an_unknown_decision_is_an_error() -> None:
    world = World(Scripted(lambda *args: "GO"), trials=1)
    world.answer("t0")
    world.answer("t0")
    assert "'GO'" in str(world.aborted)


def test_ctrl_c_saves_what_runs_and_leaves_it_to_be_resumed() -> None:
    world = World(trials=3, cpus=2, steps=9)
    world.answer("t0")
    world.answer("t0")
    world.send(ev.StopAll(0))
    assert world.asked == {"t0": "step"}  # t1 had not begun: nothing to save
    world.answer("t0")
    assert world.asked == {"t0": "save"}
    world.answer("t0")
    assert world.brain.finished
    assert world.statuses()[Trial.PENDING] == len(world.brain.trials)
    assert world.brain.trials["t0"].checkpoints.latest.path.endswith("checkpoint_000002")
    assert world.count_told("complete") == {}


def test_functions_are_stopped_at_once_by_ctrl_c() -> None:
    world = World(trials=3, cpus=2, steps=9, can_save=False)
    world.answer("t0")
    world.send(ev.StopAll(0))
    assert world.brain.finished
    assert not world.slots


def test_a_stopper_ends_the_run() -> None:
    class Enough(Stopper):
        seen = 0

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.seen += 1
            return False

        def stop_all(self) -> bool:
            return self.seen >= 3

    world = World(trials=9, cpus=2, steps=99, settings={"stopper": Enough()})
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: len(world.brain.trials)}
    assert all(count == 1 for count in world.count_told("complete").values())
    assert set(world.count_told("complete")) == set(world.brain.trials)


def test_a_stopped_trial_that_has_not_run_is_removed() -> None:
    scheduler = Scripted()
    world = World(scheduler, trials=4, cpus=1)
    world.send(ev.StopTrial(0, "t1"))
    assert ("remove", "t1") in scheduler.heard
    world.finish()
    assert world.hooks_of("t1") == []
    assert world.count_told("complete")["t1"] == 1


def test_at_most_so_many_trials_live_at_once() -> None:
    world = World(trials=6, cpus=8, settings={"max_concurrent": 2, "max_pending": 16})
    assert len(world.asked) == 2
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 6}


def test_buffered_results_after_the_decision_to_stop_are_dropped() -> None:
    world = World(
        trials=1, steps=99, settings={"stopper": FunctionStopper(lambda trial_id, result: result["score"] >= 2)}
    )
    world.answer("t0")
    world.asked.clear()
    world.send(ev.Stepped(0, "t0", [ev.Step(world.result(step)) for step in (1, 2, 3)]))
    assert world.hooks_of("t0").count("on_trial_result") == 2
    assert world.brain.trials["t0"].last_result["training_iteration"] == 2


# -- exploitation (population based training) -----------------------------------------------------


def exploiting(at: int, donor: str = "t1", loser: str = "t0") -> Scripted:
    """The loser takes over from the donor after so many results; the donor saves at that time."""

    def decide(controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if result["training_iteration"] == at and trial.trial_id == donor:
            controller.save_trial(trial)
        if result["training_iteration"] == at and trial.trial_id == loser and trial.config.get("x") != 99:
            assert controller.exploit(trial, controller.get_trial(donor), {"x": 99}, "9_x=99")
        return "CONTINUE"

    return Scripted(decide)


def test_a_trial_goes_on_from_the_checkpoint_of_another_with_its_new_configuration() -> None:
    world = World(exploiting(2), trials=2, steps=5)
    for _ in range(3):
        world.answer("t1")
    assert world.asked["t1"] == "save"
    for _ in range(3):
        world.answer("t0")
    assert "t0" not in world.asked  # it waits for the checkpoint that is being made
    world.answer("t1")
    assert world.asked["t0"] == "start"
    trial = world.brain.trials["t0"]
    assert (trial.config, trial.experiment_tag, world.done["t0"]) == ({"x": 99}, "9_x=99", 2)
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 2}
    assert world.brain.keeper.pinned() == {}


def test_a_trial_whose_donor_fails_meanwhile_goes_on_alone() -> None:
    world = World(exploiting(2), trials=2, steps=5)
    for _ in range(3):
        world.answer("t1")
    for _ in range(3):
        world.answer("t0")
    world.fail("t1")
    assert world.asked["t0"] == "start"
    world.finish()
    assert world.statuses() == {Trial.TERMINATED: 1, Trial.ERROR: 1}


def test_without_a_checkpoint_nothing_is_taken_over() -> None:
    answers = []

    def decide(controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if trial.trial_id == "t0":
            answers.append(controller.exploit(trial, controller.get_trial("t1"), {"x": 1}, "t"))
        return "CONTINUE"

    world = World(Scripted(decide), trials=2, can_save=False)
    world.finish()
    assert set(answers) == {False}
    assert world.brain.trials["t0"].config == {"x": 0}


def test_a_checkpoint_that_somebody_starts_from_is_not_deleted() -> None:
    config = CheckpointConfig(num_to_keep=1, checkpoint_frequency=1)
    world = World(exploiting(2), trials=2, steps=9, make_trial=lambda number: {"checkpoint_config": config})
    while world.done.get("t1", 0) < 2 or world.asked["t1"] != "step":
        world.answer("t1")
    while world.brain.trials["t0"].config["x"] != 99:
        world.answer("t0")
    assert world.asked["t0"] == "start"
    while world.done["t1"] < 5:
        world.answer("t1")
    assert "t1/checkpoint_000002" not in world.deleted
    assert "t1/checkpoint_000003" in world.deleted
    while world.asked["t0"] != "step" or world.done["t0"] < 3:
        world.answer("t0")
    assert "t1/checkpoint_000002" in world.deleted


def test_other_resources_mean_a_restart_from_a_checkpoint() -> None:
    two = PlacementGroupFactory([{"CPU": 2}])

    def decide(controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if result["training_iteration"] == 1:
            controller.update_trial_resources(trial, two)
        return "CONTINUE"

    world = World(Scripted(decide), trials=1, cpus=2)
    world.answer("t0")
    world.answer("t0")
    assert world.asked == {"t0": "save"}
    world.answer("t0")
    assert world.asked == {"t0": "start"}
    assert world.done["t0"] == 1
    assert world.brain.account.held() == {"CPU": 2.0}
    world.finish()


# -- what holds whatever happens ------------------------------------------------------------------


class Chaotic(TrialScheduler):
    """Decides by chance, with everything that a scheduler may ask for. Trials that it paused it lets go on in the end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ends: dict[str, int] = {}

    def on_trial_complete(self, controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        self.ends[trial.trial_id] = self.ends.get(trial.trial_id, 0) + 1

    def on_trial_remove(self, controller: Any, trial: Trial) -> None:
        self.ends[trial.trial_id] = self.ends.get(trial.trial_id, 0) + 1

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        roll = self.random.random()
        other = self.random.choice(list(controller.get_live_trials()))
        if roll < 0.08:
            return self.PAUSE
        if roll < 0.12:
            return self.STOP
        if roll < 0.18:
            controller.pause_trial(other)
            return self.NOOP
        if roll < 0.22:
            controller.stop_trial(other)
        elif roll < 0.32:
            controller.save_trial(other)
        elif roll < 0.44:
            controller.exploit(trial, other, {"x": roll}, f"{roll}")
        elif roll < 0.5:
            controller.exploit(other, trial, {"x": roll}, f"{roll}")
        elif roll < 0.55:
            controller.unpause_trial(other)
        elif roll < 0.6:
            controller.update_trial_resources(other, PlacementGroupFactory([{"CPU": self.random.choice([0.5, 1, 2])}]))
        return self.CONTINUE


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    reuse=st.booleans(),
    can_save=st.booleans(),
    failures=st.sampled_from([0.0, 0.1]),
    retries=st.integers(-1, 2),
    keep=st.sampled_from([None, 1, 2]),
)
def test_every_run_ends_and_every_end_is_told_once(
    seed: int, reuse: bool, can_save: bool, failures: float, retries: int, keep: int | None
) -> None:
    scheduler = Chaotic(seed)
    config = CheckpointConfig(num_to_keep=keep, checkpoint_frequency=2 if can_save else 0, checkpoint_at_end=can_save)
    world = World(
        scheduler, trials=8, cpus=3, steps=5, can_save=can_save, settings={"reuse_actors": reuse},
        make_trial=lambda number: {"max_failures": retries, "checkpoint_config": config},
    )  # fmt: skip
    world.finish(random.Random(seed), failures)
    assert world.aborted is None
    assert len(world.brain.trials) == 8
    assert set(world.statuses()) <= {Trial.TERMINATED, Trial.ERROR}
    told = world.count_told("complete")
    assert set(told) == set(world.brain.trials)
    assert set(told.values()) == {1}
    assert all(count == 1 for count in scheduler.ends.values())
    assert not world.slots, "an actor was not released"
    assert world.brain.account.need_is_nothing_held()
    assert world.brain.keeper.pinned() == {}
    for trial in world.brain.trials.values():
        hooks = world.hooks_of(trial.trial_id)
        ends = [hook for hook in hooks if hook in ("on_trial_complete", "on_trial_error")]
        assert len(ends) <= 1
        assert not ends or hooks[-1] == ends[0]
    kept = {
        f"{trial.trial_id}/{tracked.path.rsplit('/', 1)[1]}"
        for trial in world.brain.trials.values()
        if trial.checkpoints is not None
        for tracked in trial.checkpoints.kept
    }
    assert kept == world.files


@pytest.mark.parametrize("seed", range(5))
def test_an_interrupted_run_leaves_nothing_behind(seed: int) -> None:
    rng = random.Random(seed)
    world = World(Chaotic(seed), trials=8, cpus=3, steps=5)
    for _ in range(rng.randrange(5, 25)):
        if world.asked:
            world.answer(rng.choice(list(world.asked)))
    world.send(ev.StopAll(0))
    world.finish(rng)
    assert not world.slots
    assert set(world.statuses()) <= {Trial.TERMINATED, Trial.PENDING, Trial.PAUSED}
