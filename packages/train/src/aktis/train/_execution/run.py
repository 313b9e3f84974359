"""One training run in a trial of Tune: workers, rounds, and, for elastic runs, fewer or more workers."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import WorkerStartError
from aktis.train._execution.allocation import resources_per_worker, room_for, trial_bundles, worker_range
from aktis.train._execution.executor import Round, TrainExecutor
from aktis.train._execution.merging import remove_unfinished
from aktis.train._execution.messages import LoopFacts
from aktis.train._execution.observer import Observer
from aktis.train.error import NothingReportedWarning, RendezvousError, WorkerHungError, WorkerLostError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.train.data_parallel_trainer import DataParallelTrainer
    from aktis.tune.trainable.session import TuneSession

__all__ = ["TrainingRun"]

logger = logging.getLogger(__name__)

_SURVIVED = (WorkerLostError, WorkerHungError, RendezvousError, WorkerStartError)  # by elastic runs
MOST_IN_VAIN = 3  # groups one after the other that are lost before their first round: the next would be, too


class TrainingRun:
    """Runs a trainer's loop, and reports its rounds to Tune.

    Args:
        trainer: The trainer of this trial.
        host: The session of the trial.
        function: The training loop.
        config: Its configuration.
    """

    def __init__(
        self, trainer: DataParallelTrainer, host: TuneSession, function: Callable[..., Any], config: dict[str, Any]
    ) -> None:
        self._trainer = trainer
        self._host = host
        self._function = function
        self._config = config
        directory = trainer._directory()
        assert directory is not None
        self._directory = directory
        self._scaling = trainer._one_worker_at_least()
        self._observer = trainer._make_observer(directory) or Observer()
        self._latest: Checkpoint | None = trainer.resume_from_checkpoint
        self._last_metrics: dict[str, Any] | None = None
        self._in_vain = 0
        self._checked = time.monotonic()
        self._executor = TrainExecutor(
            trainer._backend_config,
            self._scaling,
            name=trainer.name,
            trial=trial_bundles(host),
            settings=trainer._settings,
            observer=self._observer,
        )

    def run(self) -> None:
        """Run to the end.

        Raises:
            What the loop raises, or what became of the workers.
        """
        try:
            while not self._run_once():
                pass
        finally:
            ingest = self._trainer._ingest
            if ingest is not None:
                ingest.close()
        if self._last_metrics is None:
            warnings.warn(
                f"the training loop of {self._trainer.name} returned without a report, so that the run has no results: call "
                "session.report({...}) in it",
                NothingReportedWarning,
                stacklevel=2,
            )

    def _run_once(self) -> bool:
        """Run with one group of workers. Returns whether the loop has ended."""
        executor = self._executor
        rounds = 0
        try:
            executor.start()
            remove_unfinished(self._directory)  # of the group before
            self._begin()
            for current in executor.rounds():
                self._deliver(current)
                rounds += 1
                if current.persisted is not None and self._may_grow():
                    self._announce_restart("there is room for more workers")
                    return False
        except _SURVIVED as error:
            if not self._is_survived(error, rounds):
                raise
            self._announce_restart(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            return False
        finally:
            executor.shutdown()
        self._deliver_last(executor.last_checkpoint)
        return True

    def _is_survived(self, error: BaseException, rounds: int) -> bool:
        """Whether an elastic run goes on with another group: not after several that came to nothing one after the other."""
        if not self._scaling.is_elastic or (isinstance(error, WorkerStartError) and error.__cause__ is None):
            return False
        self._in_vain = 0 if rounds else self._in_vain + 1
        return self._in_vain < MOST_IN_VAIN

    def _begin(self) -> None:
        trainer, host = self._trainer, self._host
        log_to_file = bool(trainer.run_config.log_to_file)
        facts = LoopFacts(
            experiment_name=host.get_experiment_name(),
            trial_name=host.get_trial_name(),
            trial_id=host.get_trial_id(),
            trial_dir=self._directory,
            trial_resources=host.get_trial_resources(),
            metadata=trainer.metadata,
            log_file="rank_{rank}.log" if log_to_file else None,
        )
        self._executor.begin(
            self._function,
            self._config,
            directory=self._directory,
            shards=None if trainer._ingest is None else trainer._ingest.shards,
            checkpoint=self._latest,
            facts=facts,
            preprocessor=trainer.preprocessor,
        )

    def _deliver(self, current: Round) -> None:
        """Report a round; returns when it is safe."""
        folder = None if current.checkpoint is None else self._adopt(current.checkpoint)
        self._last_metrics = metrics = self._trainer._metrics_of_round(current.metrics)
        current.persisted = self._host.report_directory(metrics, folder)
        self._remember(current.persisted)

    def _deliver_last(self, checkpoint: str | None) -> None:
        """Report a checkpoint that was saved after the last report."""
        if checkpoint is not None:
            self._remember(self._host.report_directory(self._last_metrics or {}, self._adopt(checkpoint)))

    def _adopt(self, folder: str) -> str:
        target = self._host.new_directory()
        os.rename(folder, target)  # which is empty
        return target

    def _remember(self, path: str | None) -> None:
        from aktis.air.checkpoint import Checkpoint

        if path is not None:
            self._latest = Checkpoint.from_directory(path)

    # -- elastic runs --------------------------------------------------------------------------------

    def _may_grow(self) -> bool:
        """Whether there is room for more workers; looked at now and then."""
        if not self._scaling.is_elastic:
            return False
        now = time.monotonic()
        if now < self._checked + self._scaling.elastic_resize_monitor_interval_s:
            return False
        self._checked = now
        if len(self._executor.worker_group) >= worker_range(self._scaling)[1]:
            return False
        return room_for(resources_per_worker(self._scaling)) >= 1

    def _announce_restart(self, reason: str) -> None:
        logger.info(
            "%s with %d workers is started anew from its latest checkpoint: %s",
            self._trainer.name, self._executor.size, reason,
        )  # fmt: skip
        self._observer.on_restart(reason)
