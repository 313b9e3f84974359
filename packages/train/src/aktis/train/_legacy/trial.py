"""A training function of the older ``Trainer`` as a trial of Tune."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train import _settings
from aktis.train._legacy.datasets import make_shards
from aktis.train._legacy.resources import share_of_cpus
from aktis.train._legacy.run import Attempts, Run
from aktis.train._legacy.session import TrainFunction

if TYPE_CHECKING:
    from aktis.air.config import ScalingConfig
    from aktis.air.placement import PlacementGroupFactory
    from aktis.train.backend import BackendConfig
    from aktis.tune.trainable.session import TuneSession

__all__ = ["TrialFunction", "scaling_of"]


def scaling_of(
    num_workers: int, use_gpu: bool, resources: Mapping[str, float] | None, warn: bool = True
) -> ScalingConfig:
    """The workers of a Trainer, as the executor wants to know them.

    Args:
        num_workers: How many.
        use_gpu: Whether each gets a GPU.
        resources: What each gets. None: what suits this cluster.
        warn: Whether to say so when that is not a whole CPU.
    """
    from aktis.air.config import ScalingConfig

    if resources is None and not use_gpu:
        resources = share_of_cpus(num_workers, warn)
    strategy = "SPREAD" if _settings.WORKER_SPREAD.read() else "PACK"
    return ScalingConfig(
        trainer_resources={},
        num_workers=num_workers,
        use_gpu=use_gpu,
        resources_per_worker=resources,
        placement_strategy=strategy,
    )


@dataclass(frozen=True)
class TrialFunction:
    """What runs in a trial: it starts workers in the trial's bundles, and reports what rank 0 reports.

    Args:
        backend_config: How the workers find each other.
        num_workers: How many.
        use_gpu: Whether each gets a GPU.
        resources_per_worker: What each gets; None: what suits the cluster.
        max_retries: How often workers are made anew in a trial.
        function: The user's.
        detailed: Whether results get the detailed keys.
    """

    backend_config: BackendConfig
    num_workers: int
    use_gpu: bool
    resources_per_worker: Mapping[str, float] | None
    max_retries: int
    function: Callable[..., Any]
    detailed: bool

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def resources(self, config: Mapping[str, Any]) -> PlacementGroupFactory:
        """A bundle for each worker; the trial itself waits for them, and takes nothing."""
        return self._scaling().as_placement_group_factory()

    def _scaling(self) -> ScalingConfig:
        return scaling_of(self.num_workers, self.use_gpu, self.resources_per_worker, warn=False)

    def __call__(self, config: dict[str, Any], dataset: Any = None) -> None:
        from aktis.air import session_host
        from aktis.train._execution.allocation import trial_bundles
        from aktis.train._execution.executor import TrainExecutor
        from aktis.train._execution.loops import takes_config
        from aktis.tune.trainable.session import TuneSession

        host = session_host.current()
        if not isinstance(host, TuneSession):
            raise RuntimeError("what to_tune_trainable() made is run by tune.run, or by a Tuner")
        directory = os.path.abspath(host.get_trial_dir() or ".")
        executor = TrainExecutor(self.backend_config, self._scaling(), name="Trainer", trial=trial_bundles(host))
        function = TrainFunction(self.function, takes_config(self.function), self.detailed)
        shards = make_shards(dataset, self.num_workers)

        def begin(checkpoint: Checkpoint | None) -> None:
            executor.begin(function, config, directory=directory, shards=shards, checkpoint=checkpoint)

        def restart() -> None:
            executor.shutdown()
            executor.start()

        checkpoints = _TrialCheckpoints(host)
        try:
            executor.start()
            run = Run(executor, begin, restart, Attempts(self.max_retries), checkpoints, host.get_checkpoint())
            run.start()
            _report(run, checkpoints)
        finally:
            executor.shutdown()


def _report(run: Run, checkpoints: _TrialCheckpoints) -> None:
    """Report what rank 0 reports; a checkpoint goes with the report that follows it."""
    last: dict[str, Any] = {}
    while True:
        results = run.next()
        if results is None:
            break
        last = results[0]
        checkpoints.report(last)
    if checkpoints.is_waiting:
        checkpoints.report(last)


class _TrialCheckpoints:
    """Hands the checkpoints of a run on to Tune, the newest with each report."""

    def __init__(self, host: TuneSession) -> None:
        self._host = host
        self._waiting: str | None = None
        self._latest: str | None = None

    @property
    def latest(self) -> Checkpoint | None:
        return None if self._latest is None else Checkpoint.from_directory(self._latest)

    @property
    def is_waiting(self) -> bool:
        return self._waiting is not None

    def add(self, written: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
        target = self._host.new_directory()
        os.rename(written, target)  # which is empty
        if self._waiting is not None:
            shutil.rmtree(self._waiting, ignore_errors=True)
        self._waiting = self._latest = target

    def report(self, metrics: dict[str, Any]) -> None:
        waiting, self._waiting = self._waiting, None
        persisted = self._host.report_directory(metrics, waiting)
        if persisted is not None:
            self._latest = persisted
