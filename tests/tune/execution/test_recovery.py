"""A run that is killed at any moment goes on: no result is lost, and nothing that ended runs again."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tune.execution.world import World

from aktis.air.callbacks import CallbackList
from aktis.air.config import CheckpointConfig
from aktis.tune._execution import codec, records
from aktis.tune._execution import events as ev
from aktis.tune._execution.brain import Brain
from aktis.tune._execution.journal import Journal
from aktis.tune._execution.recovery import ResumePlan, fold, resume
from aktis.tune._execution.settings import BrainSettings
from aktis.tune._execution.snapshots import Snapshots
from aktis.tune._execution.suggestions import Suggestions
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment import Experiment, Trial
from aktis.tune.schedulers import TrialScheduler
from aktis.tune.search import BasicVariantGenerator
from aktis.tune.search.sample import choice, uniform


def train(config: dict[str, Any]) -> None:
    """Never called: the world's actors only count."""


class Moody(TrialScheduler):
    """Pauses, stops and exploits by chance of its own, so that a replay must repeat it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def on_trial_result(self, controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        roll = self.random.random()
        live = sorted(controller.get_live_trials(), key=lambda other: other.trial_id)
        other = self.random.choice(live)
        if roll < 0.1:
            return self.PAUSE
        if roll < 0.2:
            return self.STOP
        if roll < 0.35:
            controller.save_trial(other)
        elif roll < 0.55:
            controller.exploit(trial, other, {"x": roll, "y": (1, 2)}, f"{roll}")
        return self.CONTINUE


class JournaledWorld(World):
    """The world with the real journal, snapshots, experiment and search algorithm."""

    def __init__(
        self, directory: Path, seed: int, *, retries: int = 1, resumed: ResumePlan | None = None, files: Any = ()
    ) -> None:
        self.experiment = Experiment(
            "run", train, config={"x": uniform(0, 1), "y": choice([(1, 2), (3, 4)])}, num_samples=6, local_dir=str(directory),
            max_failures=retries,
        )  # fmt: skip
        self.experiment.can_save = True
        self.experiment.checkpoint_config = CheckpointConfig(checkpoint_frequency=2, num_to_keep=1)
        algorithm = BasicVariantGenerator(random_state=seed)
        algorithm.add_configurations([self.experiment])
        self.suggestions = Suggestions([(self.experiment, algorithm)])
        self.callbacks = CallbackList()
        self.seen: dict[str, list[int]] = {}
        path = Path(self.experiment.path)
        path.mkdir(exist_ok=True)
        fresh = Brain(Moody(seed), BrainSettings(max_pending=2, reuse_actors=bool(seed % 2)))
        self.touched: set[str] = set()
        if resumed is None:
            self.journal = Journal.create(str(path), "0")
        else:
            self.journal = Journal.open(str(path))
            experiments = {"run": self.experiment}
            fresh, self.touched = fold(self.journal, fresh, self.suggestions, self.callbacks, experiments)
            self.folded = state_of(fresh)
            resume(fresh, resumed)
            self.journal.append(records.RESUMED, None, 0.0, codec.dumps(asdict(resumed)))
            self.journal.commit()
        self.snapshots = Snapshots(self.journal, str(path), "now")
        self.snapshots.resume(fresh.trials, self.touched)
        self.prepared = fresh
        super().__init__(trials=6, cpus=2, steps=5, files=files)

    def send(self, event: ev.Event) -> None:
        self.brain = self.prepared
        queue = [event]
        while queue:
            events, queue = queue, []
            for each in events:
                self.now += 1.0
                each.now = self.now
            for command in records.decide(self.brain, self.journal, events):
                queue += self.carry_out(command)
            self.brain.validate()

    def carry_out(self, command: ev.Command) -> list[ev.Event]:
        if isinstance(command, ev.TellSearch):
            self.suggestions.tell(command)
        if isinstance(command, ev.TrialEnded):
            self.snapshots.changed(command.trial)
        return super().carry_out(command)

    def suggest(self, count: int) -> list[ev.Event]:
        found: list[ev.Event] = [ev.TrialAdded(0, trial) for trial in self.suggestions.take(count)]
        if len(found) < count:
            found.append(ev.NoSuggestion(0, self.suggestions.finished))
        return found

    def result(self, step: int, **metrics: Any) -> dict[str, Any]:
        return {**super().result(step), "odd": (step, {"a": float("nan")}), **metrics}

    def snapshot(self) -> None:
        self.snapshots.write(self.brain, self.suggestions, self.callbacks, views=False)

    def step_by_chance(self, rng: random.Random) -> None:
        if not self.asked:
            self.send(ev.Tick(0))
            return
        trial_id = rng.choice(sorted(self.asked))
        if rng.random() < 0.05:
            self.fail(trial_id)
        else:
            self.answer(trial_id)


def state_of(brain: Brain) -> dict[str, Any]:
    """What a user would miss."""
    return {
        trial.trial_id: (
            trial.config,
            trial.experiment_tag,
            trial.status if trial.is_finished() or trial.status == Trial.PAUSED else "live",
            {key: value for key, value in trial.last_result.items() if key != "odd"},
            {key: value for key, value in trial.metric_analysis.items() if key != "odd/1/a"},
            trial.num_failures,
            [tracked.path for tracked in trial.checkpoints.kept] if trial.checkpoints is not None else [],
            trial.logdir,
        )
        for trial in brain.trials.values()
    }


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    until=st.integers(0, 60),
    again=st.integers(0, 30),
    snapshots=st.sampled_from([0, 0.1, 0.5]),
)
def test_a_run_that_is_killed_at_any_moment_goes_on(
    tmp_path_factory: pytest.TempPathFactory, seed: int, until: int, again: int, snapshots: float
) -> None:
    rng = random.Random(seed)
    directory = tmp_path_factory.mktemp("run")
    world = JournaledWorld(directory, seed)
    world.snapshot()
    ended: set[str] = set()
    told: list[str] = []
    for events in (until, again):  # killed twice
        for _ in range(events):
            if world.brain.finished:
                break
            world.step_by_chance(rng)
            if rng.random() < snapshots:
                world.snapshot()
        before = state_of(world.brain)
        ended |= {trial.trial_id for trial in world.brain.trials.values() if trial.is_finished()}
        told += [entry[1] for entry in world.told if entry[0] == "complete"]
        world.journal._db.close()  # as a kill would: nothing is flushed, nothing is said
        world = JournaledWorld(directory, seed, resumed=ResumePlan(), files=world.files)
        assert world.folded == before
        assert not {trial_id for trial_id in world.asked if trial_id in ended}, "what had ended was started again"
    world.finish(rng)
    assert world.aborted is None
    assert len(world.brain.trials) == 6
    assert set(world.statuses()) <= {Trial.TERMINATED, Trial.ERROR}
    told += [entry[1] for entry in world.told if entry[0] == "complete"]
    assert sorted(told) == sorted(world.brain.trials), "an end was told twice, or not at all"
    world.journal.close()


def test_a_scheduler_that_is_not_deterministic_cannot_undo_an_end(tmp_path: Path) -> None:
    world = JournaledWorld(tmp_path, 1)
    world.brain.scheduler = Moody(5)
    rng = random.Random(3)
    for _ in range(25):
        world.step_by_chance(rng)
    ended = {trial.trial_id: trial.status for trial in world.brain.trials.values() if trial.is_finished()}
    assert ended
    world.journal._db.close()
    experiments = {"run": world.experiment}
    journal = Journal.open(world.experiment.path)
    algorithm = BasicVariantGenerator(random_state=1)
    algorithm.add_configurations([world.experiment])
    fresh = Brain(Moody(99), BrainSettings(max_pending=2))
    brain, _ = fold(journal, fresh, Suggestions([(world.experiment, algorithm)]), CallbackList(), experiments)
    resume(brain, ResumePlan())
    brain.validate()
    assert {trial.trial_id: trial.status for trial in brain.trials.values() if trial.is_finished()} == ended
    journal.close()


@pytest.mark.parametrize(
    ("plan", "status", "restored"),
    [
        (ResumePlan(), Trial.ERROR, 0),
        (ResumePlan(errored=True), Trial.PENDING, 2),
        (ResumePlan(restart_errored=True), Trial.PENDING, 0),
    ],
)
def test_failed_trials_go_on_as_asked(tmp_path: Path, plan: ResumePlan, status: str, restored: int) -> None:
    world = JournaledWorld(tmp_path, 0, retries=0)
    world.brain.scheduler = TrialScheduler()
    first = next(iter(world.brain.trials))
    while world.done.get(first, 0) < 2 or world.asked[first] != "step":
        world.answer(first)
    world.fail(first)
    resume(world.brain, plan)
    trial = world.brain.trials[first]
    assert trial.status == status
    point = world.brain.keeper.starting_point(trial)
    assert (point.iteration if point is not None and status != Trial.ERROR else 0) == restored
    world.brain.validate()
    world.journal.close()


def test_unfinished_trials_can_be_left_ended(tmp_path: Path) -> None:
    world = JournaledWorld(tmp_path, 0)
    resume(world.brain, ResumePlan(unfinished=False))
    assert set(world.statuses()) == {Trial.TERMINATED}
    world.journal.close()


def test_a_journal_of_a_newer_version_says_so(tmp_path: Path) -> None:
    journal = Journal.create(str(tmp_path), "9")
    journal.set_meta("format", "99")
    journal.close()
    with pytest.raises(ExperimentDirectoryError, match="newer version"):
        Journal.open(str(tmp_path))


def test_a_damaged_journal_says_so(tmp_path: Path) -> None:
    (tmp_path / "experiment.sqlite").write_bytes(b"rubbish" * 1000)
    with pytest.raises(ExperimentDirectoryError, match="damaged"):
        Journal.open(str(tmp_path))
    with pytest.raises(ExperimentDirectoryError, match=r"no experiment\.sqlite"):
        Journal.open(str(tmp_path / "elsewhere"))
