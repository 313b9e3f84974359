"""Weights & Biases: a run per trial (:class:`WandbLoggerCallback`), or one in the user's function (:func:`setup_wandb`).

Environment: ``WANDB_API_KEY``, ``WANDB_PROJECT_NAME``, ``WANDB_GROUP_NAME``, ``WANDB_MODE`` and three hooks, each the dotted
path of a function: ``WANDB_SETUP_API_KEY_HOOK`` (no argument, returns the key), ``WANDB_POPULATE_RUN_LOCATION_HOOK`` (no
argument, may set the first three variables) and ``WANDB_PROCESS_RUN_INFO_HOOK`` (gets the run once it has begun).
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations._background import ToolLogger
from aktis.air.integrations._session import here
from aktis.air.integrations.results import flatten_dict, to_number, to_plain

__all__ = ["WandbLoggerCallback", "setup_wandb"]

WANDB_ENV_VAR = "WANDB_API_KEY"
WANDB_PROJECT_ENV_VAR = "WANDB_PROJECT_NAME"
WANDB_GROUP_ENV_VAR = "WANDB_GROUP_NAME"
WANDB_MODE_ENV_VAR = "WANDB_MODE"
WANDB_SETUP_API_KEY_HOOK = "WANDB_SETUP_API_KEY_HOOK"
WANDB_POPULATE_RUN_LOCATION_HOOK = "WANDB_POPULATE_RUN_LOCATION_HOOK"
WANDB_PROCESS_RUN_INFO_HOOK = "WANDB_PROCESS_RUN_INFO_HOOK"

_WITHOUT_KEY = ("offline", "disabled", "dryrun")
_NEVER = ("done", "should_checkpoint")
# What describes the trial, and is the same for each result.
_TO_CONFIG = ("trial_id", "experiment_tag", "node_ip", "experiment_id", "hostname", "pid", "date")


class WandbLoggerCallback(ToolLogger):
    """Logs each trial as a run of Weights & Biases: configuration, metrics, and on request checkpoints as artifacts.

    The client is called by a thread of its own; everything is complete when the experiment has ended. Runs that are open at the
    same time share the one service process of the client (wandb 0.19.10 or newer).

    Args:
        project: The project. Default: ``WANDB_PROJECT_NAME``.
        group: The group of the runs. Default: ``WANDB_GROUP_NAME``, else the name of the experiment.
        api_key_file: A file with the API key.
        api_key: The API key. Without either: ``WANDB_API_KEY``, the hook, or what ``wandb login`` has stored.
        excludes: Keys of results and of the configuration that are not logged (``"a"`` stands for ``"a/b"``, too).
        log_config: Whether to log the configuration with each result. Sensible when it changes (PBT).
        upload_checkpoints: Whether to upload checkpoints as artifacts.
        save_checkpoints: The same, under its old name.
        kwargs: For ``wandb.init()``; they win over what is chosen here.

    Raises:
        ImportError: wandb is not installed.
    """

    TOOL = "Weights & Biases"

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: Sequence[str] | None = None,
        log_config: bool = False,
        upload_checkpoints: bool = False,
        save_checkpoints: bool = False,
        **kwargs: Any,
    ) -> None:
        _import_wandb()
        self.project = project
        self.group = group
        self.api_key_file = api_key_file
        self.api_key = api_key
        self.excludes = list(excludes or ())
        self.log_config = log_config
        self.upload_checkpoints = upload_checkpoints or save_checkpoints
        self.kwargs = kwargs
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._ready = False
        self._runs: dict[str, Any] = {}  # of the trials that have not ended; used by the thread only

    @property
    def _wandb(self) -> Any:
        return _import_wandb()

    def setup(self, *args: Any, **info: Any) -> None:
        """Find the key and the project, so that what is missing is said before the first trial.

        Raises:
            ValueError: There is no project, or no key and the mode is not offline.
        """
        _set_api_key(self._wandb, self.api_key_file, self.api_key, self.kwargs.get("mode"))
        self.project = self.project or _project()
        if not self.project:
            raise ValueError(f"The project is missing: pass project or set {WANDB_PROJECT_ENV_VAR}")
        self.group = self.group or os.environ.get(WANDB_GROUP_ENV_VAR)
        _Service.acquire(self)
        self._ready = True

    def log_trial_start(self, trial: TrialInfo) -> None:
        if not self._ready:
            self.setup()
        config = {key: value for key, value in trial.config.items() if key not in ("callbacks", "log_config", "wandb")}
        arguments = {
            "id": _run_id(trial.trial_id),
            "name": str(trial),
            "project": self.project,
            "group": self.group or trial.experiment_dir_name or None,
            "dir": trial.logdir or None,
            "resume": None if _mode(self.kwargs.get("mode")) in _WITHOUT_KEY else "allow",
            "reinit": "create_new",
            "allow_val_change": True,
            **self.kwargs,
            "config": {**_without_nested(to_plain(config), self.excludes), **(self.kwargs.get("config") or {})},
        }
        self._background.submit(self._start, trial.trial_id, arguments)

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        if not self.log_config:
            result = {key: value for key, value in result.items() if key != "config"}
        flat = _without(flatten_dict(result, skip=_NEVER), self.excludes)
        about = {key: to_plain(flat.pop(key)) for key in _TO_CONFIG if key in flat}
        logged = {key: _loggable(value) for key, value in flat.items() if value is not None}
        self._background.submit(self._log, trial.trial_id, logged, about)

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, checkpoint: Any, **info: Any
    ) -> None:
        """Upload a checkpoint, when that was asked for."""
        if self.upload_checkpoints:
            name = re.sub(r"[^\w.-]", "_", f"checkpoint_{trial}")
            self._background.submit(self._upload, trial.trial_id, name, checkpoint)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        self._background.submit(self._end, trial.trial_id, 1 if failed else 0)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._background.submit(self._end_all)
        self._background.finish()
        self._ready = False
        _Service.release(self)

    # -- in the thread ------------------------------------------------------------------------------

    def _start(self, trial_id: str, arguments: dict[str, Any]) -> None:
        run = self._runs.get(trial_id)
        if run is not None:  # started again: the configuration may have changed
            run.config.update(arguments["config"], allow_val_change=True)
            return
        arguments.setdefault("settings", self._wandb.Settings(console="off", silent=True))
        run = self._runs[trial_id] = self._wandb.init(**arguments)
        _call_hook(WANDB_PROCESS_RUN_INFO_HOOK, run)

    def _log(self, trial_id: str, values: dict[str, Any], about: dict[str, Any]) -> None:
        run = self._runs.get(trial_id)
        if run is None:  # making it has failed, and that was said
            return
        changed = {key: value for key, value in about.items() if run.config.get(key) != value and key != "date"}
        if "date" in about and "date" not in run.config:
            changed["date"] = about["date"]
        if changed:
            run.config.update(changed, allow_val_change=True)
        run.log(values)

    def _upload(self, trial_id: str, name: str, checkpoint: Any) -> None:
        run = self._runs.get(trial_id)
        if run is None:
            return
        artifact = self._wandb.Artifact(name=name, type="model")
        with checkpoint.as_directory() as folder:
            artifact.add_dir(folder)
        run.log_artifact(artifact)

    def _end_all(self) -> None:
        """The run is over, or interrupted: trials that have not ended may go on in another process."""
        for trial_id in list(self._runs):
            self._end(trial_id, 0)

    def _end(self, trial_id: str, exit_code: int) -> None:
        run = self._runs.pop(trial_id, None)
        if run is not None:
            run.finish(exit_code=exit_code)


class _Service:
    """The client's service process, which all runs of this process share: it ends with the last logger that uses it.

    Unless the user has a run of their own.
    """

    _users: ClassVar[set[int]] = set()
    _lock = threading.Lock()

    @classmethod
    def acquire(cls, user: object) -> None:
        with cls._lock:
            cls._users.add(id(user))

    @classmethod
    def release(cls, user: object) -> None:
        with cls._lock:
            cls._users.discard(id(user))
            wandb = _import_wandb()
            if not cls._users and getattr(wandb, "run", None) is None:
                wandb.teardown()


def setup_wandb(
    config: dict[str, Any] | None = None,
    api_key: str | None = None,
    api_key_file: str | None = None,
    rank_zero_only: bool = True,
    **kwargs: Any,
) -> Any:
    """Begin a run of Weights & Biases in the user's function: its id and name are the trial's, its group is the experiment.

    Args:
        config: What to log as the configuration. Its key ``"wandb"`` may hold arguments for ``wandb.init()`` and the key.
        api_key: The API key.
        api_key_file: A file with the API key.
        rank_zero_only: In distributed training, whether only the first worker logs.
        kwargs: For ``wandb.init()``; they win over what is chosen here.

    Returns:
        The run; for other ranks one that is disabled.

    Raises:
        ImportError: wandb is not installed.
        ValueError: There is no key, and the mode is not offline.
    """
    wandb = _import_wandb()
    place = here()
    if rank_zero_only and place.rank > 0:
        return wandb.init(mode="disabled")
    config = dict(config or {})
    given = dict(config.pop("wandb", None) or {})
    api_key = api_key or given.pop("api_key", None)
    api_key_file = api_key_file or given.pop("api_key_file", None)
    arguments: dict[str, Any] = {
        "id": _run_id(place.trial_id) if place.trial_id else None,
        "name": place.trial_name,
        "group": os.environ.get(WANDB_GROUP_ENV_VAR) or place.experiment_name,
        "reinit": True,
        "allow_val_change": True,
        **given,
        **kwargs,
    }
    arguments.setdefault("project", _project())
    arguments["config"] = {**to_plain(config), **(arguments.get("config") or {})}
    _set_api_key(wandb, api_key_file, api_key, arguments.get("mode"))
    arguments = {key: value for key, value in arguments.items() if value is not None}
    run = wandb.init(**arguments)
    _call_hook(WANDB_PROCESS_RUN_INFO_HOOK, run)
    return run


def _import_wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError('Logging to Weights & Biases needs wandb: pip install "aktis-air[wandb]"') from error


def _project() -> str | None:
    if not os.environ.get(WANDB_PROJECT_ENV_VAR):
        _call_hook(WANDB_POPULATE_RUN_LOCATION_HOOK)
    return os.environ.get(WANDB_PROJECT_ENV_VAR) or os.environ.get("WANDB_PROJECT")


def _mode(mode: str | None) -> str:
    return mode or os.environ.get(WANDB_MODE_ENV_VAR) or "online"


def _set_api_key(wandb: Any, api_key_file: str | None, api_key: str | None, mode: str | None) -> None:
    if api_key_file:
        if api_key:
            raise ValueError("Both api_key and api_key_file were given: pass one of them")
        with open(os.path.expanduser(api_key_file)) as file:
            api_key = file.readline().strip()
    if _mode(mode) in _WITHOUT_KEY:
        return
    if not api_key and not os.environ.get(WANDB_ENV_VAR):
        api_key = _call_hook(WANDB_SETUP_API_KEY_HOOK)
    if api_key:
        os.environ[WANDB_ENV_VAR] = api_key
    elif not os.environ.get(WANDB_ENV_VAR) and not wandb.api.api_key:
        raise ValueError(
            f"Weights & Biases needs a key: set {WANDB_ENV_VAR}, pass api_key or api_key_file, run `wandb login`, "
            f"or log offline with {WANDB_MODE_ENV_VAR}=offline"
        )


def _call_hook(variable: str, *args: Any) -> Any:
    """Call the function that an environment variable names; None without one."""
    path = os.environ.get(variable)
    if not path:
        return None
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{variable}={path} names no function: it must be like package.module.function ({error})"
        ) from error
    return function(*args)


def _run_id(trial_id: str) -> str:
    """Ids of runs hold none of these characters."""
    return re.sub(r"[/\\#?%:]", "_", trial_id)


def _without(values: Mapping[str, Any], excludes: Iterable[str]) -> dict[str, Any]:
    excluded = tuple(excludes)
    return {
        key: value
        for key, value in values.items()
        if not any(key == name or key.startswith(f"{name}/") for name in excluded)
    }


def _without_nested(values: Mapping[str, Any], excludes: Iterable[str], prefix: str = "") -> dict[str, Any]:
    """The same for dictionaries in dictionaries."""
    excluded = tuple(excludes)
    return {
        key: _without_nested(value, excluded, f"{prefix}{key}/") if isinstance(value, dict) else value
        for key, value in values.items()
        if f"{prefix}{key}" not in excluded
    }


def _loggable(value: Any) -> Any:
    """Numbers and what wandb knows itself stay as they are; other things become plain."""
    number = to_number(value)
    if number is not None:
        return value if type(value) in (int, float) else number
    if type(value).__module__.split(".")[0] in ("wandb", "numpy"):
        return value
    return to_plain(value)
