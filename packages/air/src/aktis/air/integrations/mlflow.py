"""MLflow: a run per trial (:class:`MLflowLoggerCallback`), or MLflow inside of the user's function (:func:`setup_mlflow`)."""

from __future__ import annotations

import importlib
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from aktis.air.callbacks import TrialInfo
from aktis.air.integrations._background import ToolLogger
from aktis.air.integrations._session import here
from aktis.air.integrations.results import flat_metrics, flatten_dict, safe_str, to_number

__all__ = ["MLflowLoggerCallback", "setup_mlflow"]

# What MLflow takes in one call, and in one value (mlflow.utils.validation).
_METRICS_AT_ONCE = 1000
_PARAMS_AT_ONCE = 100
_LONGEST_VALUE = 6000
_LONGEST_NAME = 250
_BAD_NAME = re.compile(r"[^\w./ :-]", re.ASCII)


class MLflowLoggerCallback(ToolLogger):
    """Logs each trial as a run of an MLflow experiment: configuration, metrics, and on request the files of the trial.

    Calls to MLflow are made by a thread of their own, several results at a time, and are complete when the experiment has ended.

    Args:
        tracking_uri: Where MLflow keeps runs: a server or a database (``"sqlite:///runs.db"``). Default: what MLflow is set to.
        registry_uri: Where models are registered.
        experiment_name: Default: ``MLFLOW_EXPERIMENT_NAME``, else the experiment of ``MLFLOW_EXPERIMENT_ID``, else
            ``"Default"``. It is made when there is none.
        tags: Tags of each run.
        tracking_token: For servers that ask for one (sets ``MLFLOW_TRACKING_TOKEN``).
        save_artifact: Whether to save the directory of a trial as artifacts of its run, when it ends.

    Raises:
        ImportError: MLflow is not installed.
    """

    TOOL = "MLflow"

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        registry_uri: str | None = None,
        experiment_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        tracking_token: str | None = None,
        save_artifact: bool | str = False,
    ) -> None:
        _import_mlflow()
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri
        self.experiment_name = experiment_name
        self.tags = dict(tags or {})
        self.tracking_token = tracking_token
        self.save_artifact = save_artifact
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self.experiment_id: str | None = None
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Any]] = {}  # metrics by trial, until the thread takes them
        self._runs: dict[str, str] = {}  # the runs of the trials that have not ended
        self._client: Any = None

    def setup(self, *args: Any, **info: Any) -> None:
        """Find or make the experiment, so that what is wrong is said before the first trial."""
        mlflow = _import_mlflow()
        if self.tracking_token:
            os.environ["MLFLOW_TRACKING_TOKEN"] = self.tracking_token
        self._client = mlflow.tracking.MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.registry_uri)
        name = self.experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        experiment_id = None if name else os.environ.get("MLFLOW_EXPERIMENT_ID")
        self.experiment_id = _find_experiment(self._client, experiment_id, name or "Default", True)

    def log_trial_start(self, trial: TrialInfo) -> None:
        if self._client is None:
            self.setup()
        config = dict(trial.config)
        tags = {**self.tags, "trial_id": trial.trial_id, "trial_name": str(trial)}
        self._background.submit(self._start_run, trial.trial_id, str(trial), config, tags)

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        step = _step(result)
        at = int((to_number(result.get("timestamp")) or time.time()) * 1000)
        metrics = [Metric(_name(key), value, at, step) for key, value in flat_metrics(result).items()]
        with self._lock:
            waiting = self._waiting.get(trial.trial_id)
            if waiting is not None and len(waiting) < 100 * _METRICS_AT_ONCE:
                waiting.extend(metrics)
                return
            self._waiting[trial.trial_id] = metrics
        if not self._background.submit(self._send_metrics, trial.trial_id):
            with self._lock:
                self._waiting.pop(trial.trial_id, None)

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        folder = None
        if self.save_artifact:
            folder = self.save_artifact if isinstance(self.save_artifact, str) else trial.logdir
        self._background.submit(self._end_run, trial.trial_id, folder, "FAILED" if failed else "FINISHED")

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._background.submit(self._interrupt)
        self._background.finish()

    def get_state(self) -> dict[str, Any] | None:
        """Which run belongs to which trial, so that a resumed trial goes on with its own."""
        with self._lock:
            return {"runs": dict(self._runs)} if self._runs else None

    def set_state(self, state: dict[str, Any]) -> None:
        self._runs.update(state.get("runs", {}))

    # -- in the thread ------------------------------------------------------------------------------

    def _start_run(self, trial_id: str, name: str, config: dict[str, Any], tags: dict[str, Any]) -> None:
        params = _params(config)
        run_id = self._runs.get(trial_id)
        if run_id is None:
            run = self._client.create_run(self.experiment_id, tags=_texts(tags), run_name=name)
            with self._lock:
                self._runs[trial_id] = run.info.run_id
            _log_params(self._client, run.info.run_id, params)
            return
        # The trial goes on. What MLflow calls a parameter cannot change, but the trial's configuration can.
        self._client.update_run(run_id, status="RUNNING")
        known = self._client.get_run(run_id).data.params
        _log_params(self._client, run_id, {key: value for key, value in params.items() if key not in known})
        for key, value in params.items():
            if known.get(key, value) != value:
                self._client.set_tag(run_id, f"changed/{key}", value)

    def _send_metrics(self, trial_id: str) -> None:
        with self._lock:
            metrics = self._waiting.pop(trial_id, [])
        run_id = self._runs.get(trial_id)
        if run_id is None:  # making it has failed, and that was said
            return
        for begin in range(0, len(metrics), _METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=metrics[begin : begin + _METRICS_AT_ONCE])

    def _interrupt(self) -> None:
        """Trials that have not ended by now were interrupted. Their runs are kept, so that they can go on."""
        for run_id in list(self._runs.values()):
            self._client.update_run(run_id, status="KILLED")

    def _end_run(self, trial_id: str, folder: str | None, status: str) -> None:
        run_id = self._runs.get(trial_id)
        if run_id is None:
            return
        try:
            if folder:
                self._client.log_artifacts(run_id, folder)
        finally:
            self._client.set_terminated(run_id, status)
            with self._lock:
                self._runs.pop(trial_id, None)


class _NoopModule:
    """What workers of other ranks get in place of MLflow: everything may be called, nothing happens."""

    def __getattr__(self, name: str) -> _NoopModule:
        return _NoopModule()

    def __call__(self, *args: Any, **kwargs: Any) -> _NoopModule:
        return _NoopModule()

    def __enter__(self) -> _NoopModule:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def setup_mlflow(
    config: dict[str, Any] | None = None,
    tracking_uri: str | None = None,
    registry_uri: str | None = None,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    tracking_token: str | None = None,
    create_experiment_if_not_exists: bool = False,
    tags: Mapping[str, Any] | None = None,
    rank_zero_only: bool = True,
) -> ModuleType | _NoopModule:
    """Begin an MLflow run in the user's function, named after the trial, with the configuration as parameters.

    Args:
        config: What to log as parameters. Its key ``"mlflow"`` may hold the arguments of this function.
        tracking_uri: Where MLflow keeps runs. On several machines this has to be a server.
        registry_uri: Where models are registered.
        experiment_id: The experiment (before ``experiment_name``). Default: ``MLFLOW_EXPERIMENT_ID``.
        experiment_name: The experiment. Default: ``MLFLOW_EXPERIMENT_NAME``, else the name of the Tune experiment.
        tracking_token: For servers that ask for one (sets ``MLFLOW_TRACKING_TOKEN``).
        create_experiment_if_not_exists: Whether to make the experiment when there is none.
        tags: Tags of the run.
        rank_zero_only: In distributed training, whether only the first worker logs.

    Returns:
        The module ``mlflow`` with an active run; for other ranks something that takes every call and does nothing.

    Raises:
        ImportError: MLflow is not installed.
        ValueError: There is no such experiment, and none is to be made.
    """
    place = here()
    if rank_zero_only and place.rank > 0:
        return _NoopModule()
    mlflow = _import_mlflow()
    config = dict(config or {})
    given = config.pop("mlflow", None) or {}
    tracking_token = tracking_token or given.get("tracking_token") or given.get("token")
    if tracking_token:
        os.environ["MLFLOW_TRACKING_TOKEN"] = tracking_token
    tracking_uri = tracking_uri or given.get("tracking_uri")
    registry_uri = registry_uri or given.get("registry_uri")
    if tracking_uri:
        mlflow.set_tracking_uri(tracking_uri)
    if registry_uri:
        mlflow.set_registry_uri(registry_uri)

    experiment = _find_experiment(
        mlflow.tracking.MlflowClient(),
        experiment_id or given.get("experiment_id") or os.environ.get("MLFLOW_EXPERIMENT_ID"),
        experiment_name
        or given.get("experiment_name")
        or os.environ.get("MLFLOW_EXPERIMENT_NAME")
        or place.experiment_name,
        create_experiment_if_not_exists or bool(given.get("create_experiment_if_not_exists")),
    )
    trial = {"trial_id": place.trial_id, "trial_name": place.trial_name} if place.trial_id else {}
    all_tags = {**trial, **(given.get("tags") or {}), **(tags or {})}
    while mlflow.active_run() is not None:  # of a trial that ran in this process before
        mlflow.end_run()
    run = mlflow.start_run(experiment_id=experiment, run_name=place.trial_name, tags=_texts(all_tags))
    _log_params(mlflow.tracking.MlflowClient(), run.info.run_id, _params(config))
    return mlflow  # type: ignore[no-any-return]


def _import_mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise ImportError('Logging to MLflow needs mlflow: pip install "aktis-air[mlflow]"') from error


def _find_experiment(client: Any, experiment_id: str | None, name: str | None, create: bool) -> str:
    exceptions = importlib.import_module("mlflow.exceptions")
    if experiment_id:
        try:
            return str(client.get_experiment(experiment_id).experiment_id)
        except (exceptions.MlflowException, AttributeError):
            if not name:
                raise ValueError(
                    f"MLflow has no experiment with the id {experiment_id!r}. Give the id of one that exists, or an experiment_name"
                ) from None
    if not name:
        raise ValueError(
            "An MLflow experiment is needed: pass experiment_name or experiment_id, or set MLFLOW_EXPERIMENT_NAME or "
            "MLFLOW_EXPERIMENT_ID"
        )
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    if not create:
        raise ValueError(
            f"MLflow has no experiment named {name!r}. Pass create_experiment_if_not_exists=True to have it made"
        )
    try:
        return str(client.create_experiment(name))
    except exceptions.MlflowException:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _step(result: Mapping[str, Any]) -> int:
    return int(to_number(result.get("timesteps_total")) or to_number(result.get("training_iteration")) or 0)


def _name(key: str) -> str:
    """A name that MLflow takes: it knows letters, digits, and ``_ - . : /`` and spaces."""
    name = _BAD_NAME.sub("_", key)[:_LONGEST_NAME]
    return name.lstrip("/").replace("//", "/").replace("..", "._") or "_"


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {_name(str(key)): safe_str(value)[:_LONGEST_VALUE] for key, value in values.items()}


def _params(config: Mapping[str, Any]) -> dict[str, str]:
    return _texts(flatten_dict(config))


def _log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    all_params: Sequence[Any] = [Param(key, value) for key, value in params.items()]
    for begin in range(0, len(all_params), _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=all_params[begin : begin + _PARAMS_AT_ONCE])
