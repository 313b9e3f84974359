"""Results in files, and in MLflow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aktis.air.integrations.results import flat_metrics, flatten_dict, safe_str, to_json, to_number
from aktis.train.callbacks.callback import TrainingCallback
from aktis.train.callbacks.results_preprocessors import IndexedResultsPreprocessor
from aktis.train.constants import PYTORCH_PROFILER_KEY, RESULT_FILE_JSON, TRAINING_ITERATION
from aktis.util.files import write_whole

__all__ = ["JsonLoggerCallback", "MLflowLoggerCallback", "RunDirectory", "TBXLoggerCallback"]


class RunDirectory:
    """Where a callback writes: a directory that the user chose, or that of the run.

    Args:
        logdir: What the user chose; None: nothing.
    """

    def __init__(self, logdir: str | os.PathLike[str] | None) -> None:
        self._chosen = None if logdir is None else Path(logdir).expanduser()
        self._path: Path | None = self._chosen

    def start(self, logdir: str | os.PathLike[str]) -> Path:
        """A run begins, whose directory is ``logdir``. Makes the directory to write in, and returns it."""
        self._path = self._chosen or Path(logdir)
        self._path.mkdir(parents=True, exist_ok=True)
        return self._path

    @property
    def path(self) -> Path:
        """The directory. Raises RuntimeError while it is not known."""
        if self._path is None:
            raise RuntimeError("the directory of this callback is that of the run, and none has started")
        return self._path


class JsonLoggerCallback(TrainingCallback):
    """Writes a JSON file: a list with an entry for each report, which is a list of results by rank.

    The file is complete JSON after each report. A new run overwrites it.

    Args:
        logdir: The directory. None: that of the run.
        filename: Name of the file.
        workers_to_log: Whose results: a rank, several, or None for all.
    """

    def __init__(
        self,
        logdir: str | None = None,
        filename: str | None = None,
        workers_to_log: int | Iterable[int] | None = 0,
    ) -> None:
        self._directory = RunDirectory(logdir)
        self._filename = filename or RESULT_FILE_JSON
        self._entries = 0
        self.results_preprocessor = IndexedResultsPreprocessor(workers_to_log)

    @property
    def logdir(self) -> Path:
        """The directory of the file. Known once a run has started."""
        return self._directory.path

    @property
    def log_path(self) -> Path:
        """The file. Known once a run has started."""
        return self._directory.path / self._filename

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        self._directory.start(logdir)
        self._entries = 0
        write_whole(self.log_path, "[]\n")

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        # In place of the closing bracket, in one write, however long the file is by now.
        separator = ",\n" if self._entries else "\n"
        addition = f"{separator}{to_json(results)}\n]\n".encode()
        closing = b"\n]\n" if self._entries else b"]\n"
        with open(self.log_path, "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), addition, file.seek(0, os.SEEK_END) - len(closing))
        self._entries += 1


class TBXLoggerCallback(TrainingCallback):
    """Writes the numbers of one worker's results for TensorBoard: ``tensorboard --logdir RUN_DIRECTORY``.

    Lists and arrays of numbers become histograms. The step is the number of the report.

    Args:
        logdir: The directory. None: that of the run.
        worker_to_log: The rank of the worker.
    """

    def __init__(self, logdir: str | None = None, worker_to_log: int = 0) -> None:
        self._directory = RunDirectory(logdir)
        self._events: Any = None
        self.results_preprocessor = IndexedResultsPreprocessor(_one_rank(worker_to_log))

    @property
    def logdir(self) -> Path:
        """The directory of the event file. Known once a run has started."""
        return self._directory.path

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        from aktis.tune.logger.event_file import EventFile

        directory = self._directory.start(logdir)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.train"
        self._events = EventFile(os.fspath(directory / name))

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        for result in results:
            self._events.write(_shown(result), step=_step(result))

    def finish_training(self, error: bool = False, **info: Any) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None


class MLflowLoggerCallback(TrainingCallback):
    """Logs each run of the trainer as a run of an MLflow experiment: the configuration, and one worker's results.

    Args:
        tracking_uri: Where MLflow keeps runs. None: ``MLFLOW_TRACKING_URI``, or else ``mlflow.db`` in the directory (with artifacts
            in ``mlartifacts``), which ``mlflow ui`` shows when it is started there.
        registry_uri: Where models are registered.
        experiment_id: The experiment, which must be there.
        experiment_name: The experiment, which is made when it is not there. None: ``"Default"``.
        tags: Tags of the run.
        save_artifact: Whether to save the directory as artifacts of the run when it ends.
        logdir: The directory. None: that of the run.
        worker_to_log: The rank of the worker.

    Raises:
        ImportError: MLflow is not installed.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
        experiment_id: str | None = None,
        experiment_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        save_artifact: bool = False,
        logdir: str | None = None,
        worker_to_log: int = 0,
    ) -> None:
        _import_mlflow()
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri
        self.experiment_id = experiment_id
        self.experiment_name = experiment_name
        self.tags = dict(tags or {})
        self.save_artifact = save_artifact
        self._directory = RunDirectory(logdir)
        self._client: Any = None
        self._run_id: str | None = None
        self.results_preprocessor = IndexedResultsPreprocessor(_one_rank(worker_to_log))

    @property
    def logdir(self) -> Path:
        """The directory. Known once a run has started."""
        return self._directory.path

    @property
    def run_id(self) -> str | None:
        """Id of the latest MLflow run; None before the first."""
        return self._run_id

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        mlflow = _import_mlflow()
        from mlflow.entities import Param

        directory = self._directory.start(logdir)
        own = None
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            own = directory
            uri = f"sqlite:///{directory.resolve()}/mlflow.db"
        self._client = mlflow.tracking.MlflowClient(tracking_uri=uri, registry_uri=self.registry_uri)
        tags = {key: safe_str(value) for key, value in self.tags.items()}
        run = self._client.create_run(self._find_experiment(own), tags=tags, run_name=directory.name)
        self._run_id = run.info.run_id
        params = [Param(key, safe_str(value)[:_LONGEST_PARAM]) for key, value in flatten_dict(config).items()]
        for begin in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run_id, params=params[begin : begin + _PARAMS_AT_ONCE])

    def _find_experiment(self, own: Path | None) -> str:
        if self.experiment_id is not None:
            return str(self._client.get_experiment(self.experiment_id).experiment_id)
        name = self.experiment_name or "Default"
        if own is not None and name == "Default":
            name = own.parent.name or name  # MLflow's own "Default" keeps artifacts in the working directory
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        artifacts = None if own is None else (own.resolve() / "mlartifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for result in results:
            numbers = flat_metrics(_shown(result))
            metrics = [Metric(key, value, now, _step(result)) for key, value in numbers.items()]
            for begin in range(0, len(metrics), _METRICS_AT_ONCE):
                self._client.log_batch(self._run_id, metrics=metrics[begin : begin + _METRICS_AT_ONCE])

    def finish_training(self, error: bool = False, **info: Any) -> None:
        if self._client is None:
            return
        try:
            if self.save_artifact:
                self._save_artifacts()
        finally:
            self._client.set_terminated(self._run_id, "FAILED" if error else "FINISHED")
            self._client = None

    def _save_artifacts(self) -> None:
        """The directory, without what MLflow itself keeps in it."""
        for entry in sorted(self.logdir.iterdir()):
            if entry.name not in ("mlflow.db", "mlflow.db-journal", "mlartifacts"):
                log = self._client.log_artifacts if entry.is_dir() else self._client.log_artifact
                log(self._run_id, os.fspath(entry), **({"artifact_path": entry.name} if entry.is_dir() else {}))


# What MLflow takes in one call, and in one value (mlflow.utils.validation).
_METRICS_AT_ONCE = 1000
_PARAMS_AT_ONCE = 100
_LONGEST_PARAM = 6000


def _import_mlflow() -> Any:
    try:
        import mlflow
        import mlflow.tracking
    except ImportError as error:
        raise ImportError('MLflowLoggerCallback needs MLflow: pip install "mlflow>=2.9"') from error
    return mlflow


def _one_rank(rank: Any) -> int:
    if not isinstance(rank, int) or isinstance(rank, bool):
        raise TypeError(f"worker_to_log must be the rank of one worker, not {rank!r}")
    return rank


def _step(result: Mapping[str, Any]) -> int:
    return int(to_number(result.get(TRAINING_ITERATION)) or 0)


def _shown(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth a curve: not the count of reports, nor traces of a profiler."""
    hidden = (TRAINING_ITERATION, PYTORCH_PROFILER_KEY)
    return {key: value for key, value in result.items() if key not in hidden}
