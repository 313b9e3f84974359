"""A controller for tests of schedulers: the documented protocol in memory, with a virtual clock. What is not allowed, fails.

It behaves as the trial runner's brain does where the protocol leaves room: a scheduler hears of the end of every trial, also of
one that it stopped itself (``on_trial_remove`` while it waits, else ``on_trial_complete``), perhaps in the middle of an event.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aktis.air.placement import PlacementGroupFactory
from aktis.tune.experiment.trial import Trial
from aktis.tune.schedulers import TrialScheduler


class FakeController:
    """Trials that run on a number of CPUs, each trial with one of them unless it says otherwise."""

    def __init__(self, scheduler: TrialScheduler, cpus: float = 4, gpus: float = 0) -> None:
        self.scheduler = scheduler
        self.now = 0.0
        self.total_resources = {"CPU": float(cpus), "GPU": float(gpus)}
        self.trials: dict[str, Trial] = {}
        self.pending: dict[str, Trial] = {}
        self.paused: dict[str, Trial] = {}
        self.running: dict[str, Trial] = {}
        self.expects_trials = False
        self.checkpoints: dict[str, dict[str, Any]] = {}  # the result of which it is
        self.asked: list[tuple[Any, ...]] = []  # what the scheduler wanted, for tests
        self.log: dict[str, str] = {}
        # how trials begin anew: (from which checkpoint, with which configuration, tag)
        self._restarts: dict[str, tuple[dict[str, Any] | None, dict[str, Any], str]] = {}
        self._deciding: Trial | None = None
        self._wants_pause = False
        self._wants_stop = False

    # -- what happens -------------------------------------------------------------------------------

    def add(self, trial_id: str, config: dict[str, Any] | None = None, cpus: float = 1, **options: Any) -> Trial:
        assert trial_id not in self.trials
        factory = PlacementGroupFactory([{"CPU": cpus}]) if "bundles" not in options else options["bundles"]
        tag = options.get("tag", trial_id)
        trial = Trial(
            "fake", trial_id=trial_id, config=config or {}, experiment_tag=tag, placement_group_factory=factory
        )
        self.trials[trial_id] = self.pending[trial_id] = trial
        self.scheduler.on_trial_add(self, trial)
        self.scheduler.validate()
        return trial

    def fill(self) -> list[str]:
        """Start what the scheduler chooses. Returns the ids."""
        started = []
        while self.pending or self.paused:
            trial = self.scheduler.choose_trial_to_run(self)
            if trial is None:
                break
            assert trial.trial_id in self.pending or trial.trial_id in self.paused, f"{trial} does not wait"
            assert self._fits(trial), f"{trial} does not fit"
            self._move(trial, Trial.RUNNING)
            restart = self._restarts.pop(trial.trial_id, None)
            if restart is not None:
                self._apply(trial, restart)
            started.append(trial.trial_id)
        self.scheduler.validate()
        return started

    def report(self, trial_id: str, **result: Any) -> str:
        """A running trial reports; what the scheduler decides is done."""
        trial = self.running[trial_id]
        trial.last_result = dict(result)
        self._deciding, self._wants_pause, self._wants_stop = trial, False, False
        decision = self.scheduler.on_trial_result(self, trial, result)
        self._deciding = None
        assert decision in ("CONTINUE", "PAUSE", "STOP", "NOOP"), decision
        if decision == "STOP" or self._wants_stop:
            self.scheduler.on_trial_complete(self, trial, result)
            self._move(trial, Trial.TERMINATED)
        elif decision == "PAUSE" or self._wants_pause:
            if trial_id not in self._restarts:
                self.checkpoints[trial_id] = trial.last_result
            self._move(trial, Trial.PAUSED)
        elif trial_id in self._restarts:
            if self._restarts[trial_id][0] is None:
                self.checkpoints[trial_id] = trial.last_result
            self._move(trial, Trial.PENDING)
        self.scheduler.validate()
        for path, text in self.scheduler.pop_log_records():
            self.log[path] = self.log.get(path, "") + text if text else ""
        return decision

    def complete(self, trial_id: str, **result: Any) -> None:
        """A running trial ends by itself."""
        trial = self.running[trial_id]
        self.scheduler.on_trial_complete(self, trial, result or trial.last_result)
        self._move(trial, Trial.TERMINATED)
        self.scheduler.validate()

    def fail(self, trial_id: str, again: bool = False) -> None:
        """A running trial fails; perhaps it is tried again."""
        trial = self.running[trial_id]
        self.scheduler.on_trial_error(self, trial)
        if again:
            self._move(trial, Trial.PENDING)
            self.scheduler.on_trial_add(self, trial)
        else:
            self._move(trial, Trial.ERROR)
        self.scheduler.validate()

    # -- TrialController ------------------------------------------------------------------------------

    def get_trials(self) -> Collection[Trial]:
        return self.trials.values()

    def get_live_trials(self) -> Collection[Trial]:
        return [*self.running.values(), *self.pending.values(), *self.paused.values()]

    def get_trial(self, trial_id: str) -> Trial | None:
        return self.trials.get(trial_id)

    def has_resources_for_trial(self, trial: Trial) -> bool:
        assert trial.trial_id in self.trials
        return self._fits(trial)

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        self.asked.append(("pause", trial.trial_id, should_checkpoint))
        assert not trial.is_finished()
        if trial is self._deciding:
            self._wants_pause = True
        elif trial.trial_id not in self.paused:
            if trial.trial_id in self.running and should_checkpoint:
                self.checkpoints[trial.trial_id] = trial.last_result
            self._move(trial, Trial.PAUSED)

    def unpause_trial(self, trial: Trial) -> None:
        self.asked.append(("unpause", trial.trial_id))
        assert not trial.is_finished()
        if trial.trial_id in self.paused:
            self._move(trial, Trial.PENDING)

    def stop_trial(self, trial: Trial) -> None:
        self.asked.append(("stop", trial.trial_id))
        assert not trial.is_finished(), f"{trial} has ended"
        if trial is self._deciding:
            self._wants_stop = True
            return
        if trial.trial_id in self.running:
            self.scheduler.on_trial_complete(self, trial, trial.last_result)
        else:
            self.scheduler.on_trial_remove(self, trial)
        self._move(trial, Trial.TERMINATED)

    def save_trial(self, trial: Trial) -> None:
        self.asked.append(("save", trial.trial_id))
        assert trial.trial_id in self.running, f"{trial} does not run"
        self.checkpoints[trial.trial_id] = trial.last_result

    def exploit(self, trial: Trial, donor: Trial, config: dict[str, Any], experiment_tag: str) -> bool:
        assert not trial.is_finished() and not donor.is_finished()
        if donor.trial_id not in self.checkpoints:
            return False
        self.asked.append(("exploit", trial.trial_id, donor.trial_id, config))
        self._restarts[trial.trial_id] = (self.checkpoints[donor.trial_id], config, experiment_tag)
        if trial is not self._deciding and trial.trial_id in self.running:
            self._move(trial, Trial.PENDING)
        return True

    def update_trial_resources(self, trial: Trial, resources: PlacementGroupFactory) -> None:
        self.asked.append(("resources", trial.trial_id, resources))
        assert not trial.is_finished()
        trial.placement_group_factory = resources
        if trial is self._deciding:
            self._restarts[trial.trial_id] = (None, trial.config, trial.experiment_tag)

    # -- inside ---------------------------------------------------------------------------------------

    def _fits(self, trial: Trial) -> bool:
        need = trial.placement_group_factory.required_resources
        used = [t.placement_group_factory.required_resources for t in self.running.values()]
        return all(
            sum(u.get(name, 0.0) for u in used) + amount <= self.total_resources.get(name, 0.0)
            for name, amount in need.items()
        )

    def _apply(self, trial: Trial, restart: tuple[dict[str, Any] | None, dict[str, Any], str]) -> None:
        checkpoint, trial.config, trial.experiment_tag = restart
        if checkpoint is not None:
            self.checkpoints[trial.trial_id] = trial.last_result = checkpoint

    def _move(self, trial: Trial, status: str) -> None:
        before, after = trial.status, status
        assert (before, after) in LEGAL, f"{trial}: {before} -> {after}"
        places = {Trial.PENDING: self.pending, Trial.PAUSED: self.paused, Trial.RUNNING: self.running}
        del places[before][trial.trial_id]
        trial.status = status
        if status in places:
            places[status][trial.trial_id] = trial
        else:
            self._restarts.pop(trial.trial_id, None)


LEGAL = {
    (Trial.PENDING, Trial.RUNNING), (Trial.PENDING, Trial.PAUSED), (Trial.PENDING, Trial.TERMINATED),
    (Trial.PAUSED, Trial.RUNNING), (Trial.PAUSED, Trial.PENDING), (Trial.PAUSED, Trial.TERMINATED),
    (Trial.RUNNING, Trial.PENDING), (Trial.RUNNING, Trial.PAUSED), (Trial.RUNNING, Trial.TERMINATED),
    (Trial.RUNNING, Trial.ERROR),
}  # fmt: skip


def drive(
    controller: FakeController,
    configs: Mapping[str, dict[str, Any]],
    result_of: Callable[[Trial, int], dict[str, Any]],
    seconds_of: Callable[[Trial, int], float],
    until: Callable[[Trial, dict[str, Any]], bool],
) -> int:
    """Run all trials to their end in virtual time. Returns how many steps were made.

    ``result_of(trial, step)`` and ``seconds_of(trial, step)`` say what a step (from 1) brings and lasts.
    """
    for trial_id, config in configs.items():
        controller.add(trial_id, config)
    clock: list[tuple[float, int, str, int]] = []
    count = 0

    def start_next_step(trial_id: str) -> None:
        nonlocal count
        trial = controller.trials[trial_id]
        step = trial.last_result.get("training_iteration", 0) + 1
        count += 1
        heapq.heappush(clock, (controller.now + seconds_of(trial, step), count, trial_id, step))

    for trial_id in controller.fill():
        start_next_step(trial_id)
    while clock:
        controller.now, _, trial_id, step = heapq.heappop(clock)
        trial = controller.running[trial_id]
        result = {**result_of(trial, step), "training_iteration": step}
        if until(trial, result):
            trial.last_result = result
            controller.complete(trial_id)
        else:
            controller.report(trial_id, **result)
        if trial_id in controller.running:
            start_next_step(trial_id)
        for started in controller.fill():
            start_next_step(started)
    assert not controller.pending and not controller.paused, f"left waiting: {controller.get_live_trials()}"
    return count
