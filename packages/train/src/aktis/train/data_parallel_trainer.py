"""The same training loop on several workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air import session_host
from aktis.air.config import RunConfig, ScalingConfig, is_search_value
from aktis.air.dataset_config import DatasetConfig
from aktis.air.placement import PlacementGroupFactory
from aktis.train.backend import BackendConfig
from aktis.train.base_trainer import BaseTrainer, GenDataset, _shown, _that_fits

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.data.preprocessor import Preprocessor
    from aktis.train._execution.observer import Observer
    from aktis.train._ingest import Ingest

__all__ = ["DataParallelTrainer"]


class DataParallelTrainer(BaseTrainer):
    """Runs a training loop on several workers at once, each with its part of the data.

    ::

        def train_loop(config):
            for epoch in range(config["epochs"]):
                for batch in session.get_dataset_shard("train").iter_batches():
                    ...
                session.report({"loss": loss}, checkpoint=Checkpoint.from_dict({"weights": weights}))

        trainer = DataParallelTrainer(
            train_loop,
            train_loop_config={"epochs": 10},
            scaling_config=ScalingConfig(num_workers=4),
            datasets={"train": dataset},
        )
        result = trainer.fit()

    All workers must report equally often. Rank 0's metrics are the result; files of checkpoints are merged. What a loop returns is
    not used. What connects the workers is a :class:`aktis.train.backend.Backend`; frameworks have subclasses with theirs.

    Args:
        train_loop_per_worker: The training loop: a function of one argument, the configuration, or of none.
        train_loop_config: The configuration.
        backend_config: What connects the workers. None: nothing does.
        scaling_config: How many workers (one by default), and what each takes. ``num_workers=(2, 8)``: as many as there is room
            for, at least 2; when workers are lost it goes on with fewer, and with more when there is room again.
        dataset_config: How each data set is handed out: whether it is split, fitted on, shuffled.
        run_config: Name, directory, failures, checkpoints, callbacks.
        datasets: Data sets by name: ``session.get_dataset_shard(name)``. "train" is split, of others each worker gets all.
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: What ``session.get_checkpoint()`` gives at first.
        metadata: Kept with the run: ``session.get_metadata()``.

    Raises:
        ValueError, TypeError: an argument makes no sense.
    """

    _has_workers: ClassVar[bool] = True
    _scaling_config_allowed_keys: ClassVar[tuple[str, ...]] = (
        "num_workers", "use_gpu", "resources_per_worker", "trainer_resources", "placement_strategy", "_max_cpu_fraction_per_node",
        "elastic_resize_monitor_interval_s",
    )  # fmt: skip
    _dataset_config: ClassVar[Mapping[str, DatasetConfig]] = {
        "train": DatasetConfig(fit=True, split=True),
        "*": DatasetConfig(split=False),
    }

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        backend_config: BackendConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | Any = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, GenDataset] | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._train_loop_per_worker = train_loop_per_worker
        self._train_loop_config: dict[str, Any] = {} if train_loop_config is None else train_loop_config  # type: ignore[assignment]
        self._backend_config = BackendConfig() if backend_config is None else backend_config
        self._given_dataset_config = dataset_config
        self._ingest: Ingest | None = None
        super().__init__(
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: with the loop as it is to reach the workers, since the trial on its way has no use for it."""
        from aktis.train._execution.loops import TravellingLoop

        loop = self._train_loop_per_worker
        travelling = loop if isinstance(loop, TravellingLoop) else TravellingLoop(loop)
        arguments = {name: travelling if value is loop else value for name, value in self._arguments.items()}
        return {**self.__dict__, "_train_loop_per_worker": travelling, "_arguments": arguments}

    def _check_arguments(self) -> None:
        from aktis.train._execution.loops import takes_config

        if not callable(self._train_loop_per_worker):
            raise TypeError(
                f"train_loop_per_worker must be a function of the config, or of nothing, not {_shown(self._train_loop_per_worker)}"
            )
        takes_config(self._train_loop_per_worker)
        if not isinstance(self._train_loop_config, Mapping):
            raise TypeError(f"train_loop_config must be a dict, not {_shown(self._train_loop_config)}")
        if not isinstance(self._backend_config, BackendConfig):
            raise TypeError(f"backend_config must be a BackendConfig, not {_shown(self._backend_config)}")
        super()._check_arguments()
        self._check_dataset_config()

    def _check_dataset_config(self) -> None:
        given = self._given_dataset_config
        if given is not None and not isinstance(given, Mapping):
            if not callable(getattr(given, "configure", None)) or isinstance(given, type):
                raise TypeError(
                    f"dataset_config must be a dict such as {{'train': DatasetConfig(...)}}, or a DataConfig, not {_shown(given)}"
                )
            return  # newer DataConfigs check themselves
        names = {name: None for name, dataset in self.datasets.items() if not is_search_value(dataset)}
        DatasetConfig.validated(DatasetConfig.merge(self._dataset_config, given), names)

    def get_dataset_config(self) -> dict[str, DatasetConfig]:
        """How each data set is handed out, with all defaults; "*" stands for names that are not there."""
        given = self._given_dataset_config
        merged = DatasetConfig.merge(self._dataset_config, given if isinstance(given, Mapping) else None)
        return {name: config.fill_defaults() for name, config in merged.items()}

    def _dataset_configs(self) -> Any:
        given = self._given_dataset_config
        return given if given is not None and not isinstance(given, Mapping) else self.get_dataset_config()

    def preprocess_datasets(self) -> None:
        if not self.datasets:
            return
        from aktis.train._ingest import Ingest

        self._ingest = Ingest(self.datasets, self._dataset_configs(), self.preprocessor)
        self.preprocessor = self._ingest.prepare()
        self.datasets = dict(self._ingest.datasets)

    def _resource_request(self) -> PlacementGroupFactory:
        return _that_fits(self._one_worker_at_least()).as_placement_group_factory()

    def _one_worker_at_least(self) -> ScalingConfig:
        import dataclasses

        scaling = self.scaling_config
        return scaling if scaling.num_workers else dataclasses.replace(scaling, num_workers=1)

    def _metrics_of_round(self, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        """What is reported of a round, from what each rank has reported: that of rank 0."""
        return metrics[0]

    def _make_observer(self, directory: str) -> Observer | None:
        """Who is told how it goes: what writes down what the page of the run shows."""
        from aktis.train._report.recorder import RunRecorder, describe

        return RunRecorder(directory, describe(self))

    def training_loop(self) -> None:
        """Run the loop on the workers, and report each of its rounds."""
        from aktis.train._execution.run import TrainingRun
        from aktis.tune.trainable.session import TuneSession

        host = session_host.current()
        if not isinstance(host, TuneSession):
            raise RuntimeError(f"{type(self).__name__}.training_loop is run by fit(), or by a Tuner")
        run = TrainingRun(self, host, self._train_loop_per_worker, dict(self._train_loop_config))
        run.run()

    @property
    def name(self) -> str:
        """What is in front of the workers' output."""
        return type(self).__name__

    def _directory(self) -> str | None:
        host = session_host.current()
        found = None if host is None else host.get_trial_dir()
        return None if found is None else os.path.abspath(found)
