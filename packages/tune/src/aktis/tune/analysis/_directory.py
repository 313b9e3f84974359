"""Finding an experiment's state in a directory."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from aktis.tune.analysis._checkpoints import StoredCheckpoints
from aktis.tune.analysis._results import read_config, read_results, results_file
from aktis.tune.analysis.state_format import ExperimentState, StoredTrialError, read_experiment_state
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.trial import Trial

__all__ = ["experiment_dirs", "is_experiment_dir", "list_some", "load_states", "local_path", "state_files"]

_PREFIX, _SUFFIX = "experiment_state", ".json"
_TRIAL_ID = re.compile(r"(?:^|_)([0-9a-f]{5,8}(?:_\d{5})?)(?=_|$)")


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path, or a ``file://`` URI, as a path of this machine.

    Raises:
        ExperimentDirectoryError: It is a URI of another kind.
    """
    text = os.fspath(path)
    if "://" in text:
        parsed = urlparse(text)
        if parsed.scheme not in ("file", "local"):
            raise ExperimentDirectoryError(
                f"{text!r} is not on this machine: download the directory, then give its path"
            )
        text = unquote(parsed.netloc + parsed.path)
    return Path(text).expanduser().absolute()


def state_files(directory: Path) -> list[Path]:
    """State files in a directory, newest first. Their names tell the time, because moved files have new times."""
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.name.startswith(_PREFIX)]
    except OSError:
        return []
    return [directory / name for name in sorted(names, reverse=True) if name.endswith(_SUFFIX)]


def _trial_dirs(directory: Path) -> list[Path]:
    try:
        inside = sorted(entry.path for entry in os.scandir(directory) if entry.is_dir())
    except OSError:
        return []
    return [Path(path) for path in inside if results_file(path) or os.path.exists(os.path.join(path, "params.json"))]


def is_experiment_dir(directory: Path) -> bool:
    """Whether a directory holds an experiment: its state, or trials without one."""
    return bool(state_files(directory) or (directory / "experiment.sqlite").exists() or _trial_dirs(directory))


def experiment_dirs(path: Path) -> list[Path]:
    """The experiments at a path: itself, or those among its subdirectories."""
    if is_experiment_dir(path):
        return [path]
    try:
        inside = sorted(entry.path for entry in os.scandir(path) if entry.is_dir())
    except OSError:
        return []
    return [Path(entry) for entry in inside if is_experiment_dir(Path(entry))]


def load_states(path: str | os.PathLike[str], load_pickles: bool = False) -> list[ExperimentState]:
    """Read the states of the experiment at ``path``: a state file, an experiment's directory, or one that holds several.

    Only state files are read: no directory of a trial is looked at, unless there is no usable state.

    Raises:
        ExperimentDirectoryError: There is no experiment, or its state cannot be read.
    """
    local = local_path(path)
    if local.is_file():
        return [read_experiment_state(local, load_pickles)]
    if not local.is_dir():
        raise ExperimentDirectoryError(f"there is no experiment at {local}: no such file or directory")
    found = experiment_dirs(local)
    if not found:
        raise ExperimentDirectoryError(
            f"{local} holds no experiment: neither experiment_state-*.json nor directories of trials (result.json, params.json), "
            f"also not one level below"
        )
    return [_load_directory(directory, load_pickles) for directory in found]


def _load_directory(directory: Path, load_pickles: bool) -> ExperimentState:
    """The newest state: that of the state file, or, when things have happened since, that of the journal."""
    from aktis.tune._execution.projection import last_event_time, read_trials

    happened = last_event_time(str(directory))
    if happened is None:
        return _load_files(directory, load_pickles)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = _load_files(directory, load_pickles)
    except ExperimentDirectoryError as error:
        if "upgrade with" in str(error):
            raise
        state = ExperimentState(directory / f"{_PREFIX}{_SUFFIX}", [])
    written = state.stats.get("timestamp")
    if isinstance(written, (int, float)) and written >= happened:
        return state
    state.trials = read_trials(str(directory))
    for trial in state.trials:
        trial.checkpoints = StoredCheckpoints(trial.logdir)  # type: ignore[assignment]
    return state


def _load_files(directory: Path, load_pickles: bool) -> ExperimentState:
    problems: list[str] = []
    for file in state_files(directory):
        try:
            state = read_experiment_state(file, load_pickles)
        except ExperimentDirectoryError as error:
            if "upgrade with" in str(error):
                raise
            problems.append(str(error))
            continue
        except OSError as error:
            problems.append(f"{file} can't be read: {error.strerror}")
            continue
        for problem in problems:
            warnings.warn(f"{problem}; the state before it ({file.name}) is used", UserWarning, stacklevel=4)
        state.trials.sort(key=_number)
        return state
    dirs = _trial_dirs(directory)
    if not dirs:
        reason = "; ".join(problems) or "it has no state yet"
        raise ExperimentDirectoryError(
            f"the experiment in {directory} can't be read: {reason}, and there are no trials in it"
        )
    reason = "; ".join(problems) or "experiment_state-*.json is missing"
    warnings.warn(
        f"{directory}: {reason}; its {len(dirs)} trials are read from their own directories; those that never started are lost",
        UserWarning,
        stacklevel=4,
    )
    trials = [_trial_from_directory(directory, path) for path in dirs]
    return ExperimentState(directory / f"{_PREFIX}{_SUFFIX}", trials)


def _trial_from_directory(experiment_dir: Path, path: Path) -> Trial:
    """A trial, from nothing but its own directory: its results are read."""
    results = read_results(str(path))
    last = results[-1] if results else {}
    config = read_config(str(path))
    trial_id = str(last.get("trial_id") or _id_in(path.name))
    trial = Trial(
        path.name.partition(f"_{trial_id}")[0] or path.name,
        trial_id=trial_id,
        config=config if config is not None else dict(last.get("config") or {}),
        experiment_tag=str(last.get("experiment_tag") or ""),
        experiment_dir=str(experiment_dir),
    )
    trial.evaluated_params = {}
    trial.relative_logdir = path.name
    for result in results:
        trial.record(result, float(result.get("timestamp") or 0))
    if (path / "error.txt").exists():
        trial.status = Trial.ERROR
        trial.num_failures = 1
        trial.error = StoredTrialError(trial_id, str(path / "error.txt"))
    else:
        trial.status = Trial.TERMINATED if last.get("done") else Trial.PENDING
    trial.checkpoints = StoredCheckpoints(trial.logdir)  # type: ignore[assignment]
    trial.pid, trial.node_ip = last.get("pid"), last.get("node_ip")
    return trial


def _number(trial: Trial) -> int:
    """A trial's number in the experiment: Ray's state files have no order. 0 where there is none."""
    number = trial.experiment_tag.partition("_")[0]
    return int(number) if number.isdigit() else 0


def _id_in(name: str) -> str:
    match = _TRIAL_ID.search(name)
    return match.group(1) if match else name


def list_some(names: Sequence[Any], most: int = 3) -> str:
    """``a, b, c and 7 more``."""
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
