"""What a resumed run does to its state: nothing runs any more, and what the journal says is so."""

from __future__ import annotations

from aktis.tune._execution.controller import Controller
from aktis.tune._execution.runs import Phase, Then
from aktis.tune.experiment.trial import Trial


class Revival(Controller):
    """Called by :mod:`aktis.tune._execution.recovery` only."""

    def suspend_all(self) -> None:
        """Nothing runs any more, since this process is a new one: what ran waits at the head of the queue."""
        waiting = dict(self.pending)
        self.pending.clear()
        for run in list(self._runs.values()):
            trial = run.trial
            if run.restart is not None:
                self._restarts[trial.trial_id] = run.restart
            self._leave(run, broken=True)
            if run.then is Then.STOP and run.told_complete:  # only its last checkpoint was missing
                self._end(trial, Trial.TERMINATED)
                continue
            trial.status = Trial.PENDING
            self.pending[trial.trial_id] = trial
        self.pending.update(waiting)
        self._stop_idle()
        self._waiting.clear()
        for donor_id in list(self._promised):
            self._keep_promises(donor_id)
        self._commands.clear()
        self._expected = 0
        self._stuck = self._search_waits = self.stopping = False
        self.failure = None

    def expect_step(self, trial_id: str) -> None:
        """The journal says that this trial stepped next. If the scheduler now thought otherwise, it was another time."""
        trial = self.trials.get(trial_id)
        if trial is None or trial.is_finished():
            return
        run = self._runs.get(trial_id)
        if run is None:
            self.pending.pop(trial_id, None)
            self.paused.pop(trial_id, None)
            self._start(trial, self._restarts.pop(trial_id, None))
            run = self._runs[trial_id]
        if run.phase is Phase.STARTING and run.checkpoint is not None:
            self.keeper.unpin(run.checkpoint)
        run.phase, run.then, run.restart = Phase.STEPPING, Then.GO_ON, None

    def force_end(self, trial: Trial, status: str) -> None:
        """The journal says that this trial ended so."""
        run = self._runs.get(trial.trial_id)
        if run is not None:
            self._leave(run, broken=True)
        self.pending.pop(trial.trial_id, None)
        self.paused.pop(trial.trial_id, None)
        if trial.is_finished():
            self.counts[trial.status] -= 1
        self._end(trial, status)
        self._commands.clear()

    def revive(self, trial: Trial, *, from_checkpoint: bool) -> None:
        """Let a failed trial go on, or begin anew."""
        self.counts[trial.status] -= 1
        trial.status = Trial.PENDING
        trial.num_failures = 0
        trial.error = None
        if not from_checkpoint:
            trial.begin_anew()
        self.pending[trial.trial_id] = trial
        self.scheduler.on_trial_add(self, trial)
