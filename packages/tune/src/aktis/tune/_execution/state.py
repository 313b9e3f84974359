"""The state of a run, and the moves that a trial can make in it. Pure; see :mod:`aktis.tune._execution.brain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from aktis.tune._execution import events as ev
from aktis.tune._execution.checkpoints import CheckpointKeeper, StartPoint
from aktis.tune._execution.resources import ResourceAccount
from aktis.tune._execution.runs import Phase, Restart, Run, Then
from aktis.tune._execution.verdict import Verdict
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune._execution.settings import BrainSettings
    from aktis.tune.schedulers.trial_scheduler import TrialController, TrialScheduler


class RunState:
    """Trials, who of them runs on which actor, and what is to be done."""

    def __init__(self, scheduler: TrialScheduler, settings: BrainSettings) -> None:
        self.scheduler = scheduler
        self.settings = settings
        self.now = 0.0
        self.trials: dict[str, Trial] = {}
        self.pending: dict[str, Trial] = {}
        self.paused: dict[str, Trial] = {}
        self.running: dict[str, Trial] = {}
        self.failure: BaseException | None = None  # why the run was aborted
        self.stopping = False  # no new trials: the run is ending
        self.search_finished = False
        self.keeper = CheckpointKeeper()
        self.verdict = Verdict(settings)
        self.account = ResourceAccount()
        self.counts = {"TERMINATED": 0, "ERROR": 0}
        self._runs: dict[str, Run] = {}
        self._idle: dict[PlacementGroupFactory, list[int]] = {}  # actors without a trial, by what they hold
        self._waiting: dict[str, list[str]] = {}  # trials that wait for a donor's checkpoint, by the donor's id
        self._promised: dict[
            str, list[str]
        ] = {}  # trials that get the checkpoint that a donor is making, by the donor's id
        self._restarts: dict[str, Restart] = {}  # of trials without an actor: how they will start
        self._commands: list[ev.Command] = []
        self._next_slot = 0
        self._search_waits = False  # it had nothing when it was asked last
        self._expected = 0  # suggestions that were asked for and have not come
        self._stuck = False  # nothing could start, and nothing has changed since
        self._refused = self._granted = False
        self._deciding: Run | None = None  # whose result the scheduler is looking at
        self._handlers: dict[type, Callable[[Any], None]] = self._all_handlers()

    def _all_handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is called for each kind of event: the uppermost layer's business."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_handlers"]
        assert not self._commands
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._handlers = self._all_handlers()

    def _save_or_proceed(self, run: Run) -> None:
        needed = run.save_asked
        if run.then in (Then.PAUSE, Then.SUSPEND) or (run.restart is not None and run.restart.donor is None):
            needed = True
        elif run.then is Then.STOP and run.trial.checkpoint_config is not None:
            needed = needed or bool(run.trial.checkpoint_config.checkpoint_at_end)
        if needed and run.trial.can_save and not run.saved:
            run.phase = Phase.SAVING
            self._commands.append(ev.SaveTrial(run.trial))
        else:
            run.save_asked = False
            self._proceed(run)
            self._wake_waiting(run.trial.trial_id)

    def _proceed(self, run: Run) -> None:
        """The step, or the checkpoint, is done: do what was decided."""
        trial = run.trial
        if run.then is Then.STOP:
            self._finish(run)
        elif run.then is Then.PAUSE:
            self._leave(run)
            trial.status = Trial.PAUSED
            self.paused[trial.trial_id] = trial
            self._search_waits = False
            self._commands.append(ev.TellSearch("pause", trial.trial_id))
            if run.restart is not None:
                self._restarts[trial.trial_id] = run.restart
        elif run.then is Then.SUSPEND:
            self._leave(run)
            trial.status = Trial.PENDING
            self.pending[trial.trial_id] = trial
            if run.restart is not None:
                self._restarts[trial.trial_id] = run.restart
        elif run.restart is not None:
            self._restart(run)
        else:
            run.phase = Phase.STEPPING
            self._commands.append(ev.StepTrial(trial))

    def _restart(self, run: Run) -> None:
        """Start a running trial again, on its actor if it may keep it."""
        trial, restart = run.trial, run.restart
        assert restart is not None
        donor = self._runs.get(restart.donor.trial_id) if restart.donor is not None else None
        if donor is not None and donor is not run and self._save_is_coming(donor):
            run.phase = Phase.WAITING
            run.waits_for = donor.trial.trial_id
            self._waiting.setdefault(run.waits_for, []).append(trial.trial_id)
            return
        run.restart = None
        self._leave(run)
        trial.status = Trial.PENDING
        if restart.resources is None and (
            self.settings.reuse_actors or self.account.fits(trial.placement_group_factory)
        ):
            self._start(trial, restart)
        else:
            self._restarts[trial.trial_id] = restart
            self.pending[trial.trial_id] = trial

    def _save_is_coming(self, donor: Run) -> bool:
        return donor.phase is Phase.SAVING or (donor.save_asked and donor is self._deciding)

    def _wake_waiting(self, donor_id: str) -> None:
        """Trials that waited for the donor's checkpoint go on (or with an earlier one, if it came to nothing)."""
        self._keep_promises(donor_id)
        for trial_id in self._waiting.pop(donor_id, ()):
            run = self._runs[trial_id]
            run.phase = Phase.DECIDING
            self._proceed(run)

    def _keep_promises(self, donor_id: str) -> None:
        """The donor's checkpoint is there: those that take it over have it from now on, whatever the donor does next."""
        for trial_id in self._promised.pop(donor_id, ()):
            run = self._runs.get(trial_id)
            restart = run.restart if run is not None else self._restarts.get(trial_id)
            if restart is not None and restart.donor is not None and restart.donor.trial_id == donor_id:
                self._delete(self.keeper.borrow(self.trials[trial_id], restart.donor))

    def _finish(self, run: Run) -> None:
        """The trial ended well."""
        trial = run.trial
        self._leave(run, completed=True)
        self._end(trial, Trial.TERMINATED)
        self._tell("on_trial_complete", trial)
        self._wake_waiting(trial.trial_id)

    def _end(self, trial: Trial, status: str) -> None:
        trial.status = status
        self.counts[status] += 1
        self._restarts.pop(trial.trial_id, None)
        self._search_waits = False
        self._delete(self.keeper.forget(trial))
        self._commands.append(ev.TrialEnded(trial))

    def _leave(self, run: Run, completed: bool = False, broken: bool = False) -> None:
        """Take the actor from the trial: it serves the next one, or is stopped."""
        trial = run.trial
        del self._runs[trial.trial_id]
        del self.running[trial.trial_id]
        self._stuck = False
        if run.phase is Phase.WAITING and run.waits_for in self._waiting:
            self._waiting[run.waits_for].remove(trial.trial_id)
        if run.checkpoint is not None and run.phase is Phase.STARTING:
            self._delete(self.keeper.unpin(run.checkpoint))
        reusable = self.settings.reuse_actors and not broken and not trial.export_formats
        if reusable and run.phase is not Phase.STEPPING and not self.stopping:
            self._idle.setdefault(run.resources, []).append(run.slot)  # keeps holding its resources
        else:
            self.account.release(run.resources)
            self._commands.append(ev.ReleaseActor(run.slot, trial, completed))

    def _start(self, trial: Trial, restart: Restart | None = None) -> None:
        """Give the trial an actor. The resources are there."""
        if restart is not None:
            self._apply(trial, restart)
        factory = trial.placement_group_factory
        slots = self._idle.get(factory)
        if slots:
            slot, new = slots.pop(), False
            if not slots:
                del self._idle[factory]
        else:
            slot, new = self._new_slot(), True
            self.account.hold(factory)
        checkpoint = self.keeper.starting_point(trial)
        if checkpoint is not None:
            self.keeper.pin(checkpoint)
        trial.status = Trial.RUNNING
        if trial.start_time is None:
            trial.start_time = self.now
        self.running[trial.trial_id] = trial
        self._runs[trial.trial_id] = Run(trial, slot, factory, checkpoint=checkpoint)
        self._commands.append(ev.StartTrial(trial, slot, new, checkpoint))

    def _room(self) -> int:
        """How many more trials there is room for, beside those that were asked for."""
        count = self.settings.max_pending - len(self.pending) - self._expected
        if self.settings.max_concurrent:
            live = len(self.pending) + len(self.running) + len(self.paused) + self._expected
            count = min(count, self.settings.max_concurrent - live)
        return count

    def _apply(self, trial: Trial, restart: Restart) -> None:
        if restart.config is not None:
            trial.config = restart.config
        if restart.experiment_tag is not None:
            trial.experiment_tag = restart.experiment_tag
        if restart.resources is not None:
            trial.placement_group_factory = restart.resources

    def _new_slot(self) -> int:
        self._next_slot += 1
        return self._next_slot

    def _delete(self, checkpoints: list[StartPoint]) -> None:
        self._commands += [ev.DeleteCheckpoint(checkpoint) for checkpoint in checkpoints]

    def _tell(self, hook: str, trial: Trial) -> None:
        self._commands.append(ev.TellCallbacks(hook, trial))

    def _controller(self) -> TrialController:
        """This, as what the scheduler acts through: the next layer is one."""
        return cast("TrialController", self)

    def _tell_complete(self, run: Run, result: dict[str, Any]) -> None:
        """Scheduler and search algorithm hear, once, that the trial ended well."""
        if run.told_complete:
            return
        run.told_complete = True
        self.scheduler.on_trial_complete(self._controller(), run.trial, result)
        self._commands.append(ev.TellSearch("complete", run.trial.trial_id, result))

    def _abort(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            self._commands.append(ev.Abort(error))
        self.stopping = True

    def _stop_idle(self, most: int | None = None) -> None:
        while self._idle and most != 0:
            factory = next(iter(self._idle))
            slots = self._idle[factory]
            self._commands.append(ev.ReleaseActor(slots.pop()))
            self.account.release(factory)
            if not slots:
                del self._idle[factory]
            most = None if most is None else most - 1
