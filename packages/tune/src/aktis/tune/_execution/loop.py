"""Runs an experiment: the shell around the brain.

```
 turn:  wait for actors ─► events ─► brain ─► journal.commit() ─► commands ─► actors, search algorithm, callbacks, files
                             ▲                                                    │
                             └──────────────── new trials, failed starts ◄────────┘
```

One thread runs all of it. What a callback raises ends the run, with the actors stopped and the journal closed.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from aktis.tune import _settings
from aktis.tune._execution import events as ev
from aktis.tune._execution import records
from aktis.tune._execution.actors import START, STEP, TrialActors
from aktis.tune._execution.interrupts import WAIT_S, Interrupts
from aktis.tune.error import TuneError
from aktis.tune.trainable._checkpoint_files import discard_leftovers

if TYPE_CHECKING:
    from aktis.air.callbacks import CallbackList
    from aktis.tune._execution.actors import Answer
    from aktis.tune._execution.brain import Brain
    from aktis.tune._execution.checkpoints import StartPoint
    from aktis.tune._execution.journal import Journal
    from aktis.tune._execution.snapshots import Snapshots
    from aktis.tune._execution.suggestions import Suggestions
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.trainable.messages import StepResult

logger = logging.getLogger(__name__)

IDLE_WARNING_S = 60.0  # how long nothing may happen before we say what is waited for
TICK_S = 0.5  # how often the brain hears of time when nothing else happens


class TrialRunner:
    """One run of one or several experiments.

    Args:
        brain: What decides.
        suggestions: Where trials come from.
        actors: Where they run.
        journal: What remembers.
        snapshots: What writes snapshots and views.
        callbacks: Who listens.
        experiments: By name.
        chdir: Whether trials run with their directory as the working directory.
        log_errors: Whether errors of trials are logged, beside being written to their files.
    """

    def __init__(
        self,
        *,
        brain: Brain,
        suggestions: Suggestions,
        actors: TrialActors,
        journal: Journal,
        snapshots: Snapshots,
        callbacks: CallbackList,
        experiments: Mapping[str, Experiment],
        chdir: bool = True,
        log_errors: bool = True,
    ) -> None:
        self.brain = brain
        self.suggestions = suggestions
        self.actors = actors
        self.journal = journal
        self.snapshots = snapshots
        self.callbacks = callbacks
        self.experiments = experiments
        self.chdir = chdir
        self.log_errors = log_errors
        self.interrupted = False
        self.iteration = 0
        self._trials: list[Trial] = list(brain.trials.values())  # what callbacks see
        self._slots: dict[str, int] = {}  # of running trials
        self._on_used_actor: set[str] = set()  # trials that were sent to an actor that had served others
        self._queue: list[ev.Event] = []
        self.interrupts: Interrupts | None = None
        self.delete_directory: Callable[[str], None] = _delete_directory  # of a checkpoint that is not kept
        self._requests: list[tuple[ev.Event, Future[None]]] = []  # from other threads: see request()
        self._request_lock = threading.Lock()
        self._over = False
        self._last_progress = time.monotonic()
        self._last_tick = 0.0
        self._buffered = brain.scheduler.supports_buffered_results
        self._execute: dict[type, Callable[[Any], None]] = {
            ev.Suggest: self._suggest,
            ev.StartTrial: self._start,
            ev.StepTrial: self._step,
            ev.SaveTrial: self._save,
            ev.ReleaseActor: self._release,
            ev.DeleteCheckpoint: self._delete,
            ev.TellSearch: self.suggestions.tell,
            ev.TellCallbacks: self._tell_callbacks,
            ev.TrialEnded: self._note_end,
            ev.WriteError: self._write_error,
            ev.Abort: lambda command: None,
        }
        self._urgent = frozenset({ev.StepTrial, ev.SaveTrial})

    # -- the run ----------------------------------------------------------------------------------

    def run(self, interrupts: Interrupts) -> None:
        """Run until nothing is left to do. Raises what aborted the run."""
        self.interrupts = interrupts
        try:
            self._run(interrupts)
        except BaseException as error:
            self._end_actors(interrupts, hurry=True)
            # The brain and those that listen to it may disagree now: only the journal is right.
            self._keep_state(lambda: self.snapshots.write_views(self.brain, self.suggestions, final=False))
            if isinstance(error, Exception):
                self._say_goodbye()
            raise
        self._end_actors(interrupts)
        self._keep_state(lambda: self.snapshots.write(self.brain, self.suggestions, self.callbacks, final=True))
        self.callbacks.call_all("on_experiment_end", trials=self._trials)
        if self.brain.failure is not None:
            raise self.brain.failure

    def _end_actors(self, interrupts: Interrupts, hurry: bool = False) -> None:
        self._refuse_requests()
        self.actors.close(at_once=interrupts.count > 1 or self.brain.failure is not None, hurry=hurry)

    def _keep_state(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:
            logger.error(
                "the state at the end of the run could not be written to %s (%s: %s). What happened is in the journal, so that the "
                "run can be resumed", self.snapshots.path, type(error).__name__, error,
            )  # fmt: skip

    def _say_goodbye(self) -> None:
        """After an error, callbacks still close what they have opened."""
        try:
            self.callbacks.call_all("on_experiment_end", trials=self._trials)
        except Exception as error:
            logger.error("a callback raised at the end of a run that had failed before", exc_info=error)

    def _run(self, interrupts: Interrupts) -> None:
        import aktis

        resources = aktis.cluster_resources()
        self._process([ev.ResourcesKnown(time.time(), resources)])
        while not self.brain.finished:
            self._turn(interrupts)

    def _turn(self, interrupts: Interrupts) -> None:
        self.iteration += 1
        self.callbacks.call("on_step_begin", iteration=self.iteration, trials=self._trials)
        answers = self.actors.wait(WAIT_S)
        _raise_if_session_died(answers)
        now = time.time()
        events: list[ev.Event] = [self._event(answer, now) for answer in answers]
        if interrupts.count and not self.interrupted:
            self.interrupted = True
            events.append(ev.StopAll(now))
        requests: list[tuple[ev.Event, Future[None]]] = []
        if self._requests:
            with self._request_lock:
                requests, self._requests = self._requests, []
            events += [event for event, _ in requests]
            self._trials += [event.trial for event, _ in requests if isinstance(event, ev.TrialAdded)]
            self.interrupted = self.interrupted or any(type(event) is ev.StopAll for event in events)
        if not events:
            if not self.actors.busy:
                time.sleep(0.02)  # nothing runs: the search algorithm has nothing, or actors are ending
            if now - self._last_tick > TICK_S:
                self._last_tick = now
                events.append(ev.Tick(now))
        self._process(events)
        for _, future in requests:
            future.set_result(None)
        self.callbacks.call("on_step_end", iteration=self.iteration, trials=self._trials)
        if answers:
            self._last_progress = time.monotonic()
            self.snapshots.maybe_write(self.brain, self.suggestions, self.callbacks)
        elif time.monotonic() - self._last_progress > IDLE_WARNING_S:
            self._last_progress = time.monotonic()
            self._warn_idle()
        if interrupts.count > 1:
            raise KeyboardInterrupt

    def request(self, event: ev.Event) -> Future[None]:
        """Hand in an event from another thread. The future is done when it was dealt with; it fails when the run has ended."""
        future: Future[None] = Future()
        with self._request_lock:
            if self._over:
                future.set_exception(TuneError("the run has ended"))
            else:
                self._requests.append((event, future))
        return future

    def add(self, trial: Trial) -> Future[None]:
        """Add a trial that the search algorithm did not suggest, from another thread."""
        return self.request(ev.TrialAdded(time.time(), trial))

    def _refuse_requests(self) -> None:
        with self._request_lock:
            self._over = True
            requests, self._requests = self._requests, []
        for _, future in requests:
            future.set_exception(TuneError("the run has ended"))

    def _process(self, events: Sequence[ev.Event]) -> None:
        """Let the brain decide on events, and do what it says; what comes of that, too."""
        self._queue += events
        while self._queue:
            queue, self._queue = self._queue, []
            commands = records.decide(self.brain, self.journal, queue)
            for command in commands:  # what trials wait for goes first: they work while the others are told
                if type(command) in self._urgent:
                    self._execute[type(command)](command)
            for command in commands:
                if type(command) not in self._urgent:
                    self._execute[type(command)](command)
        self._write_records()

    def _write_records(self) -> None:
        """What the scheduler keeps a log of."""
        for path, text in self.brain.scheduler.pop_log_records():
            with open(os.path.join(self.snapshots.path, path), "a" if text else "w", encoding="utf-8") as file:
                file.write(text)

    def _event(self, answer: Answer, now: float) -> ev.Event:
        if answer.error is not None:
            if answer.what == START and self._idle_actor_was_lost(answer):
                return ev.Started(now, answer.trial_id, needs_new_actor=True)
            return ev.CallFailed(now, answer.trial_id, answer.error)
        value = answer.value
        if answer.what == STEP:
            trial = self.brain.trials[answer.trial_id]
            results = value if type(value) is list else [value]
            return ev.Stepped(now, answer.trial_id, [self._brain_step(trial, result) for result in results])
        if answer.what == START:
            return ev.Started(now, answer.trial_id, value.pid, value.node_ip, value.needs_new_actor)
        path = None if value is None else value.path
        return ev.Saved(now, answer.trial_id, self._relative(self.brain.trials[answer.trial_id], path))

    def _idle_actor_was_lost(self, answer: Answer) -> bool:
        """An actor that waited for its next trial has died meanwhile: no fault of that trial."""
        from aktis.exceptions import AktisActorError

        lost = answer.trial_id in self._on_used_actor and isinstance(answer.error, AktisActorError)
        if lost:
            logger.warning(
                "an actor died before trial %s came to it, which gets another one: %s", answer.trial_id, answer.error
            )
        return lost

    def _brain_step(self, trial: Trial, result: StepResult) -> ev.Step:
        metrics = result.metrics
        metrics["experiment_tag"] = trial.experiment_tag
        return ev.Step(metrics, self._relative(trial, result.checkpoint), result.duplicate)

    @staticmethod
    def _relative(trial: Trial, path: str | None) -> str | None:
        return None if path is None else os.path.relpath(path, trial.logdir)

    def _warn_idle(self) -> None:
        running = [str(trial) for trial in self.brain.running.values()]
        if running:
            logger.info("no result for %.0f s; running: %s", IDLE_WARNING_S, ", ".join(running[:5]))
        else:
            logger.warning(
                "nothing has run for %.0f s, and %s suggests nothing: is it waiting for a result that will never come?",
                IDLE_WARNING_S, self.suggestions,
            )  # fmt: skip

    # -- what the brain wants done ------------------------------------------------------------------

    def _suggest(self, command: ev.Suggest) -> None:
        now = time.time()
        made = 0
        for trial in self.suggestions.take(command.count):
            made += 1
            self._trials.append(trial)
            self._queue.append(ev.TrialAdded(now, trial))
        if made < command.count:
            self._queue.append(ev.NoSuggestion(now, self.suggestions.finished))

    def _start(self, command: ev.StartTrial) -> None:
        trial = command.trial
        try:
            self._on_used_actor.discard(trial.trial_id)
            if not command.new:
                self._on_used_actor.add(trial.trial_id)
            else:
                self.actors.create(command.slot, trial.experiment_name, trial.placement_group_factory)
            os.makedirs(trial.logdir, exist_ok=True)
            self._slots[trial.trial_id] = command.slot
            self.actors.start(command.slot, self._setup(command))
        except Exception as error:  # a directory that cannot be made, a configuration that cannot be pickled
            self._queue.append(ev.CallFailed(time.time(), trial.trial_id, error))

    def _setup(self, command: ev.StartTrial) -> Any:
        from aktis.tune.registry import registered
        from aktis.tune.trainable.messages import TrialSetup

        trial = command.trial
        experiment = self.experiments[trial.experiment_name]
        point = command.checkpoint
        checkpoint = self._directory(point) if point is not None else trial.restore_path
        return TrialSetup(
            trial_id=trial.trial_id,
            trial_name=str(trial),
            experiment_name=trial.experiment_name,
            config=trial.config,
            logdir=trial.logdir,
            resources=trial.placement_group_factory,
            chdir=self.chdir,
            log_to_file=experiment.log_to_file,
            checkpoint=checkpoint,
            iteration=point.iteration if point is not None else None,
            registered=registered(),
        )

    def _directory(self, point: StartPoint) -> str:
        return os.path.join(self.brain.trials[point.owner].logdir, point.path)

    def _step(self, command: ev.StepTrial) -> None:
        trial_id = command.trial.trial_id
        self.actors.step(self._slots[trial_id], trial_id, self._buffered)

    def _save(self, command: ev.SaveTrial) -> None:
        trial_id = command.trial.trial_id
        self.actors.save(self._slots[trial_id], trial_id)

    def _release(self, command: ev.ReleaseActor) -> None:
        experiment = None
        if command.trial is not None:
            experiment = command.trial.experiment_name
            self._slots.pop(command.trial.trial_id, None)
            if command.completed and command.trial.export_formats:
                self.actors.export(command.slot, command.trial.export_formats)
        self.actors.release(command.slot, experiment)

    def _delete(self, command: ev.DeleteCheckpoint) -> None:
        self.delete_directory(self._directory(command.checkpoint))

    def _tell_callbacks(self, command: ev.TellCallbacks) -> None:
        if not self.callbacks.listens(command.hook):
            return
        info: dict[str, Any] = {"trial": command.trial}
        if command.result is not None:
            info["result"] = command.result
        elif command.hook == "on_checkpoint":
            info["checkpoint"] = command.trial.checkpoint
        self.callbacks.call(command.hook, iteration=self.iteration, trials=self._trials, **info)

    def _note_end(self, command: ev.TrialEnded) -> None:
        self.snapshots.changed(command.trial)
        self._on_used_actor.discard(command.trial.trial_id)
        if command.trial.status == "ERROR":  # if it died, it may have left half of a checkpoint
            discard_leftovers(command.trial.logdir)

    def _write_error(self, command: ev.WriteError) -> None:
        """error.txt, for people, and error.pkl; and, unless that is switched off, the log."""
        trial, error = command.trial, command.error
        text = _error_text(error)
        if self.log_errors and _settings.print_errors():
            logger.error("trial %s failed:\n%s", trial, text)
        try:
            os.makedirs(trial.logdir, exist_ok=True)
            with open(os.path.join(trial.logdir, "error.txt"), "a", encoding="utf-8") as file:
                file.write(
                    f"Failure # {trial.num_failures} (occurred at {time.strftime('%Y-%m-%d_%H-%M-%S')})\n{text}\n"
                )
            import cloudpickle

            with open(os.path.join(trial.logdir, "error.pkl"), "wb") as binary:
                cloudpickle.dump(error, binary)
        except Exception as problem:
            logger.warning("the error of trial %s could not be written to %s: %s", trial, trial.logdir, problem)


def _raise_if_session_died(answers: Sequence[Answer]) -> None:
    """That is no fault of the trials: they stay as they were, and can be resumed."""
    from aktis.exceptions import LocalNodeDiedError

    for answer in answers:
        if isinstance(answer.error, LocalNodeDiedError):
            raise TuneError(
                "the session ended under the run: its node daemon died, and all trials with it. Call "
                "aktis.shutdown() and aktis.init(), and resume the run"
            ) from answer.error


def _delete_directory(path: str) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _error_text(error: BaseException) -> str:
    """What a person needs: of an error in user code the traceback over there, not ours over here."""
    import traceback

    from aktis.exceptions import AktisError, AktisTaskError

    if isinstance(error, AktisTaskError) and error.traceback_str:
        return error.traceback_str.rstrip()
    if isinstance(error, (TuneError, AktisError)):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error)).rstrip()
