"""The scheduler's side of the brain: what it may see and ask for."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from aktis.tune._execution import events as ev
from aktis.tune._execution.runs import Phase, Restart, Then
from aktis.tune._execution.state import RunState
from aktis.tune._execution.verdict import flat_result
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory


class Controller(RunState):
    """Implements :class:`aktis.tune.schedulers.TrialController`."""

    @property
    def trial_executor(self) -> Controller:
        """This: schedulers that were written for Ray ask ``trial_runner.trial_executor`` for room, or to save a trial."""
        return self

    def get_trials(self) -> Collection[Trial]:
        return self.trials.values()

    def get_live_trials(self) -> Collection[Trial]:
        return [*self.running.values(), *self.pending.values(), *self.paused.values()]

    def get_trial(self, trial_id: str) -> Trial | None:
        return self.trials.get(trial_id)

    @property
    def expects_trials(self) -> bool:
        """Whether the search algorithm may add trials before anything else happens."""
        return not self.search_finished and (self._expected > 0 or (self._room() > 0 and not self._search_waits))

    @property
    def total_resources(self) -> dict[str, float]:
        return self.account.amounts()

    def has_resources_for_trial(self, trial: Trial) -> bool:
        factory = trial.placement_group_factory
        fits = bool(self._idle.get(factory)) or self.account.fits(factory)
        if not fits and self._idle:
            spare: dict[str, int] = {}
            for held, slots in self._idle.items():
                for _ in slots:
                    self.account.add_to(spare, held)
            fits = self.account.fits(factory, spare)
        if fits:
            self._granted = True
        else:
            self._refused = True
        return fits

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        run = self._runs.get(trial.trial_id)
        if run is not None:
            if run.then is Then.GO_ON:
                run.then = Then.PAUSE
                run.saved = run.saved or not should_checkpoint
                if run.phase is Phase.WAITING:
                    self._proceed(run)
        elif trial.trial_id in self.pending:
            del self.pending[trial.trial_id]
            trial.status = Trial.PAUSED
            self.paused[trial.trial_id] = trial

    def unpause_trial(self, trial: Trial) -> None:
        run = self._runs.get(trial.trial_id)
        if run is not None and run.then is Then.PAUSE:
            run.then = Then.GO_ON  # it had not left yet
        elif self.paused.pop(trial.trial_id, None) is not None:
            trial.status = Trial.PENDING
            self.pending[trial.trial_id] = trial
            self._stuck = False
            self._commands.append(ev.TellSearch("unpause", trial.trial_id))

    def stop_trial(self, trial: Trial) -> None:
        run = self._runs.get(trial.trial_id)
        if run is not None:
            run.then = Then.STOP
            if run is self._deciding:
                return  # the rest follows when its result is dealt with
            self._tell_complete(run, flat_result(trial.last_result))
            if run.phase is not Phase.SAVING:
                self._finish(run)
        elif not trial.is_finished() and trial.trial_id in self.trials:
            self.pending.pop(trial.trial_id, None)
            self.paused.pop(trial.trial_id, None)
            self.scheduler.on_trial_remove(self, trial)
            result = flat_result(trial.last_result) if trial.last_result else None
            self._commands.append(ev.TellSearch("complete", trial.trial_id, result))
            self._end(trial, Trial.TERMINATED)
            if trial.last_result or trial.start_time is not None:
                self._tell("on_trial_complete", trial)

    def save_trial(self, trial: Trial) -> None:
        run = self._runs.get(trial.trial_id)
        if run is not None and not (run is self._deciding and run.saved):
            run.save_asked = True

    save = save_trial  # the name that Ray's executor has for it

    def exploit(self, trial: Trial, donor: Trial, config: dict[str, Any], experiment_tag: str) -> bool:
        source = self._runs.get(donor.trial_id)
        coming = source is not None and donor.can_save and self._save_is_coming(source)
        if not coming and self.keeper.starting_point(donor) is None:
            return False
        restart = Restart(config=config, experiment_tag=experiment_tag, donor=donor)
        run = self._runs.get(trial.trial_id)
        if run is None:
            if trial.is_finished():
                return False
            self._restarts[trial.trial_id] = restart
            self._apply(trial, Restart(config=config, experiment_tag=experiment_tag))
        else:
            run.restart = restart
            run.saved = True  # its own state is given up
        if coming:
            self._promised.setdefault(donor.trial_id, []).append(trial.trial_id)
        else:  # now, since the donor goes on
            self._delete(self.keeper.borrow(trial, donor))
        return True

    def update_trial_resources(self, trial: Trial, resources: PlacementGroupFactory) -> None:
        if resources == trial.placement_group_factory:
            return
        run = self._runs.get(trial.trial_id)
        if run is None:
            trial.placement_group_factory = resources
            self._stuck = False
        elif run.restart is not None:
            run.restart.resources = resources
        else:
            run.restart = Restart(resources=resources)
