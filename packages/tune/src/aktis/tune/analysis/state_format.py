"""The experiment's state as a file: ``experiment_state-<time>.json``, in the form that Ray Tune 2.3 reads and writes.

::

    {"checkpoints": ["<a trial, as JSON text>", ...],    the text of a trial is made once, and again when the trial changed
     "runner_data": {...}, "stats": {"start_time": ..., "timestamp": ...},
     "aktis": {"format": 1, "version": "0.1.0"}}          ours: which form it is; Ray does not look at it

A trial has Ray's names for what Ray knows, so that Ray's ExperimentAnalysis and ``tune ls`` read our directories, and under
``"aktis"`` what only we keep. Nothing needed is pickled. The file is a view for people and tools: a run resumes from its journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aktis.tune.analysis._checkpoints import StoredCheckpoints, checkpoint_records
from aktis.tune.analysis._errors import error_line
from aktis.tune.analysis._values import decoder_hook, dump_json
from aktis.tune.error import ExperimentDirectoryError, TrialError
from aktis.tune.experiment.trial import Trial
from aktis.util.files import written_whole

__all__ = [
    "FORMAT", "ExperimentState", "StoredTrialError", "read_experiment_state", "trial_from_json", "trial_to_json",
    "write_experiment_state",
]  # fmt: skip

FORMAT = 1


class StoredTrialError(TrialError):
    """The failure of a trial that was read from a directory. The text is read from ``error.txt`` when it is looked at."""

    def __init__(self, trial_id: str, path: str, summary: str = "") -> None:
        Exception.__init__(self, trial_id, path, summary)
        self.trial_id = trial_id
        self.path = path
        self.summary = summary  # one line, when the state holds one

    @property
    def message(self) -> str:  # type: ignore[override]
        """The text of the failure: what ``error.txt`` holds, the remote traceback included."""
        try:
            return Path(self.path).read_text(encoding="utf-8", errors="replace").rstrip()
        except OSError as error:
            return self.summary or f"trial {self.trial_id} failed, and {self.path} can't be read: {error.strerror}"


@dataclass
class ExperimentState:
    """What a state file says."""

    path: Path
    trials: list[Trial]
    runner_data: dict[str, Any] = field(default_factory=dict)
    stats: dict[str, Any] = field(default_factory=dict)


# -- one trial -----------------------------------------------------------------------------------------------------


def trial_to_json(trial: Trial) -> str:
    """A trial as JSON text, for the ``checkpoints`` of a state file. Values that JSON cannot hold are pickled."""
    failed = trial.error is not None
    state = {
        "stub": False,
        "trainable_name": trial.trainable_name,
        "trial_id": trial.trial_id,
        "config": trial.config,
        "evaluated_params": trial.evaluated_params,
        "experiment_tag": trial.experiment_tag,
        "stopping_criterion": _stop_rules(trial.stopping_criterion),
        "log_to_file": [None, None],
        "max_failures": trial.max_failures,
        "_last_result": trial.last_result,
        "last_update_time": trial.last_update_time if trial.last_update_time is not None else float("-inf"),
        "metric_analysis": dict(trial.metric_analysis),
        "n_steps": [5, 10],
        "metric_n_steps": {},
        "export_formats": trial.export_formats,
        "status": trial.status,
        "start_time": trial.start_time,
        "relative_logdir": trial.relative_logdir,
        "runner": None,
        "error_filename": "error.txt" if failed else None,
        "pickled_error_filename": "error.pkl" if failed else None,
        "custom_trial_name": trial.custom_name,
        "custom_dirname": trial.custom_dirname,
        "experiment_dir_name": trial.experiment_dir_name,
        "restore_path": trial.restore_path,
        "num_failures": trial.num_failures,
        "num_restore_failures": 0,
        "aktis": {
            "format": FORMAT,
            "resources": _resources(trial.placement_group_factory),
            "error": _error_line(trial.error),
            "num_restores": trial.num_restores,
            "checkpoints": checkpoint_records(trial),
        },
    }
    return dump_json(state)


def _stop_rules(rules: Any) -> Any:
    return dict(rules) if isinstance(rules, Mapping) else {}


def _error_line(error: BaseException | None) -> str | None:
    """What went wrong, on one line."""
    if error is None:
        return None
    if isinstance(error, StoredTrialError) and error.summary:
        return error.summary
    line, name = error_line(str(error)), type(error).__name__
    if not line:
        return name
    # The text of a remote failure names the exception itself.
    return line if isinstance(error, TrialError) or "Traceback" in str(error) else f"{name}: {line}"


def _resources(factory: Any) -> dict[str, Any] | None:
    if factory is None:
        return None
    head: list[dict[str, float]] = [{}] if getattr(factory, "head_bundle_is_empty", False) else []
    return {"bundles": [*head, *factory.bundles], "strategy": factory.strategy}


def trial_from_json(text: str, experiment_dir: str | os.PathLike[str], load_pickles: bool = False) -> Trial:
    """The trial that :func:`trial_to_json`, or Ray 2.3, wrote. ``experiment_dir`` is where the directory is now.

    Raises:
        ExperimentDirectoryError: The text is no trial, or one of a newer version.
    """
    try:
        state = json.loads(text, object_hook=decoder_hook(load_pickles))
        name, trial_id = str(state["trainable_name"]), str(state["trial_id"])
    except (ValueError, TypeError, KeyError) as error:
        raise ExperimentDirectoryError(f"a trial in the state of {experiment_dir} can't be read: {error!r}") from error
    ours = _plain_dict(state.get("aktis"))
    check_format(ours, f"trial {trial_id} in {experiment_dir}")
    trial = Trial(
        name,
        trial_id=trial_id,
        config=_plain_dict(state.get("config")),
        evaluated_params=_plain_dict(state.get("evaluated_params")),
        experiment_tag=str(state.get("experiment_tag") or ""),
        experiment_dir=os.fspath(experiment_dir),
        stopping_criterion=_plain_dict(state.get("stopping_criterion")),
        max_failures=int(state.get("max_failures") or 0),
        restore_path=state.get("restore_path"),
        export_formats=list(state.get("export_formats") or ()),
    )
    trial.relative_logdir = _relative_logdir(state)
    trial.custom_name = state.get("custom_trial_name")
    trial.custom_dirname = state.get("custom_dirname")
    trial.status = str(state.get("status") or Trial.PENDING)
    trial.last_result = _plain_dict(state.get("_last_result") or state.get("last_result"))
    # Of the same form, and nothing is added to what was read.
    trial.metric_analysis = _plain_dict(state.get("metric_analysis"))  # type: ignore[assignment]
    trial.num_failures = int(state.get("num_failures") or 0)
    trial.num_restores = int(ours.get("num_restores") or 0)
    trial.start_time = state.get("start_time")
    updated = state.get("last_update_time")
    trial.last_update_time = updated if isinstance(updated, (int, float)) and updated > 0 else None
    trial.pid = trial.last_result.get("pid")
    trial.node_ip = trial.last_result.get("node_ip")
    if trial.status == Trial.ERROR or state.get("error_filename"):
        path = os.path.join(trial.logdir or trial.experiment_dir, "error.txt")
        trial.error = StoredTrialError(trial_id, path, str(ours.get("error") or ""))
    _restore_resources(trial, ours.get("resources"))
    trial.checkpoints = StoredCheckpoints(trial.logdir, ours.get("checkpoints"))  # type: ignore[assignment]
    return trial


def _relative_logdir(state: Mapping[str, Any]) -> str | None:
    relative = state.get("relative_logdir")
    if not relative and isinstance(state.get("logdir"), str):  # before Ray 2.0: an absolute path
        relative = os.path.basename(state["logdir"].rstrip("/"))
    return str(relative) if relative else None


def _restore_resources(trial: Trial, resources: Any) -> None:
    if not isinstance(resources, dict) or not resources.get("bundles"):
        return
    from aktis.air.placement import PlacementGroupFactory

    trial.placement_group_factory = PlacementGroupFactory(
        resources["bundles"], strategy=resources.get("strategy", "PACK")
    )


def _plain_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# -- the whole state -------------------------------------------------------------------------------------------------


def check_format(ours: Mapping[str, Any], what: str) -> None:
    """Refuse what a newer version wrote.

    Raises:
        ExperimentDirectoryError: The format is newer than this version's.
    """
    version = ours.get("format", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise ExperimentDirectoryError(
            f"{what} has format {version!r}, written by aktis-tune {ours.get('version', 'of a newer version')}; this version reads "
            f"formats up to {FORMAT}: upgrade with `pip install -U aktis-tune`"
        )


def write_experiment_state(
    path: str | os.PathLike[str],
    trials: Iterable[Trial | str],
    runner_data: Mapping[str, Any] | None = None,
    stats: Mapping[str, Any] | None = None,
) -> None:
    """Write a state file whole: readers see the one before or this one, never half of it.

    Args:
        path: The file, ``<experiment's directory>/experiment_state-<time>.json``.
        trials: Trials, or what :func:`trial_to_json` made of them: the text of a trial that did not change need not be made again.
        runner_data: What the runner wants to be seen, e.g. ``{"_metric": "loss"}``.
        stats: ``start_time`` and ``timestamp``, seconds since 1970.
    """
    from aktis.tune.__about__ import __version__

    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{"checkpoints": [')
        for number, trial in enumerate(trials):
            text = trial if isinstance(trial, str) else trial_to_json(trial)
            file.write((",\n" if number else "\n") + json.dumps(text))
        file.write(f'\n],\n"runner_data": {dump_json(dict(runner_data or {}))},\n')
        file.write(f'"stats": {dump_json(dict(stats or {}))},\n')
        file.write(f'"aktis": {{"format": {FORMAT}, "version": {json.dumps(__version__)}}}}}\n')


def read_experiment_state(path: str | os.PathLike[str], load_pickles: bool = False) -> ExperimentState:
    """Read a state file. The experiment's directory is where the file lies, wherever it lay when it was written.

    Args:
        path: The file.
        load_pickles: Unpickle values that JSON cannot hold. This runs code that the file names: only for files that you trust.

    Raises:
        ExperimentDirectoryError: It is no state file, a damaged one, or one of a newer version.
        OSError: It can't be read.
    """
    path = Path(path)
    try:
        state = json.loads(path.read_text(encoding="utf-8"), object_hook=decoder_hook(load_pickles))
    except ValueError as error:
        raise ExperimentDirectoryError(f"{path} is damaged: {error}") from error
    if not isinstance(state, dict) or not isinstance(state.get("checkpoints"), list):
        raise ExperimentDirectoryError(f"{path} is no state of an experiment: it has no list of trials ('checkpoints')")
    check_format(_plain_dict(state.get("aktis")), str(path))
    trials = []
    for entry in state["checkpoints"]:
        text = entry if isinstance(entry, str) else json.dumps(entry)  # before Ray 1.3: an object, no text
        trials.append(trial_from_json(text, path.parent, load_pickles))
    return ExperimentState(path, trials, _plain_dict(state.get("runner_data")), _plain_dict(state.get("stats")))
