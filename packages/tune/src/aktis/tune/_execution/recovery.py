"""What a resumed run begins with: the latest snapshot, and the events after it, folded by the brain that wrote them.

Events are not acted upon again: of the commands that come of them only what the search algorithm is told is carried out. A trial
that ended stays so, even if a scheduler that is not deterministic would now decide otherwise.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.tune._execution import codec, records, snapshots
from aktis.tune._execution import events as ev
from aktis.tune._execution.journal import damaged
from aktis.tune.experiment.trial import Trial
from aktis.tune.stopper import set_clock
from aktis.tune.trainable._checkpoint_files import is_complete

if TYPE_CHECKING:
    from aktis.air.callbacks import CallbackList
    from aktis.tune._execution.brain import Brain
    from aktis.tune._execution.checkpoints import StartPoint
    from aktis.tune._execution.journal import Journal
    from aktis.tune._execution.suggestions import Suggestions
    from aktis.tune.experiment.experiment import Experiment


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePlan:
    """Which trials of the earlier run go on."""

    unfinished: bool = True  # those that had not ended; else they count as terminated
    errored: bool = False  # failed ones, from their last checkpoint
    restart_errored: bool = False  # failed ones, from the beginning


def fold(
    journal: Journal,
    fresh: Brain,
    suggestions: Suggestions,
    callbacks: CallbackList,
    experiments: Mapping[str, Experiment],
) -> tuple[Brain, set[str]]:
    """The brain as it was when the last event was written. ``fresh`` is one that has seen nothing.

    Suggestions and callbacks get their states. Also returns the trials that something happened to after the snapshot:
    their logs may lack something.
    """
    journal.check()
    seq, loaded = _load_snapshot(journal, experiments)
    brain, touched = fresh, set()
    if loaded is not None:
        trials, brain, search_state, callback_states = loaded
        _use_present_code(brain.scheduler, fresh.scheduler)
        if brain.settings.stopper is not None:
            _use_present_code(brain.settings.stopper, fresh.settings.stopper)
        if brain.settings.stopper is not None:
            set_clock(brain.settings.stopper, lambda: brain.now)
        for trial in trials.values():
            if not trial.is_finished():
                suggestions.adopt(trial)
        suggestions.set_state(search_state)
        callbacks.set_states(callback_states)
    for record in journal.events(after=seq):
        if record.trial_id is not None:
            touched.add(record.trial_id)
        _replay(brain, record, suggestions, experiments, journal.path)
    return brain, touched


def _load_snapshot(journal: Journal, experiments: Mapping[str, Experiment]) -> tuple[int, Any]:
    """(the event that it follows, (trials, brain, state of the search, states of callbacks)); (0, None) without one."""
    try:
        seq, parts, rows = journal.snapshot()
        if snapshots.BRAIN not in parts:
            return 0, None
        trials = {trial.trial_id: trial for trial in (records.trial_from_row(row, experiments) for row in rows)}
        names = (snapshots.BRAIN, snapshots.SEARCH, snapshots.CALLBACKS)
        return seq, (trials, *(snapshots.loads(parts[name], trials) for name in names))
    except Exception as error:  # a class that is not there any more, another version of a library
        logger.warning(
            "the snapshot in %s cannot be read (%s: %s): all events since the beginning are gone through instead",
            journal.path, type(error).__name__, error,
        )  # fmt: skip
        return 0, None


def _use_present_code(restored: Any, present: Any) -> None:
    """A class of the user's script is pickled with its code. What the script says today counts, e.g. without the error that
    ended the run."""
    then, now = type(restored), type(present)
    # By its plain name: a class that was pickled by value has lost where it was defined in its module.
    if then is now or (then.__module__, then.__name__) != (now.__module__, now.__name__):
        return
    try:
        restored.__class__ = now
    except TypeError:  # it is laid out differently
        logger.warning("%s has changed too much since the run began: its code of then is used", now.__qualname__)


def _replay(
    brain: Brain, record: Any, suggestions: Suggestions, experiments: Mapping[str, Experiment], path: str
) -> None:
    if record.kind == records.ENDED:
        trial = brain.trials.get(record.trial_id)
        if trial is not None and trial.status != record.data:
            brain.force_end(trial, record.data)
        return
    if record.kind == records.RESUMED:
        brain.suspend_all()
        resume(brain, ResumePlan(**codec.loads(record.data)))
        return
    try:
        event = records.decode(record, experiments)
    except Exception as error:
        raise damaged(path, f"event {record.seq} is unreadable: {type(error).__name__}: {error}") from error
    if isinstance(event, ev.TrialAdded):
        suggestions.replay(event.trial)
    if isinstance(event, ev.Stepped):
        brain.expect_step(event.trial_id)
    for command in brain.handle(event):
        if isinstance(command, ev.TellSearch):
            suggestions.tell(command)


def resume(brain: Brain, plan: ResumePlan) -> None:
    """Make a brain of an earlier run ready to go on: nothing runs, and those trials wait that shall go on."""
    brain.suspend_all()
    for trial in list(brain.trials.values()):
        if trial.status == Trial.ERROR and (plan.errored or plan.restart_errored):
            brain.revive(trial, from_checkpoint=not plan.restart_errored)
        elif not trial.is_finished() and not plan.unfinished:
            brain.force_end(trial, Trial.TERMINATED)


def forget_lost_checkpoints(brain: Brain) -> None:
    """Directories may have been deleted, or half of them, since the run. Trials then start from what there is."""
    for trial in brain.trials.values():
        if trial.is_finished():
            continue
        lost = brain.keeper.forget_lost(trial, lambda point: _is_there(brain, point))
        if lost:
            left = brain.keeper.starting_point(trial)
            logger.warning(
                "%s of trial %s: lost, or not complete. The trial %s",
                ", ".join(point.path for point in lost), trial,
                "starts anew" if left is None else f"goes on from {left.path}",
            )  # fmt: skip


def _is_there(brain: Brain, point: StartPoint) -> bool:
    owner = brain.trials.get(point.owner)
    return owner is not None and is_complete(os.path.join(owner.logdir, point.path))


def move(trials: Mapping[str, Trial], path: str) -> None:
    """The experiment's directory may have been moved since."""
    for trial in trials.values():
        trial.experiment_dir = os.path.abspath(path)
