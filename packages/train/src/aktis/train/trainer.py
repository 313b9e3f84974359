"""The older ``Trainer``: workers that stay, and training functions that are run on them.

::

    trainer = Trainer(backend="torch", num_workers=4)
    trainer.start()
    values = trainer.run(train_func, config={"lr": 0.1}, callbacks=[JsonLoggerCallback()])   # what it returned, by rank
    trainer.shutdown()

Newer programs say ``TorchTrainer(train_func, scaling_config=ScalingConfig(num_workers=4)).fit()``.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.train import constants
from aktis.train._legacy.arguments import (
    check_count,
    checked_backend,
    checked_callbacks,
    checked_strategy,
    finish_callbacks,
    wants_details,
)
from aktis.train._legacy.checkpoints import RunCheckpoints, as_checkpoint
from aktis.train._legacy.datasets import make_shards
from aktis.train._legacy.directories import TrainerDirectory
from aktis.train._legacy.run import Attempts, Run, is_retried
from aktis.train._legacy.worker_group import TrainWorkerGroup
from aktis.train.backend import BackendConfig
from aktis.train.checkpoint import CheckpointStrategy

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import CheckpointConfig, ScalingConfig
    from aktis.train._execution.executor import TrainExecutor
    from aktis.train.callbacks import TrainingCallback

__all__ = ["TrainWorkerGroup", "Trainer", "TrainingIterator"]

logger = logging.getLogger(__name__)


class Trainer:
    """Runs training functions on several workers, which find each other as a backend wants.

    Args:
        backend: ``"torch"``, ``"tensorflow"``, or the configuration of a backend (``TorchConfig(...)``, one of your own).
        num_workers: How many workers.
        use_gpu: Whether each gets a GPU (or as many as ``resources_per_worker`` says).
        resources_per_worker: Resources of each worker. None: one CPU; where the cluster has fewer CPUs than workers, an equal part
            of them (with a warning); one GPU alone with ``use_gpu``.
        logdir: Where runs go: an absolute path, or one in ``~/aktis_results``. None: a new directory there.
        max_retries: How often workers that died or hang are made anew, in all runs together; -1: always. What the training
            function raises is never retried.

    Raises:
        TypeError: ``backend`` is no backend.
        ValueError: an unknown backend, or a value that makes no sense.
    """

    def __init__(
        self,
        backend: str | BackendConfig,
        num_workers: int,
        use_gpu: bool = False,
        resources_per_worker: dict[str, float] | None = None,
        logdir: str | os.PathLike[str] | None = None,
        max_retries: int = 3,
    ) -> None:
        self._backend_config = checked_backend(backend)
        check_count("num_workers", num_workers, 1, "1 or more")
        check_count("max_retries", max_retries, -1, "0 or more, or -1 for any number")
        self._num_workers = num_workers
        self._use_gpu = use_gpu
        self._resources = None if resources_per_worker is None else dict(resources_per_worker)
        self._max_retries = max_retries
        if resources_per_worker is not None or use_gpu:
            self._scaling()  # says what is wrong
        self._directory = TrainerDirectory(logdir)
        self._executor: TrainExecutor | None = None
        self._needs_restart = False
        self._hook: Callable[[], Any] | None = None
        self._attempts = Attempts(max_retries)
        self._run_directory: Path | None = None
        self._checkpoints: RunCheckpoints | None = None
        self._iterator: TrainingIterator | None = None

    # -- life --------------------------------------------------------------------------------------

    def start(self, initialization_hook: Callable[[], Any] | None = None) -> None:
        """Make the workers.

        Args:
            initialization_hook: Run once in each worker before all else; also in those that are made later for lost ones.

        Raises:
            RuntimeError: it was started already.
            TrainingFailedError: workers died or did not come, more often than ``max_retries`` allows.
        """
        if self._executor is not None:
            raise RuntimeError("this Trainer has been started: shutdown() comes before another start()")
        self._directory.make()
        self._hook = initialization_hook
        self._attempts = Attempts(self._max_retries)
        self._executor = self._new_executor()
        self._start_workers()

    def shutdown(self) -> None:
        """Stop the workers, in the middle of a run as well. The results stay; :meth:`start` makes new workers."""
        if self._iterator is not None:
            self._iterator._close()
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    def __enter__(self) -> Trainer:
        if self._executor is None:
            self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()

    def _new_executor(self) -> TrainExecutor:
        from aktis.train._execution.executor import TrainExecutor

        return TrainExecutor(self._backend_config, self._scaling(), name=type(self).__name__)

    def _start_workers(self) -> None:
        """Start the workers, again and again if that is allowed."""
        executor = self._started()
        while True:
            try:
                executor.start(self._hook)
                break
            except BaseException as error:
                try:
                    if not is_retried(error):
                        raise
                    self._attempts.after(error)
                except BaseException:
                    self.shutdown()
                    raise
        self._needs_restart = False

    def _restart_workers(self) -> None:
        executor = self._started()
        executor.shutdown()
        executor.start(self._hook)

    def _scaling(self) -> ScalingConfig:
        from aktis.train._legacy.trial import scaling_of

        return scaling_of(self._num_workers, self._use_gpu, self._resources)

    def _started(self) -> TrainExecutor:
        if self._executor is None:
            raise RuntimeError("this Trainer has no workers: call start() first")
        return self._executor

    # -- running -----------------------------------------------------------------------------------

    def run(
        self,
        train_func: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        config: dict[str, Any] | None = None,
        callbacks: Sequence[TrainingCallback] | None = None,
        dataset: Any = None,
        checkpoint: Checkpoint | dict[str, Any] | str | os.PathLike[str] | None = None,
        checkpoint_strategy: CheckpointStrategy | CheckpointConfig | None = None,
    ) -> list[Any]:
        """Run a function in all workers at once, and wait.

        Args:
            train_func: What to run, with the configuration as its argument, or with none.
            config: The configuration.
            callbacks: What is done with the results that it reports.
            dataset: A data set, or several by name, of which each worker gets its part (``train.get_dataset_shard``).
            checkpoint: What ``train.load_checkpoint`` gives at first: a dict, a Checkpoint, or the path of one.
            checkpoint_strategy: Which checkpoints are kept. None: all.

        Returns:
            What the function returned, by rank.

        Raises:
            RuntimeError: the Trainer has no workers, or another run has not ended.
            ValueError: ``train_func`` takes other arguments.
            TrainingFailedError: workers died or hung more often than ``max_retries`` allows.
            Exception: whatever ``train_func`` or a callback raises.
        """
        listeners = checked_callbacks(callbacks)
        iterator = self.run_iterator(train_func, config, dataset, checkpoint, checkpoint_strategy)
        started: list[TrainingCallback] = []
        failed = True
        try:
            for callback in listeners:
                started.append(callback)
                callback.start_training(logdir=str(self._run_directory), config=dict(config or {}))
            for results in iterator:
                for callback in listeners:
                    callback.process_results([dict(result) for result in results])
            failed = False
        finally:
            iterator._close()
            finish_callbacks(started, failed)
        values = iterator.get_final_results()
        assert values is not None
        return values

    def run_iterator(
        self,
        train_func: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        config: dict[str, Any] | None = None,
        dataset: Any = None,
        checkpoint: Checkpoint | dict[str, Any] | str | os.PathLike[str] | None = None,
        checkpoint_strategy: CheckpointStrategy | CheckpointConfig | None = None,
    ) -> TrainingIterator:
        """Run a function in all workers at once, report by report. The arguments are those of :meth:`run`.

        The workers wait between two reports, until the next one is asked for.
        """
        from aktis.train._execution.loops import takes_config
        from aktis.train._legacy.session import TrainFunction

        executor = self._started()
        if self._iterator is not None and not self._iterator.is_finished():
            raise RuntimeError(
                "the run before has not ended: get_final_results(force=True) of its iterator ends it, shutdown() stops it"
            )
        strategy = checked_strategy(checkpoint_strategy)
        function = TrainFunction(train_func, takes_config(train_func), wants_details())
        initial = as_checkpoint(checkpoint)
        shards = make_shards(dataset, self._num_workers)
        if self._needs_restart:
            self._start_workers()
        self._run_directory = self._directory.new_run()
        checkpoints = RunCheckpoints(self._run_directory / constants.TRAIN_CHECKPOINT_SUBDIR, strategy)
        writing = self._run_directory / ".writing"  # checkpoints, until they are whole
        writing.mkdir()

        def begin(latest: Checkpoint | None) -> None:
            executor.begin(function, config, directory=str(writing), shards=shards, checkpoint=latest)

        run = Run(executor, begin, self._restart_workers, self._attempts, checkpoints, initial)
        self._checkpoints = checkpoints
        self._iterator = TrainingIterator(self, run, executor, checkpoints, writing)
        self._iterator._start()
        return self._iterator

    def _stop_workers(self) -> None:
        """The run stopped in the middle of something: its workers are of no use to the next one, which makes new ones."""
        if self._executor is not None:
            self._executor.shutdown()
            self._needs_restart = True

    # -- what came of it ---------------------------------------------------------------------------

    @property
    def logdir(self) -> Path:
        """The directory of this Trainer. It is there once the Trainer was started."""
        return self._directory.path

    @property
    def latest_run_dir(self) -> Path | None:
        """The directory of the latest run (``run_001``, ...); None before the first."""
        return self._run_directory

    @property
    def latest_checkpoint_dir(self) -> Path | None:
        """The directory with the checkpoints of the latest run; None before the first run."""
        return None if self._checkpoints is None else self._checkpoints.directory

    @property
    def latest_checkpoint(self) -> dict[str, Any] | None:
        """The newest checkpoint of the latest run; None when it saved none."""
        latest = None if self._checkpoints is None else self._checkpoints.latest
        return None if latest is None else latest.to_dict()

    @property
    def best_checkpoint_path(self) -> Path | None:
        """Where the best checkpoint of the latest run is, as its :class:`CheckpointStrategy` counts; None when none was kept."""
        return None if self._checkpoints is None else self._checkpoints.best_path

    @property
    def best_checkpoint(self) -> dict[str, Any] | None:
        """The best checkpoint of the latest run; None when none was kept."""
        path = self.best_checkpoint_path
        return None if path is None else self.load_checkpoint_from_path(path)

    @staticmethod
    def load_checkpoint_from_path(checkpoint_file_path: str | os.PathLike[str]) -> dict[str, Any]:
        """What was saved in the checkpoint at a path.

        Raises:
            CheckpointNotFoundError: there is none.
        """
        found = as_checkpoint(os.fspath(checkpoint_file_path))
        assert found is not None
        return found.to_dict()

    # -- other ways to use the workers -------------------------------------------------------------

    def to_tune_trainable(self, train_func: Callable[[dict[str, Any]], Any], dataset: Any = None) -> Any:
        """Make a trainable for ``tune.run`` or ``Tuner``, each trial of which has workers of its own.

        What rank 0 reports are the results of a trial, what it saves are its checkpoints. This Trainer need not be started.

        Args:
            train_func: What to run in the workers; the trial's configuration is its argument.
            dataset: See :meth:`run`.
        """
        from aktis import tune
        from aktis.train._execution.loops import takes_config
        from aktis.train._legacy.trial import TrialFunction

        takes_config(train_func)
        trial = TrialFunction(
            self._backend_config,
            self._num_workers,
            self._use_gpu,
            self._resources,
            self._max_retries,
            train_func,
            wants_details(),
        )
        function = trial if dataset is None else tune.with_parameters(trial, dataset=dataset)
        return tune.with_resources(function, trial.resources)

    def to_worker_group(self, train_cls: type, *args: Any, **kwargs: Any) -> TrainWorkerGroup:
        """Make an actor of a class of yours in each worker, connected by the backend, to be driven by hand.

        Args:
            train_cls: The class.
            *args: Its arguments.
            **kwargs: Its arguments by name.

        Raises:
            RuntimeError: this Trainer has workers already.
        """
        from aktis.air.worker_group import WorkerGroup
        from aktis.train._execution.allocation import resources_per_worker
        from aktis.train._execution.gpu import share_gpus

        if self._executor is not None:
            raise RuntimeError("this Trainer has workers already: shutdown() comes before to_worker_group()")
        if not isinstance(train_cls, type):
            raise TypeError(f"to_worker_group needs a class, not {train_cls!r}")
        resources = resources_per_worker(self._scaling())
        group = WorkerGroup(self._num_workers, resources, actor_cls=train_cls, actor_args=args, actor_kwargs=kwargs)
        backend = self._backend_config.backend_cls()

        def stop(patience_s: float) -> None:
            if len(group):
                try:
                    backend.on_shutdown(group, self._backend_config)
                except Exception:
                    logger.warning("the backend could not be shut down", exc_info=True)
                group.shutdown(patience_s)

        try:
            if backend.share_cuda_visible_devices:
                share_gpus(group)
            backend.on_start(group, self._backend_config)
        except BaseException:
            group.shutdown(0)
            raise
        return TrainWorkerGroup(group, stop)


class TrainingIterator:
    """The results of :meth:`Trainer.run_iterator`: a list for each report, by rank."""

    def __init__(
        self, trainer: Trainer, run: Run, executor: TrainExecutor, checkpoints: RunCheckpoints, writing: Path
    ) -> None:
        self._trainer = trainer
        self._run = run
        self._executor = executor
        self._checkpoints = checkpoints
        self._writing = writing
        self._finished = False
        self._values: list[Any] | None = None

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        return self

    def __next__(self) -> list[dict[str, Any]]:
        if self._finished:
            raise StopIteration
        try:
            results = self._run.next()
        except BaseException:
            self._close()
            raise
        if results is None:
            self._values = list(self._executor.values)
            self._end()
            raise StopIteration
        return results

    def is_finished(self) -> bool:
        """Whether the run has ended, well or badly."""
        return self._finished

    def get_final_results(self, force: bool = False) -> list[Any] | None:
        """What the training function returned, by rank.

        Args:
            force: Whether to run it to its end if it has not ended; the results on the way are lost then.

        Returns:
            None when it has not ended, or not well.
        """
        if not self._finished:
            if not force:
                logger.info("the run has not ended: iterate on, or call get_final_results(force=True)")
                return None
            for _ in self:
                pass
        return self._values

    def _start(self) -> None:
        try:
            self._run.start()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        """End the run wherever it is."""
        if not self._finished:
            self._trainer._stop_workers()
            self._end()

    def _end(self) -> None:
        self._finished = True
        self._checkpoints.close()
        shutil.rmtree(self._writing, ignore_errors=True)  # with what a worker was writing when it was stopped


def __getattr__(name: str) -> Any:
    if name in (
        "BaseTrainer",
        "GenDataset",
        "TrainingFailedError",
    ):  # where some programs of later versions look for them
        from aktis.train import base_trainer

        return getattr(base_trainer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
