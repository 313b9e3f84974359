"""Decides what an experiment does next. No I/O, no threads, no clock, no randomness: events in, commands out.

```
 loop ── handle(event) ──► Brain ──► commands (start, step, save, release, suggest, tell, ...)
                             │ on_trial_*, choose_trial_to_run
                             ▼
                         scheduler ── pause_trial, stop_trial, exploit, ... ──► Brain (it is the TrialController)

 trial:  PENDING ──start──► RUNNING ──► TERMINATED            run of a RUNNING trial:  STARTING ─► STEPPING ⇄ SAVING
            ▲  ▲              │  │                                                        ▲            │
            │  └──unpause── PAUSED └─► ERROR (or PENDING again, while it may fail)         └─ restart ─ WAITING
```

What it guarantees

- A trial is over once: search algorithm and scheduler hear of its end exactly once, callbacks after their last result.
- The result that ends a trial is told to the search algorithm as the end only. Stopping rules come before the scheduler.
- A decision that needs a checkpoint first (pause, the end of a trial that saves at its end) waits for it.
- The latest checkpoint of a trial, and one that another trial starts from, is not deleted.
- The cost of an event does not depend on the number of trials.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.tune._execution import events as ev
from aktis.tune._execution.revival import Revival
from aktis.tune._execution.runs import Phase, Run, Then
from aktis.tune._execution.verdict import flat_result
from aktis.tune.error import TuneError
from aktis.tune.experiment.trial import Trial
from aktis.tune.schedulers.trial_scheduler import TrialScheduler

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory


class Brain(Revival):
    """The state of one run, and the controller that its scheduler acts through.

    In four layers: RunState (the moves of trials), Controller (the scheduler's side), Revival (resumed runs), and this one, which
    takes events.
    """

    def _all_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            ev.TrialAdded: self._on_added,
            ev.NoSuggestion: self._on_no_suggestion,
            ev.Started: self._on_started,
            ev.Stepped: self._on_stepped,
            ev.Saved: self._on_saved,
            ev.CallFailed: self._on_failed,
            ev.ResourcesKnown: self._on_resources,
            ev.Tick: self._on_tick,
            ev.StopTrial: self._on_stop_trial,
            ev.StopAll: self._on_stop_all,
        }

    def handle(self, event: ev.Event) -> list[ev.Command]:
        """Take an event, and say what is to be done, in this order."""
        self.now = event.now
        self._handlers[type(event)](event)
        if not self.stopping and self.verdict.all_over():
            self._end_all(Then.STOP)
        if not self.stopping:
            self._fill()
        commands, self._commands = self._commands, []
        return commands

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        if self.failure is not None:
            return True
        return not self.running and (self.stopping or (self.search_finished and not self.pending and not self.paused))

    def _on_added(self, event: ev.TrialAdded) -> None:
        if not event.trial.external:
            self._search_waits = False
            self._expected = max(0, self._expected - 1)
        self.add(event.trial)

    def add(self, trial: Trial) -> None:
        """Take over a trial: a new one, or one of an earlier run that is to go on."""
        self.trials[trial.trial_id] = trial
        if trial.is_finished():
            self.counts[trial.status] += 1
            return
        (self.paused if trial.status == Trial.PAUSED else self.pending)[trial.trial_id] = trial
        self._stuck = False
        self.scheduler.on_trial_add(self, trial)

    def _on_no_suggestion(self, event: ev.NoSuggestion) -> None:
        self._search_waits = True
        self._expected = 0
        self.search_finished = self.search_finished or event.finished

    def _on_resources(self, event: ev.ResourcesKnown) -> None:
        self.account.set_total(event.total)
        self._stuck = False

    def _on_tick(self, event: ev.Tick) -> None:
        self._search_waits = False

    def _on_started(self, event: ev.Started) -> None:
        run = self._run_in(event.trial_id, Phase.STARTING)
        if run is None:
            return
        if event.needs_new_actor:
            run.phase = Phase.STARTING
            self._commands.append(ev.ReleaseActor(run.slot))
            run.slot = self._new_slot()
            self._commands.append(ev.StartTrial(run.trial, run.slot, True, run.checkpoint))
            return
        trial = run.trial
        trial.pid, trial.node_ip = event.pid, event.node_ip
        if run.checkpoint is not None:
            self._delete(self.keeper.unpin(run.checkpoint))
        self._tell("on_trial_start", trial)
        if run.checkpoint is not None:
            self._tell("on_trial_restore", trial)
        self._proceed(run)

    def _on_stepped(self, event: ev.Stepped) -> None:
        run = self._run_in(event.trial_id, Phase.STEPPING)
        if run is None:
            return
        for step in event.steps:
            self._take_result(run, step)
            if run.then is not Then.GO_ON or run.restart is not None or self.failure is not None:
                break
        if self.failure is None:
            self._save_or_proceed(run)

    def _on_saved(self, event: ev.Saved) -> None:
        run = self._run_in(event.trial_id, Phase.SAVING)
        if run is None:
            return
        run.save_asked = False
        run.saved = True
        if event.checkpoint is not None:
            self._keep(run.trial, event.checkpoint, run.trial.last_result)
            self._tell_saved(run.trial)
        self._proceed(run)
        self._wake_waiting(event.trial_id)

    def _on_failed(self, event: ev.CallFailed) -> None:
        run = self._runs.get(event.trial_id)
        if run is not None:
            self._fail(run, event.error)

    def _on_stop_trial(self, event: ev.StopTrial) -> None:
        trial = self.trials.get(event.trial_id)
        if trial is not None:
            self.stop_trial(trial)

    def _on_stop_all(self, event: ev.StopAll) -> None:
        self._end_all(Then.SUSPEND)

    def _run_in(self, trial_id: str, phase: Phase) -> Run | None:
        """The trial's run, if it is in that phase, which is now over. What comes late, for a run that has ended, is nothing."""
        run = self._runs.get(trial_id)
        if run is None or run.phase is not phase:
            return None
        run.phase = Phase.DECIDING
        return run

    def _take_result(self, run: Run, step: ev.Step) -> None:
        trial, metrics = run.trial, step.metrics
        run.saved = False
        if step.duplicate:
            # The function returned. Listeners have this result already, scheduler and search algorithm not yet the end.
            if step.checkpoint is not None:
                self._keep(trial, step.checkpoint, trial.last_result)
                self._tell_saved(trial)
            if not trial.last_result:  # it never reported
                trial.last_result = metrics
            trial.last_result["done"] = True
            self._tell_complete(run, flat_result(trial.last_result))
            run.then = Then.STOP
            return
        flat = flat_result(metrics)
        problem = self.verdict.missing_metric(trial, flat)
        if problem is not None:
            self._abort(problem)
            return
        trial.record(metrics, self.now)
        if step.checkpoint is not None:  # before the scheduler is asked: it may let others start from it
            run.saved = True
            self._keep(trial, step.checkpoint, metrics)
        try:
            over = self.verdict.is_over(trial, metrics, flat)
        except TuneError as error:
            self._abort(error)
            return
        if over:
            run.then = Then.STOP
        else:
            self._ask_scheduler(run, flat)
        if run.then is Then.STOP:
            metrics["done"] = flat["done"] = True
            self._tell_complete(run, flat)
        if trial.can_save and not run.saved and self.verdict.wants_checkpoint(trial, metrics):
            run.save_asked = True
        metrics["config"] = trial.config
        self._commands.append(ev.TellCallbacks("on_trial_result", trial, metrics))
        if step.checkpoint is not None:
            self._tell_saved(trial)

    def _ask_scheduler(self, run: Run, flat: dict[str, Any]) -> None:
        self._deciding = run
        decision = self.scheduler.on_trial_result(self, run.trial, flat)
        self._deciding = None
        if decision == TrialScheduler.STOP or run.then is Then.STOP:
            run.then = Then.STOP
            return
        if decision == TrialScheduler.PAUSE and run.then is Then.GO_ON:
            run.then = Then.PAUSE
        elif decision not in (TrialScheduler.CONTINUE, TrialScheduler.PAUSE, TrialScheduler.NOOP):
            self._abort(
                TuneError(
                    f"{type(self.scheduler).__name__}.on_trial_result returned {decision!r}; it must be one of "
                    "CONTINUE, PAUSE, STOP and NOOP of TrialScheduler"
                )
            )
        self._commands.append(ev.TellSearch("result", run.trial.trial_id, flat))

    def _keep(self, trial: Trial, path: str, metrics: dict[str, Any]) -> None:
        try:
            run = self._runs.get(trial.trial_id)
            exploiting = run is not None and run.restart is not None and run.restart.donor is not None
            self._delete(self.keeper.register(trial, path, metrics, exploiting=exploiting))
        except ValueError as error:  # the score is no number
            self._abort(error)

    def _tell_saved(self, trial: Trial) -> None:
        self._tell("on_checkpoint", trial)
        self._tell("on_trial_save", trial)

    def _fail(self, run: Run, error: BaseException) -> None:
        trial = run.trial
        trial.num_failures += 1
        trial.error = error
        restoring = run.phase is Phase.STARTING and run.checkpoint is not None
        self._leave(run, broken=True)
        self._commands.append(ev.WriteError(trial, error))
        self.scheduler.on_trial_error(self, trial)
        if restoring and trial.num_restores < self.settings.restore_retries:
            trial.num_restores += 1
            trial.num_failures -= 1
        if run.then is not Then.STOP and (trial.max_failures < 0 or trial.num_failures <= trial.max_failures):
            trial.status = Trial.PENDING
            if run.restart is not None:
                self._restarts[trial.trial_id] = run.restart
            self.pending[trial.trial_id] = trial  # at the end of the queue
            self.scheduler.on_trial_add(self, trial)
            self._wake_waiting(trial.trial_id)
            return
        self._end(trial, Trial.ERROR)
        if not run.told_complete:  # without the last result: searchers learn from what they are given
            self._commands.append(ev.TellSearch("complete", trial.trial_id, None, error=True))
        if run.phase is Phase.STARTING:
            self._tell("on_trial_start", trial)  # no listener hears of the end of what it never heard begin
        self._tell("on_trial_error", trial)
        self._wake_waiting(trial.trial_id)
        if self.settings.fail_fast == "raise":
            self._abort(error)
        elif self.settings.fail_fast:
            self._end_all(Then.STOP)

    def _end_all(self, then: Then) -> None:
        """End the run. STOP: trials count as completed; SUSPEND: they can be resumed."""
        self.stopping = True
        for slots in self._idle.values():
            self._commands += [ev.ReleaseActor(slot) for slot in slots]
        for factory, slots in self._idle.items():
            for _ in slots:
                self.account.release(factory)
        self._idle.clear()
        for run in list(self._runs.values()):
            if then is Then.STOP:
                self.stop_trial(run.trial)
                continue
            if run.then is Then.STOP:  # it is over, and only its last checkpoint is awaited
                continue
            run.then = then
            if run.phase in (Phase.WAITING, Phase.STARTING) or not run.trial.can_save:
                self._proceed(run)  # nothing to wait for: a function's checkpoints are those that it reported
        if then is Then.STOP:
            for trial in [*self.pending.values(), *self.paused.values()]:
                self.stop_trial(trial)

    def _fill(self) -> None:
        """Start what the scheduler chooses, and see to it that there is something to choose from."""
        while not self._stuck and (self.pending or self.paused):
            self._refused = self._granted = False
            trial = self.scheduler.choose_trial_to_run(self)
            if trial is None or trial.trial_id in self._runs or trial.is_finished():
                # Asked again when something changed, if all that kept it was a lack of resources.
                self._stuck = self._refused and not self._granted
                break
            if not self._make_room(trial.placement_group_factory):
                break
            self.pending.pop(trial.trial_id, None)
            self.paused.pop(trial.trial_id, None)
            self._start(trial, self._restarts.pop(trial.trial_id, None))
        more = self._want_trials()
        if not self._runs and not more and (self.pending or self.paused):
            self._explain_standstill()
        if self._idle and self.search_finished and not self.pending and not self.paused:
            self._stop_idle()

    def _want_trials(self) -> bool:
        """Ask for trials if there is room for them. Returns whether any may still come before something else happens."""
        if self.search_finished:
            return False
        count = self._room()
        if count > 0 and not self._search_waits:
            self._expected += count
            self._commands.append(ev.Suggest(count))
        return count > 0 or self._expected > 0

    def _explain_standstill(self) -> None:
        """Nothing runs, although trials wait. When nothing can change that, say why instead of waiting for ever."""
        if self.settings.may_grow or not self.account.total:
            return
        for trial in self.pending.values():
            lacking = self.account.lacking(trial.placement_group_factory)
            if not lacking:
                break
            has = {name: self.account.amounts().get(name, 0.0) for name in lacking}
            self._abort(
                TuneError(
                    f"trial {trial} needs {trial.placement_group_factory.required_resources}, but the session has only "
                    f"{has} in all: ask for less (tune.with_resources, or the ScalingConfig of a trainer) or give aktis.init() more"
                )
            )
            return
        waiting = [str(trial) for trial in [*self.pending.values(), *self.paused.values()]]
        self._abort(
            TuneError(
                f"{type(self.scheduler).__name__}.choose_trial_to_run chooses none of the trials that wait "
                f"({', '.join(waiting[:5])}{' ...' if len(waiting) > 5 else ''}), nothing runs, and no trial will be "
                "added: the run cannot go on"
            )
        )

    def _make_room(self, factory: PlacementGroupFactory) -> bool:
        """See to it that the resources are free; idle actors that hold others give way."""
        if self.settings.reuse_actors and self._idle.get(factory):
            return True
        while not self.account.fits(factory):
            if not self._idle:
                return False
            self._stop_idle(1)
        return True

    def validate(self) -> None:
        """Raise AssertionError if the state contradicts itself."""
        groups = (self.pending, self.paused, self.running)
        ids = [trial_id for group in groups for trial_id in group]
        assert len(ids) == len(set(ids)), f"a trial is in two places: {ids}"
        states = (Trial.PENDING, Trial.PAUSED, Trial.RUNNING)
        for group, state in zip(groups, states):
            assert all(trial.status == state for trial in group.values()), (state, group)
        assert set(self.running) == set(self._runs)
        finished = sum(self.counts.values())
        assert len(ids) + finished == len(self.trials), (len(ids), self.counts, len(self.trials))
        held: dict[str, int] = {}
        for run in self._runs.values():
            self.account.add_to(held, run.resources)
        for factory, slots in self._idle.items():
            assert slots
            for _ in slots:
                self.account.add_to(held, factory)
        assert {n: a for n, a in held.items() if a} == {n: a for n, a in self.account._held.items() if a}
        waiting = [trial_id for trials in self._waiting.values() for trial_id in trials]
        assert all(self._runs[trial_id].phase is Phase.WAITING for trial_id in waiting), waiting
