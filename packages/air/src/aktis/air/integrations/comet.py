"""Comet: an experiment per trial."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations._background import ToolLogger
from aktis.air.integrations.results import flatten_dict, safe_str, to_number, to_plain

__all__ = ["CometLoggerCallback"]

# What the client would find out about the driver's process, which is not the trial's. For log_env_details it would also ask the
# address at which clouds tell machines about themselves, offline too.
_QUIET = ("log_env_details", "log_git_metadata", "log_git_patch", "log_code", "auto_output_logging", "parse_args")
_SYSTEM = ("node_ip", "hostname", "pid", "date")
_OTHER = ("trial_id", "experiment_id", "experiment_tag")
_LEFT_OUT = ("done", "should_checkpoint", "config")


class CometLoggerCallback(ToolLogger):
    """Logs each trial as an experiment of Comet: configuration, metrics, and on request checkpoints.

    The client is called by a thread of its own; everything is complete when the experiment has ended.

    Args:
        online: Whether to send what is logged. Otherwise archives are written, for ``comet upload``, and nothing is sent (the
            client's own error reports are switched off, too, when it was not imported before).
        tags: Tags of each experiment.
        save_checkpoints: Whether to save checkpoints as artifacts (online only).
        experiment_kwargs: For ``comet_ml.Experiment`` or ``comet_ml.OfflineExperiment``: ``project_name``, ``workspace``,
            ``api_key`` (default: ``COMET_API_KEY``), ``offline_directory``...

    Raises:
        ImportError: comet_ml is not installed.
        ValueError: ``online`` without a key.
    """

    TOOL = "Comet"

    def __init__(
        self,
        online: bool = True,
        tags: Sequence[str] | None = None,
        save_checkpoints: bool = False,
        **experiment_kwargs: Any,
    ) -> None:
        self.online = online
        comet = _import_comet(online)
        self.tags = list(tags or ())
        self.save_checkpoints = save_checkpoints
        self.experiment_kwargs = {**dict.fromkeys(_QUIET, False), "display_summary_level": 0, **experiment_kwargs}
        if online and not (experiment_kwargs.get("api_key") or comet.config.get_api_key(None, comet.get_config())):
            raise ValueError("Comet needs a key: pass api_key, set COMET_API_KEY, or log offline with online=False")
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._experiments: dict[str, Any] = {}  # of the trials that have not ended; used by the thread only
        self._keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self._enders: ThreadPoolExecutor | None = None  # ending an experiment takes a second

    @property
    def _comet(self) -> Any:
        return _import_comet(self.online)

    def log_trial_start(self, trial: TrialInfo) -> None:
        self._background.submit(self._start, trial.trial_id, str(trial), to_plain(dict(trial.config)))

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        self._background.submit(self._log, trial.trial_id, dict(result))

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, checkpoint: Any, **info: Any
    ) -> None:
        """Save a checkpoint, when that was asked for."""
        if self.save_checkpoints and self.online:
            name = f"checkpoint_{trial}"
            self._background.submit(self._save, trial.trial_id, name, checkpoint)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        self._background.submit(self._end, trial.trial_id, failed)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._background.submit(self._end_all)
        self._background.finish()
        enders, self._enders = self._enders, None
        if enders is not None:
            enders.shutdown(wait=True)

    def get_state(self) -> dict[str, Any] | None:
        """Which experiment belongs to which trial, so that a resumed trial goes on with its own (online only)."""
        with self._lock:
            return {"keys": dict(self._keys)} if self._keys and self.online else None

    def set_state(self, state: dict[str, Any]) -> None:
        self._keys.update(state.get("keys", {}))

    # -- in the thread ------------------------------------------------------------------------------

    def _start(self, trial_id: str, name: str, config: dict[str, Any]) -> None:
        experiment = self._experiments.get(trial_id)
        if experiment is None:
            experiment = self._experiments[trial_id] = self._new(trial_id)
            experiment.set_name(name)
            if self.tags:
                experiment.add_tags(self.tags)
        experiment.log_parameters(config)

    def _new(self, trial_id: str) -> Any:
        # A new experiment ends the one that the client takes for the current one: there are several at a time here.
        self._comet.config.set_global_experiment(None)
        try:
            if not self.online:
                folder = self.experiment_kwargs.get("offline_directory")
                if folder:
                    os.makedirs(folder, exist_ok=True)
                return self._comet.OfflineExperiment(**self.experiment_kwargs)
            known = self._keys.get(trial_id)
            if known is not None:
                return self._comet.ExistingExperiment(previous_experiment=known, **self.experiment_kwargs)
            experiment = self._comet.Experiment(**self.experiment_kwargs)
            with self._lock:
                self._keys[trial_id] = experiment.get_key()
            return experiment
        finally:
            self._comet.config.set_global_experiment(None)

    def _log(self, trial_id: str, result: dict[str, Any]) -> None:
        experiment = self._experiments.get(trial_id)
        if experiment is None:
            return
        step = int(to_number(result.get("timesteps_total")) or to_number(result.get("training_iteration")) or 0)
        metrics: dict[str, float] = {}
        for key, value in flatten_dict(result, skip=_LEFT_OUT).items():
            number = None if key in _SYSTEM or key in _OTHER else to_number(value)
            if number is not None:
                metrics[key] = number
            elif key in _SYSTEM:
                experiment.log_system_info(key, value)
            elif value is not None:
                experiment.log_other(key, safe_str(value))
        experiment.log_metrics(metrics, step=step)

    def _save(self, trial_id: str, name: str, checkpoint: Any) -> None:
        experiment = self._experiments.get(trial_id)
        if experiment is None:
            return
        artifact = self._comet.Artifact(name=name, artifact_type="model")
        with checkpoint.as_directory() as folder:
            for root, _, files in os.walk(folder):
                for file in files:
                    path = os.path.join(root, file)
                    artifact.add(path, logical_path=os.path.relpath(path, folder))
            experiment.log_artifact(artifact)

    def _end_all(self) -> None:
        """The run is over, or interrupted: trials that have not ended keep their keys, so that they can go on."""
        for trial_id in list(self._experiments):
            self._finish(self._experiments.pop(trial_id))

    def _end(self, trial_id: str, failed: bool) -> None:
        experiment = self._experiments.pop(trial_id, None)
        with self._lock:
            self._keys.pop(trial_id, None)
        if experiment is not None:
            experiment.log_other("status", "failed" if failed else "completed")
            self._finish(experiment)

    def _finish(self, experiment: Any) -> None:
        if self._enders is None:
            self._enders = ThreadPoolExecutor(8, thread_name_prefix="aktis-Comet-end")
        self._enders.submit(experiment.end)


def _import_comet(online: bool) -> Any:
    if not online:
        os.environ.setdefault("COMET_ERROR_TRACKING_ENABLE", "false")  # read when it is imported
    try:
        return importlib.import_module("comet_ml")
    except ImportError as error:
        raise ImportError('Logging to Comet needs comet_ml: pip install "aktis-air[comet]"') from error
