"""The trials of an experiment as its journal has them, for those who only look: no brain, no trainable, nothing unpickled.

A state file is written now and then, the journal at once: after a kill, and while a run goes on, only the journal has all.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from aktis.tune._execution import codec, records
from aktis.tune._execution.journal import Journal
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.metric_analysis import MetricAnalysis
from aktis.tune.experiment.trial import Trial

__all__ = ["last_event_time", "read_trials"]


def last_event_time(directory: str) -> float | None:
    """When the last thing happened, in seconds since 1970; None when there is no journal that can be read."""
    try:
        journal = Journal.open(directory, read_only=True)
    except (ExperimentDirectoryError, sqlite3.Error):
        return None
    try:
        return journal.last_time()
    except sqlite3.Error:
        return None
    finally:
        journal.close()


def read_trials(directory: str) -> list[Trial]:
    """All trials, in the order in which they were made.

    Raises:
        ExperimentDirectoryError: there is no journal, or it cannot be read.
    """
    journal = Journal.open(directory, read_only=True)
    try:
        return _project(journal, directory)
    except sqlite3.Error as error:
        raise ExperimentDirectoryError(f"{journal.path} cannot be read: {error}") from error
    finally:
        journal.close()


def _project(journal: Journal, directory: str) -> list[Trial]:
    seq, _, rows = journal.snapshot()
    trials: dict[str, Trial] = {}
    for text in rows:
        row = codec.loads_without_pickles(text)
        trials[row["trial_id"]] = _from_row(row, directory)
    for record in journal.events(after=seq):
        if record.kind == records.ADDED:
            row = codec.loads_without_pickles(record.data or "{}")
            trials[row["trial_id"]] = _from_row(row, directory)
        elif record.trial_id in trials:
            _apply(trials[record.trial_id], record)
    return list(trials.values())


def _from_row(row: dict[str, Any], directory: str) -> Trial:
    trial = Trial(
        row.get("trainable") or row["experiment"],
        trial_id=row["trial_id"],
        config=row["config"],
        evaluated_params=row["evaluated_params"],
        experiment_tag=row["experiment_tag"],
        experiment_name=row["experiment"],
        experiment_dir=os.path.abspath(directory),
    )
    trial.relative_logdir = row["relative_logdir"]
    trial.custom_name, trial.custom_dirname = row["custom_name"], row["custom_dirname"]
    if "status" in row:
        trial.status = row["status"]
        trial.last_result = row["last_result"]
        trial.metric_analysis = MetricAnalysis.from_state(row["metric_analysis"])
        trial.num_failures = row["num_failures"]
        trial.start_time, trial.pid, trial.node_ip = row["start_time"], row["pid"], row["node_ip"]
        if row["error"] is not None:
            trial.error = _stored_error(trial)
    if trial.last_result:
        trial.last_result["config"] = trial.config
    return trial


def _apply(trial: Trial, record: Any) -> None:
    """What one event means for a trial that is only looked at."""
    if record.kind == records.STEPPED:
        for metrics, _, duplicate in codec.loads_without_pickles(record.data):
            if not duplicate:
                trial.record({**metrics, "config": trial.config}, record.time)
        trial.status = Trial.RUNNING
    elif record.kind == records.STARTED:
        trial.status = Trial.RUNNING
        trial.start_time = trial.start_time or record.time
        trial.pid, trial.node_ip = codec.loads_without_pickles(record.data)[:2]
    elif record.kind == records.FAILED:
        trial.num_failures += 1
        trial.status = Trial.PENDING
        trial.error = _stored_error(trial)
    elif record.kind == records.ENDED:
        trial.status = record.data
        if trial.status == Trial.TERMINATED and trial.last_result:
            trial.last_result["done"] = True


def _stored_error(trial: Trial) -> BaseException:
    from aktis.tune.analysis.state_format import StoredTrialError

    return StoredTrialError(trial.trial_id, os.path.join(trial.logdir, "error.txt"))
