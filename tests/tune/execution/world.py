"""A world for the brain: actors that answer when a test (or chance) says so, a search algorithm that counts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from aktis.air.config import CheckpointConfig
from aktis.air.placement import PlacementGroupFactory
from aktis.tune._execution import events as ev
from aktis.tune._execution.brain import Brain
from aktis.tune._execution.settings import BrainSettings
from aktis.tune.experiment.trial import Trial
from aktis.tune.schedulers import TrialScheduler

ONE_CPU = PlacementGroupFactory([{"CPU": 1}])


class World:
    """Carries out the brain's commands without doing anything, and remembers what it was told."""

    def __init__(
        self,
        scheduler: TrialScheduler | None = None,
        *,
        trials: int = 4,
        cpus: float = 2,
        steps: int = 3,
        can_save: bool = True,
        settings: dict[str, Any] | None = None,
        make_trial: Callable[[int], dict[str, Any]] = lambda number: {},
        files: Iterable[str] = (),
    ) -> None:
        self.now = 0.0
        self.left = trials
        self.made = 0
        self.steps = steps
        self.can_save = can_save
        self.make_trial = make_trial
        self.asked: dict[str, str] = {}  # what each running trial's actor is asked for
        self.done: dict[str, int] = {}  # steps made by the state that the actor has
        self.slots: dict[int, str | None] = {}
        self.told: list[tuple[str, ...]] = []  # to the search algorithm
        self.hooks: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self.deleted: list[str] = []
        self.files = set(files)  # checkpoints that are there
        self.aborted: BaseException | None = None
        from aktis.tune.schedulers import FIFOScheduler

        self.brain = Brain(scheduler or FIFOScheduler(), BrainSettings(**{"max_pending": 2, **(settings or {})}))
        self.send(ev.ResourcesKnown(0.0, {"CPU": cpus}))

    # -- events -----------------------------------------------------------------------------------

    def send(self, event: ev.Event) -> None:
        queue = [event]
        while queue:
            event = queue.pop(0)
            self.now += 1.0
            event.now = self.now
            for command in self.brain.handle(event):
                queue += self.carry_out(command)
            self.brain.validate()

    def answer(self, trial_id: str, **metrics: Any) -> None:
        """The trial's actor has done what it was asked for."""
        what = self.asked.pop(trial_id)
        if what == "start":
            self.send(ev.Started(0, trial_id, pid=1, node_ip="here"))
        elif what == "save":
            path = f"checkpoint_{self.done[trial_id]:06d}"
            self.files.add(f"{trial_id}/{path}")
            self.send(ev.Saved(0, trial_id, path))
        else:
            self.done[trial_id] += 1
            step = self.done[trial_id]
            self.send(ev.Stepped(0, trial_id, [ev.Step(self.result(step, **metrics))]))

    def result(self, step: int, **metrics: Any) -> dict[str, Any]:
        return {"training_iteration": step, "score": float(step), "done": step >= self.steps, **metrics}

    def fail(self, trial_id: str, error: BaseException | None = None) -> None:
        del self.asked[trial_id]
        self.send(ev.CallFailed(0, trial_id, error or RuntimeError("broken")))

    # -- commands ---------------------------------------------------------------------------------

    def carry_out(self, command: ev.Command) -> list[ev.Event]:
        if isinstance(command, ev.Suggest):
            return self.suggest(command.count)
        if isinstance(command, ev.StartTrial):
            self.start(command)
        elif isinstance(command, ev.StepTrial):
            assert command.trial.trial_id not in self.asked
            self.asked[command.trial.trial_id] = "step"
        elif isinstance(command, ev.SaveTrial):
            assert command.trial.can_save
            assert command.trial.trial_id not in self.asked
            self.asked[command.trial.trial_id] = "save"
        elif isinstance(command, ev.ReleaseActor):
            owner = self.slots.pop(command.slot)
            if owner is not None:
                self.asked.pop(owner, None)
        elif isinstance(command, ev.TellSearch):
            self.told.append((command.what, command.trial_id, *(["error"] if command.error else [])))
        elif isinstance(command, ev.TellCallbacks):
            self.hooks.append((command.hook, command.trial.trial_id))
        elif isinstance(command, ev.WriteError):
            self.errors.append(command.trial.trial_id)
        elif isinstance(command, ev.DeleteCheckpoint):
            self.deleted.append(f"{command.checkpoint.owner}/{command.checkpoint.path}")
            self.files.remove(self.deleted[-1])
        elif isinstance(command, ev.Abort):
            self.aborted = command.error
        return []

    def suggest(self, count: int) -> list[ev.Event]:
        events: list[ev.Event] = []
        for _ in range(min(count, self.left)):
            self.left -= 1
            number = self.made
            self.made += 1
            options = {
                "experiment_dir": "/nowhere",
                "placement_group_factory": ONE_CPU,
                "checkpoint_config": CheckpointConfig(),
                "can_save": self.can_save,
                "config": {"x": number},
                **self.make_trial(number),
            }
            trial = Trial("world", trial_id=f"t{number}", **options)
            trial.relative_logdir = trial.trial_id
            events.append(ev.TrialAdded(0, trial))
        if len(events) < count:
            events.append(ev.NoSuggestion(0, finished=not self.left))
        return events

    def start(self, command: ev.StartTrial) -> None:
        trial_id = command.trial.trial_id
        assert (command.slot not in self.slots) == command.new, f"slot {command.slot}: new={command.new}"
        for slot, owner in list(self.slots.items()):
            if owner == trial_id and slot != command.slot:
                self.slots[slot] = None
        self.slots[command.slot] = trial_id
        assert trial_id not in self.asked
        point = command.checkpoint
        assert point is None or f"{point.owner}/{point.path}" in self.files, f"{point} was deleted"
        self.asked[trial_id] = "start"
        self.done[trial_id] = command.checkpoint.iteration if command.checkpoint is not None else 0

    # -- whole runs -------------------------------------------------------------------------------

    def finish(self, rng: random.Random | None = None, failures: float = 0.0) -> None:
        """Answer, by chance or in turn, until the run has ended."""
        for _ in range(10_000):
            if self.brain.finished:
                return
            if not self.asked:
                self.send(ev.Tick(0))
                assert self.asked or self.brain.finished, "the run stands still"
                continue
            waiting = list(self.asked)
            trial_id = rng.choice(waiting) if rng is not None else waiting[0]
            if rng is not None and rng.random() < failures:
                self.fail(trial_id)
            else:
                self.answer(trial_id)
        raise AssertionError("the run does not end")

    def hooks_of(self, trial_id: str) -> list[str]:
        return [hook for hook, owner in self.hooks if owner == trial_id]

    def count_told(self, what: str) -> Counter[str]:
        return Counter(entry[1] for entry in self.told if entry[0] == what)

    def statuses(self) -> Counter[str]:
        return Counter(trial.status for trial in self.brain.trials.values())
