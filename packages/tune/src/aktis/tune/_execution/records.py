"""Events and trials as they stand in the journal.

Paths are relative to the trial's directory, and that of a trial to its experiment's, so that the whole can be moved.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import add_note
from aktis.tune._execution import codec
from aktis.tune._execution import events as ev
from aktis.tune.error import TrialError
from aktis.tune.experiment.metric_analysis import MetricAnalysis
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aktis.tune._execution.brain import Brain
    from aktis.tune._execution.journal import Journal, Record
    from aktis.tune.experiment.experiment import Experiment

# What an event is called in the journal. TrialEnded is a command; it is written so that an end stays an end.
ADDED, STARTED, STEPPED, SAVED, FAILED, RESOURCES = "added", "started", "stepped", "saved", "failed", "resources"
STOP_TRIAL, STOP_ALL, ENDED, RESUMED = "stop trial", "stop all", "ended", "resumed"

BIG_CONFIGURATION = 2_000_000  # characters

logger = logging.getLogger(__name__)


def decide(brain: Brain, journal: Journal, events: Sequence[ev.Event]) -> list[ev.Command]:
    """Let the brain handle events. When this returns they are in the journal, and their commands may be carried out."""
    commands: list[ev.Command] = []
    for event in events:
        record, event = _encoded(event)  # before the brain changes what is in it
        try:
            decided = brain.handle(event)
        except BaseException as error:  # the event has not happened: a resumed run hears of the next one
            journal.commit()
            add_note(error, _while(brain, event))
            raise
        if record is not None:
            if record[0] == ADDED:
                _warn_if_big(journal, record)
            journal.append(record[0], record[1], event.now, record[2])
        for command in decided:
            if type(command) is ev.TrialEnded:
                journal.append(ENDED, command.trial.trial_id, event.now, command.trial.status)
            commands.append(command)
    journal.commit()
    return commands


def _warn_if_big(journal: Journal, record: tuple[str, str | None, str | None]) -> None:
    size = len(record[2] or "")
    if size > BIG_CONFIGURATION and not journal.told_of_big_rows:
        journal.told_of_big_rows = True
        logger.warning(
            "the configuration of trial %s takes %.0f MB, and is written several times for every trial. Give big objects "
            "beside it, where they are kept once: tune.with_parameters(trainable, data=...)", record[1], size / 1e6,
        )  # fmt: skip


def _encoded(event: ev.Event) -> tuple[tuple[str, str | None, str | None] | None, ev.Event]:
    """(record, event). A trial that reports what cannot be written has failed."""
    try:
        return encode(event), event
    except Exception as error:
        if not isinstance(event, ev.Stepped):
            raise
        problem = TrialError(
            f"the trial reported what cannot be written to the journal ({type(error).__name__}: {error}): report numbers, texts, "
            "lists and dicts",
            event.trial_id,
        )
        failed = ev.CallFailed(event.now, event.trial_id, problem)
        return encode(failed), failed


def _while(brain: Brain, event: ev.Event) -> str:
    stopper = brain.settings.stopper
    asked = [type(brain.scheduler).__name__] + ([] if stopper is None else [type(stopper).__name__])
    about = getattr(event, "trial_id", None) or getattr(getattr(event, "trial", None), "trial_id", None)
    return (
        f"raised while {' and '.join(asked)} dealt with {type(event).__name__}{f' of trial {about}' if about else ''}; the run "
        "ended before it, and can be resumed there"
    )


def encode(event: Any) -> tuple[str, str | None, str | None] | None:
    """(kind, trial, data) of an event; None when it need not be remembered."""
    if isinstance(event, ev.Stepped):
        steps = [[step.metrics, step.checkpoint, step.duplicate] for step in event.steps]
        return STEPPED, event.trial_id, codec.dumps(steps)
    if isinstance(event, ev.Started):
        return STARTED, event.trial_id, codec.dumps([event.pid, event.node_ip, event.needs_new_actor])
    if isinstance(event, ev.TrialAdded):
        return ADDED, event.trial.trial_id, new_trial(event.trial)
    if isinstance(event, ev.TrialEnded):
        return ENDED, event.trial.trial_id, event.trial.status
    if isinstance(event, ev.Saved):
        return SAVED, event.trial_id, codec.dumps(event.checkpoint)
    if isinstance(event, ev.CallFailed):
        return FAILED, event.trial_id, codec.dumps(_portable(event.error))
    if isinstance(event, ev.ResourcesKnown):
        return RESOURCES, None, codec.dumps(event.total)
    if isinstance(event, ev.StopTrial):
        return STOP_TRIAL, event.trial_id, None
    if isinstance(event, ev.StopAll):
        return STOP_ALL, None, None
    return None


def decode(record: Record, experiments: Mapping[str, Experiment]) -> Any:
    """The event that :func:`encode` was given. ENDED gives the status."""
    data: Any = codec.loads(record.data) if record.data is not None and record.kind != ENDED else record.data
    now, trial_id = record.time, record.trial_id or ""
    if record.kind == STEPPED:
        return ev.Stepped(now, trial_id, [ev.Step(*step) for step in data])
    if record.kind == STARTED:
        return ev.Started(now, trial_id, *data)
    if record.kind == ADDED:
        return ev.TrialAdded(now, trial_from(data, experiments))
    if record.kind == SAVED:
        return ev.Saved(now, trial_id, data)
    if record.kind == FAILED:
        return ev.CallFailed(now, trial_id, data)
    if record.kind == RESOURCES:
        return ev.ResourcesKnown(now, data)
    if record.kind == STOP_TRIAL:
        return ev.StopTrial(now, trial_id)
    if record.kind == STOP_ALL:
        return ev.StopAll(now)
    return data


def results_of(record: Record) -> list[dict[str, Any]]:
    """The results in a STEPPED event that listeners saw (not what only said that a function ended)."""
    return [metrics for metrics, _, duplicate in codec.loads(record.data or "[]") if not duplicate]


def _portable(error: BaseException) -> BaseException:
    """The error, or, when it cannot be pickled, one with its text."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return TrialError(f"{type(error).__name__}: {error}")


# -- trials -----------------------------------------------------------------------------------

_NEW = ("trial_id", "config", "evaluated_params", "experiment_tag", "relative_logdir", "custom_name", "custom_dirname")
_LATER = (
    "status", "last_result", "num_failures", "num_restores", "start_time", "last_update_time", "pid",
    "node_ip",
)  # fmt: skip


def new_trial(trial: Trial) -> str:
    """What is known of a trial when it is made."""
    return codec.dumps(_creation(trial))


def _creation(trial: Trial) -> dict[str, Any]:
    row = {name: getattr(trial, name) for name in _NEW}
    row["experiment"] = trial.experiment_name
    row["trainable"] = trial.trainable_name
    row["resources"] = trial.placement_group_factory
    if trial.restore_path:
        row["restore_path"] = trial.restore_path
    if trial.external:  # it may differ from the experiment in this, too
        row["external"] = {"stop": dict(trial.stopping_criterion), "max_failures": trial.max_failures}
    return row


def trial_row(trial: Trial) -> str:
    """All that is known of a trial."""
    row = _creation(trial)
    row |= {name: getattr(trial, name) for name in _LATER}
    row["last_result"] = {key: value for key, value in trial.last_result.items() if key != "config"}
    last_config = trial.last_result.get("config", trial.config)
    if last_config is not trial.config:  # it goes on with another one, and has not reported since
        row["last_config"] = last_config
    row["metric_analysis"] = trial.metric_analysis.to_state()
    row["error"] = _portable(trial.error) if trial.error is not None else None
    row["checkpoints"] = trial.checkpoints.to_state() if trial.checkpoints is not None else None
    return codec.dumps(row)


def trial_from(row: dict[str, Any], experiments: Mapping[str, Experiment]) -> Trial:
    """A trial as :func:`new_trial` wrote it."""
    experiment = experiments[row["experiment"]]
    trial = experiment.new_trial(row["trial_id"], row["config"], row["evaluated_params"], row["experiment_tag"])
    for name in _NEW[4:]:
        setattr(trial, name, row[name])
    trial.placement_group_factory = row["resources"]
    trial.restore_path = row.get("restore_path", trial.restore_path)
    if "external" in row:
        trial.external = True
        trial.stopping_criterion = row["external"]["stop"]
        trial.max_failures = row["external"]["max_failures"]
    return trial


def trial_from_row(text: str, experiments: Mapping[str, Experiment]) -> Trial:
    """A trial as :func:`trial_row` wrote it."""
    row = codec.loads(text)
    trial = trial_from(row, experiments)
    for name in _LATER:
        setattr(trial, name, row[name])
    if trial.last_result:
        trial.last_result["config"] = row.get("last_config", trial.config)
    trial.metric_analysis = MetricAnalysis.from_state(row["metric_analysis"])
    trial.error = row["error"]
    if row["checkpoints"] is not None:
        from aktis.air.retention import CheckpointManager

        trial.checkpoints = CheckpointManager.from_state(row["checkpoints"], trial.checkpoint_config, trial.logdir)
    return trial
