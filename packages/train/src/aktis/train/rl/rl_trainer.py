"""Algorithms of reinforcement learning as a trainer."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.train.base_trainer import BaseTrainer, GenDataset
from aktis.train.rl._algorithms import algorithm_class
from aktis.train.rl.rl_checkpoint import STATE, RLCheckpoint, load_state, write_algorithm

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.placement import PlacementGroupFactory
    from aktis.data.preprocessor import Preprocessor
    from aktis.tune.trainable import Trainable

__all__ = ["RLTrainer"]

_OF_DATASETS = ("input", "input_config", "evaluation_config")


class RLTrainer(BaseTrainer):
    """Runs an algorithm of aktis.rllib, or any class of trainables that is stepped, saved and restored like one.

    ::

        trainer = RLTrainer(
            "PPO",
            config={"env": "CartPole-v1", "lr": 1e-3},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(stop={"training_iteration": 10}, checkpoint_config=CheckpointConfig(checkpoint_frequency=5)),
        )
        policy = trainer.fit().checkpoint.get_policy()

    Each step of the algorithm is a report. The run ends by ``RunConfig(stop=...)``, or when a step returns ``done``; a
    checkpoint is made at the end, unless ``checkpoint_at_end=False``.

    Args:
        algorithm: Its class, or its name.
        config: Its configuration; a dict, or what has ``to_dict()``. What ``scaling_config`` says goes into ``num_workers``,
            ``num_cpus_per_worker``, ``num_gpus_per_worker``, ``custom_resources_per_worker``, ``num_cpus_for_driver`` and
            ``num_gpus``, unless the configuration has it.
        scaling_config: How many rollout workers, and what each of them and the trainer take.
        run_config: Name and place of the run, when it stops, failures, checkpoints.
        datasets: "train", for learning from recorded experience: the configuration gets ``input`` and ``input_config``; and
            "evaluation", which goes into ``evaluation_config``.
        preprocessor: Applied to the data sets, and stored with the checkpoints.
        resume_from_checkpoint: What the algorithm goes on from.

    Raises:
        ImportError: ``algorithm`` is a name, and aktis.rllib is not installed.
        TypeError: ``algorithm`` is neither a name nor a class of trainables; ``config`` is no dict.
        ValueError: a data set with another name, or another argument that makes no sense.
    """

    _scaling_config_allowed_keys: ClassVar[tuple[str, ...]] = (
        "num_workers", "use_gpu", "resources_per_worker", "trainer_resources", "placement_strategy", "_max_cpu_fraction_per_node",
    )  # fmt: skip
    _handles_checkpoint_freq: ClassVar[bool] = True
    _handles_checkpoint_at_end: ClassVar[bool] = True

    def __init__(
        self,
        algorithm: str | type[Trainable],
        *,
        config: Mapping[str, Any] | Any = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, GenDataset] | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        algorithm_class(algorithm)
        self._algorithm = algorithm
        self._config: Any = {} if config is None else _changed(config) if hasattr(config, "to_dict") else config
        if not isinstance(self._config, Mapping):
            raise TypeError(f"config must be a dict, or an AlgorithmConfig, not {config!r}")
        super().__init__(
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
        )
        unknown = [name for name in self.datasets if name not in ("train", "evaluation")]
        if unknown:
            raise ValueError(f"the data set {unknown[0]!r} is not expected; expected are: 'train', 'evaluation'")
        checkpoints = self.run_config.checkpoint_config
        if checkpoints is None or checkpoints.checkpoint_at_end is None:
            from aktis.air.config import CheckpointConfig

            at_end = dataclasses.replace(checkpoints or CheckpointConfig(), checkpoint_at_end=True)
            self.run_config = dataclasses.replace(self.run_config, checkpoint_config=at_end)

    def training_loop(self) -> None:
        """Not used: Tune steps the algorithm itself. See :meth:`as_trainable`."""
        raise RuntimeError("the algorithm of an RLTrainer is run by fit(), or by a Tuner")

    def algorithm_config(self) -> dict[str, Any]:
        """The configuration that the algorithm gets."""
        from aktis.train.base_trainer import _that_fits

        scaling, config = self.scaling_config, dict(self._config)
        said: dict[str, Any] = {}
        if scaling.num_workers is not None:
            workers = scaling.num_workers[0] if isinstance(scaling.num_workers, tuple) else scaling.num_workers
            said["num_workers"] = workers
            said["num_cpus_per_worker"] = scaling.num_cpus_per_worker
            said["num_gpus_per_worker"] = scaling.num_gpus_per_worker
            if scaling.additional_resources_per_worker:
                said["custom_resources_per_worker"] = scaling.additional_resources_per_worker
        own = _that_fits(scaling).trainer_resources
        if own is not None:
            said["num_cpus_for_driver"] = own.get("CPU", 0)
            said["num_gpus"] = own.get("GPU", 0)
        for name, key in (("train", None), ("evaluation", "evaluation_config")):
            if name in self.datasets:
                reader = {"input": "dataset", "input_config": {"loader_fn": _Loader(self.datasets[name])}}
                said.update(reader if key is None else {key: {**reader, **(config.get(key) or {})}})
        return {**said, **config, **{key: said[key] for key in ("evaluation_config",) if key in said}}

    def as_trainable(self) -> type[Trainable]:
        """The algorithm as a class that Tune can run: its trials' configurations are arguments of this trainer."""
        cls = algorithm_class(self._algorithm)
        members = {"_rl_trainer": self, "_algorithm_class": cls, "__module__": __name__, "__doc__": cls.__doc__}
        return type(type(self).__name__, (_OfTrainer, cls), members)


def _changed(config: Any) -> dict[str, Any]:
    """The settings of an AlgorithmConfig that are not the defaults: those of the ScalingConfig go before defaults."""
    default = type(config)().to_dict()
    return {
        key: value for key, value in config.to_dict().items() if key not in default or not _equal(value, default[key])
    }


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one is other or one == other)
    except Exception:  # arrays
        return False


class _Loader:
    """Gives a data set to whoever reads it, in workers too."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __call__(self) -> Any:
        return self._dataset


class _OfTrainer:
    """In front of the class of an algorithm: configured by arguments of the trainer, it makes RLCheckpoints."""

    _rl_trainer: RLTrainer

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        logger_creator: Callable[[dict[str, Any]], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        trainer = self._trainer = self._rl_trainer._with(config or {})
        trainer.setup()
        trainer.preprocess_datasets()
        base: Any = super()
        base.__init__(trainer.algorithm_config(), logger_creator=logger_creator, **kwargs)
        if trainer.resume_from_checkpoint is not None:
            own: Any = self
            with trainer.resume_from_checkpoint.as_directory() as folder:
                own.restore(folder)

    def save_checkpoint(self, checkpoint_dir: str) -> Any:
        from aktis.air.checkpoint import Checkpoint

        base: Any = super()
        saved = base.save_checkpoint(checkpoint_dir)
        trainer, config = self._trainer, self._trainer.algorithm_config()
        if trainer.datasets:  # the policy does without what it has learnt from
            config = {name: value for name, value in config.items() if name not in _OF_DATASETS}
        write_algorithm(checkpoint_dir, trainer._algorithm, config)
        if isinstance(saved, Mapping):  # written here, since Tune would make it a checkpoint of no special class
            Checkpoint.from_dict({STATE: dict(saved)}).to_directory(os.path.join(checkpoint_dir, STATE))
            saved = None
        checkpoint = RLCheckpoint.from_directory(checkpoint_dir)
        if trainer.preprocessor is not None:
            checkpoint.set_preprocessor(trainer.preprocessor)
        checkpoint.to_directory(checkpoint_dir)
        return saved

    def load_checkpoint(self, checkpoint: Any) -> None:
        load_state(super(), checkpoint)

    def reset(self, new_config: dict[str, Any], logger_creator: Callable[[dict[str, Any]], Any] | None = None) -> bool:
        trainer = self._rl_trainer._with(new_config)
        trainer.setup()
        trainer.preprocess_datasets()
        base: Any = super()
        if not base.reset(trainer.algorithm_config(), logger_creator):
            return False
        self._trainer = trainer
        return True

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        trainer = cls._rl_trainer._with(config)
        base: Any = super()
        asked: PlacementGroupFactory | None = base.default_resource_request(trainer.algorithm_config())
        return trainer._resource_request() if asked is None else asked
