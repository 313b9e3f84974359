"""What all trainers have in common: their arguments, how they become a trial of Tune, and what ``fit`` returns."""

from __future__ import annotations

import abc
import copy
import dataclasses
import inspect
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aktis.air.config import RunConfig, ScalingConfig, is_search_value
from aktis.air.placement import PlacementGroupFactory
from aktis.train._execution.mistakes import check_names, check_nothing_to_search, is_to_search
from aktis.train._execution.settings import Settings
from aktis.train._execution.summary import check_installed, in_short
from aktis.train.error import TrainingFailedError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.result import Result
    from aktis.data.preprocessor import Preprocessor
    from aktis.tune.trainable import Trainable

__all__ = ["BaseTrainer", "GenDataset", "TrainingFailedError"]

logger = logging.getLogger(__name__)

T = TypeVar("T", bound="BaseTrainer")

GenDataset = Any
"""A Dataset, or a function without arguments that makes one."""


class BaseTrainer(abc.ABC):
    """A training run, described first and then started by :meth:`fit`.

    A subclass has a :meth:`training_loop`, which runs in a process of its own, and reports::

        class MeanTrainer(BaseTrainer):
            def training_loop(self):
                mean = self.datasets["train"].mean("x")
                session.report({"mean": mean}, checkpoint=Checkpoint.from_dict({"mean": mean}))

    For loops on many workers see :class:`aktis.train.data_parallel_trainer.DataParallelTrainer`.

    The arguments that a search may vary (``Tuner(trainer, param_space={...})``) are those of the constructor, by name.

    Args:
        scaling_config: How many workers, and what each takes.
        run_config: Name, directory, failures, checkpoints, callbacks.
        datasets: Data sets by name, or functions that make them. The preprocessor is fitted on "train".
        preprocessor: Applied to all data sets.
        resume_from_checkpoint: What the run goes on from.
        metadata: Anything JSON can hold, to be kept with the run: ``session.get_metadata()``.

    Raises:
        ValueError, TypeError: an argument makes no sense.
    """

    _scaling_config_allowed_keys: ClassVar[tuple[str, ...]] = ("trainer_resources", "_max_cpu_fraction_per_node")
    _handles_checkpoint_freq: ClassVar[bool] = False  # whether it makes checkpoints by itself, as CheckpointConfig says
    _handles_checkpoint_at_end: ClassVar[bool] = False
    _has_workers: ClassVar[bool] = False  # whether it runs, and records, a group of workers
    _library: ClassVar[tuple[tuple[str, ...], str] | None] = None  # modules, one of which is needed; what installs it
    _arguments: dict[str, Any]
    _restored: _Restored | None = None
    _given_anew: frozenset[str] = frozenset()  # names of arguments that restore() was given

    def __new__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        trainer = super().__new__(cls)
        if args or kwargs:
            trainer._arguments = _by_name(cls, trainer, args, kwargs)
        else:
            trainer._arguments = {}
        return trainer

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {}  # pickling restores attributes, the arguments among them

    def __init__(
        self,
        *,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, GenDataset] | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.scaling_config = ScalingConfig() if scaling_config is None else scaling_config
        self.run_config = RunConfig() if run_config is None else run_config
        self.datasets: dict[str, Any] = {} if datasets is None else datasets  # type: ignore[assignment]
        self.preprocessor = preprocessor
        self.resume_from_checkpoint = resume_from_checkpoint
        self.metadata: dict[str, Any] = {} if metadata is None else metadata  # type: ignore[assignment]
        self._settings = Settings.from_environment()
        self._check_arguments()
        self.datasets = dict(self.datasets)
        self.metadata = dict(self.metadata)

    # -- what a subclass defines -------------------------------------------------------------------

    def setup(self) -> None:
        """Called in the run's process, before anything else."""

    def preprocess_datasets(self) -> None:
        """Called after :meth:`setup`: fits the preprocessor and applies it; ``self.datasets`` are then as the loop gets them."""
        if not self.datasets:
            return
        from aktis.train._ingest import Ingest

        ingest = Ingest(self.datasets, self._dataset_configs(), self.preprocessor)
        self.preprocessor = ingest.prepare()
        self.datasets = dict(ingest.datasets)

    @abc.abstractmethod
    def training_loop(self) -> None:
        """The training. Called in the run's process after :meth:`preprocess_datasets`; reports with ``session.report``."""

    def _run(self) -> None:
        """All of the above, in the run's process."""
        self.setup()
        self.preprocess_datasets()
        self.training_loop()

    def _dataset_configs(self) -> Any:
        from aktis.air.dataset_config import DatasetConfig

        return {"train": DatasetConfig(fit=True), "*": DatasetConfig()}

    # -- arguments ----------------------------------------------------------------------------------

    def _check_arguments(self) -> None:
        if not isinstance(self.scaling_config, ScalingConfig):
            raise ValueError(f"scaling_config must be a ScalingConfig, not {_shown(self.scaling_config)}")
        if not isinstance(self.run_config, RunConfig):
            raise ValueError(f"run_config must be a RunConfig, not {_shown(self.run_config)}")
        self._check_checkpoint_config()
        self._check_scaling(self.scaling_config)
        self._check_datasets()
        self._check_preprocessor()
        if self.resume_from_checkpoint is not None:
            from aktis.air.checkpoint import Checkpoint

            if not isinstance(self.resume_from_checkpoint, Checkpoint):
                raise ValueError(
                    f"resume_from_checkpoint must be a Checkpoint, not {_shown(self.resume_from_checkpoint)}: make one with "
                    "Checkpoint.from_directory"
                )
        if not isinstance(self.metadata, Mapping):
            raise ValueError(f"metadata must be a dict, not {_shown(self.metadata)}")

    def _check_checkpoint_config(self) -> None:
        config = self.run_config.checkpoint_config
        if config is None:
            return
        given = {
            f"checkpoint_frequency={config.checkpoint_frequency}": config.checkpoint_frequency
            and not self._handles_checkpoint_freq,
            "checkpoint_at_end=True": config.checkpoint_at_end and not self._handles_checkpoint_at_end,
        }
        unused = [text for text, is_unused in given.items() if is_unused]
        if unused:
            raise ValueError(
                f"{type(self).__name__} does not use {' and '.join(unused)} of the CheckpointConfig: its checkpoints are those "
                "that the training reports, with session.report(metrics, checkpoint=...)"
            )

    def _check_scaling(self, scaling: ScalingConfig) -> None:
        """Whether this trainer can do with that."""
        default = ScalingConfig()
        given = [
            field.name
            for field in dataclasses.fields(scaling)
            if getattr(scaling, field.name) != getattr(default, field.name)
        ]
        unknown = [name for name in given if name not in self._scaling_config_allowed_keys]
        if unknown:
            raise ValueError(
                f"{type(self).__name__} does not use {', '.join(unknown)} of the ScalingConfig; it uses "
                f"{', '.join(name for name in self._scaling_config_allowed_keys if not name.startswith('_'))}"
            )

    def _check_datasets(self) -> None:
        if not isinstance(self.datasets, Mapping):
            raise ValueError(f"datasets must be a dict of Datasets by name, not {_shown(self.datasets)}")
        for name, dataset in self.datasets.items():
            if is_to_search(dataset) or _is_dataset(dataset):
                continue
            if type(dataset).__name__ == "DatasetPipeline":
                raise ValueError(
                    f"datasets[{name!r}] is a DatasetPipeline: give the Dataset, and have it streamed with "
                    "dataset_config={...: DatasetConfig(max_object_store_memory_fraction=0.2)}"
                )
            if not callable(dataset):
                raise ValueError(
                    f"datasets[{name!r}] must be a Dataset, or a function that makes one, not {_shown(dataset)}: "
                    + (
                        "read torch's in the loop, with train.torch.prepare_data_loader"
                        if type(dataset).__module__.startswith("torch.")
                        else "aktis.data.from_pandas and others make Datasets"
                    )
                )

    def _check_preprocessor(self) -> None:
        preprocessor = self.preprocessor
        if preprocessor is None or is_search_value(preprocessor):
            return
        if isinstance(preprocessor, type) or not callable(getattr(preprocessor, "transform_batch", None)):
            raise ValueError(f"preprocessor must be an instance of Preprocessor, not {_shown(preprocessor)}")

    @property
    def _param_dict(self) -> dict[str, Any]:
        """The arguments that are part of a trial's configuration: those that can be read."""
        found = {
            name: value for name, value in self._arguments.items() if name not in _NOT_IN_CONFIG and _is_plain(value)
        }
        scaling = self._arguments.get("scaling_config")
        if isinstance(scaling, ScalingConfig):
            found["scaling_config"] = _as_dict(scaling)
        return found

    def check_param_space(self, param_space: Mapping[str, Any]) -> None:
        """Raise unless all names are arguments of the trainer.

        Raises:
            ValueError: with the names that it knows.
        """
        known, takes_any = _parameters(type(self))
        unknown = [name for name in param_space if name not in known and not takes_any]
        if unknown:
            raise ValueError(
                f"param_space of a {type(self).__name__} varies its arguments; it has no {', '.join(map(repr, unknown))}. "
                f"It has {', '.join(sorted(known - {'run_config'}))}"
                + (
                    ": put what the training loop reads into 'train_loop_config'"
                    if "train_loop_config" in known
                    else ""
                )
            )

    def _varied(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial's configuration says about the arguments; what :meth:`restore` was given is newer than that."""
        return {name: value for name, value in config.items() if name not in self._given_anew}

    def _with(self: T, config: Mapping[str, Any]) -> T:
        """The trainer of a trial: the arguments, with what its configuration says."""
        arguments = dict(self._arguments)
        for name, value in config.items():
            arguments[name] = _merged(name, arguments.get(name), value)
        trainer = type(self)(**arguments)
        trainer._settings = self._settings
        return trainer

    # -- running ------------------------------------------------------------------------------------

    def fit(self) -> Result:
        """Train, and wait for the end.

        Returns:
            Metrics, checkpoints, and where the files are.

        Raises:
            TrainingFailedError: it failed, more often than ``FailureConfig.max_failures``. ``__cause__`` is the error of the loop.
            ValueError: an argument is one to search for: a Tuner does that.
        """
        from aktis.tune.error import TuneError
        from aktis.tune.tuner import Tuner

        check_nothing_to_search(self._arguments)
        if self._restored is None:
            tuner = Tuner(self, run_config=self._shown_run_config())
        else:
            tuner = Tuner.restore(self._restored.path, trainable=self, resume_unfinished=True, resume_errored=True)
        try:
            results = tuner.fit()
        except TuneError as error:
            raise TrainingFailedError(str(error)) from error
        result: Result = results[0]
        if result.error is not None:
            raise TrainingFailedError(f"{in_short(result.error)}{self._how_to_go_on(result)}") from (
                result.error.with_traceback(None)  # where it arose is in its text
            )
        return result

    def _how_to_go_on(self, result: Result) -> str:
        """How a failed run is taken up again, if it left something to take up."""
        if result.checkpoint is None or result.log_dir is None:
            return ""
        arguments = [repr(os.path.dirname(result.log_dir))]
        for name, value in self._arguments.items():
            if inspect.isfunction(value):  # what was stored is the function as it was, with its mistake
                arguments.append(f"{name}={value.__name__ if value.__name__.isidentifier() else '...'}")
        return (
            f"\nWhen what caused it is mended, go on from the latest checkpoint with {type(self).__name__}."
            f"restore({', '.join(arguments)}).fit(); FailureConfig(max_failures=...) does so by itself"
        )

    def _shown_run_config(self) -> RunConfig:
        """The run's, with the display of a single run."""
        if self.run_config.progress_reporter is not None:
            return self.run_config
        from aktis.train._report.progress import TrainReporter

        return dataclasses.replace(self.run_config, progress_reporter=TrainReporter())

    def as_trainable(self) -> type[Trainable]:
        """The run as a class that Tune can run."""
        from aktis.tune.trainable import with_resources
        from aktis.tune.trainable.function_trainable import wrap_function

        if self._library is not None:
            check_installed(type(self).__name__, *self._library)
        function = with_resources(_TrialFunction(self), _Resources(self))
        return wrap_function(function, type(self).__name__)

    def _resource_request(self) -> PlacementGroupFactory:
        """What the trial takes."""
        return _that_fits(self.scaling_config).as_placement_group_factory()

    # -- taking it up again --------------------------------------------------------------------------

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str]) -> bool:
        """Whether :meth:`restore` finds a run there."""
        from aktis.tune.tuner import Tuner

        return Tuner.can_restore(_experiment_of(path))

    @classmethod
    def restore(cls: type[T], path: str | os.PathLike[str], **arguments: Any) -> T:
        """Take up a run that was interrupted or failed. :meth:`fit` goes on from its latest checkpoint.

        Args:
            path: ``result.path``, the directory above it, or the URI of that.
            **arguments: Arguments of the trainer that are to be others now: data sets and functions that could not be stored,
                for instance.

        Raises:
            ExperimentDirectoryError: there is no run.
            TypeError: what is there was made by another trainer.
        """
        from aktis.tune.tuner import Tuner

        path = _experiment_of(path)
        tuner = Tuner.restore(path, resume_unfinished=True, resume_errored=True)
        trainer = tuner.trainable
        if not isinstance(trainer, cls) and _is_earlier(type(trainer), cls):
            trainer = cls(**trainer._arguments)
        if not isinstance(trainer, cls):
            raise TypeError(f"{path} is a run of {type(trainer).__name__}, not of {cls.__name__}")
        changed = trainer._with(arguments) if arguments else copy.copy(trainer)
        changed.run_config = trainer.run_config
        changed._restored = _Restored(path)
        changed._given_anew = frozenset(arguments)
        return changed

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(value)}" for name, value in self._arguments.items() if value is not None)
        return f"{type(self).__name__}({shown})"


@dataclasses.dataclass(frozen=True)
class _Restored:
    """Where an earlier run lies."""

    path: str


class _TrialFunction:
    """What runs in the trial."""

    def __init__(self, trainer: BaseTrainer) -> None:
        self._trainer = trainer
        self.__name__ = type(trainer).__name__

    def __call__(self, config: dict[str, Any]) -> None:
        from aktis.air import session
        from aktis.train._report.recorder import recorded

        trainer = self._trainer._with(self._trainer._varied(config))
        checkpoint = session.get_checkpoint()
        if checkpoint is not None:
            trainer.resume_from_checkpoint = checkpoint
        if trainer._has_workers:
            trainer._run()
        else:
            with recorded(trainer, session.get_trial_dir()):
                trainer._run()


class _Resources:
    """What a trial takes, by its configuration."""

    def __init__(self, trainer: BaseTrainer) -> None:
        self._trainer = trainer

    def __call__(self, config: dict[str, Any]) -> PlacementGroupFactory:
        varied = self._trainer._varied(config)
        scaling = _merged("scaling_config", self._trainer.scaling_config, varied.get("scaling_config", {}))
        self._trainer._check_scaling(scaling)
        trainer = copy.copy(self._trainer)
        trainer.scaling_config = scaling
        return trainer._resource_request()


def _that_fits(scaling: ScalingConfig) -> ScalingConfig:
    """The trainer itself takes a CPU, unless the workers need all that there are."""
    if scaling.trainer_resources is not None or not scaling.num_workers:
        return scaling
    import aktis

    total = aktis.cluster_resources().get("CPU", 0) if aktis.is_initialized() else 0
    workers = scaling.num_workers[1] if isinstance(scaling.num_workers, tuple) else scaling.num_workers
    if workers * scaling.num_cpus_per_worker + 1 > total:
        return dataclasses.replace(scaling, trainer_resources={"CPU": 0})
    return scaling


def _experiment_of(path: str | os.PathLike[str]) -> str:
    """The directory of the experiment, of which a run is the only trial."""
    from aktis.tune.tuner import Tuner

    text = os.fspath(path)
    if "://" in text or not os.path.isdir(text) or Tuner.can_restore(text):
        return text
    above = os.path.dirname(os.path.abspath(text))
    return above if Tuner.can_restore(above) else text


# -- arguments by name ---------------------------------------------------------------------------------------------------

_NOT_IN_CONFIG = frozenset(
    {"run_config", "datasets", "preprocessor", "resume_from_checkpoint", "dataset_config", "scaling_config", "metadata"}
)


def _by_name(cls: type, trainer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the constructor; if they do not fit, none, since the constructor says so in a moment.

    Raises:
        TypeError: an argument goes by another name; the message has it.
    """
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind(trainer, *args, **kwargs)
    except TypeError:
        check_names(cls.__name__, kwargs, signature.parameters)
        return {}
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            raise TypeError(f"{cls.__name__}.__init__ has *{name}: arguments of a trainer must have names")
        else:
            found[name] = value
    return found


def _parameters(cls: type) -> tuple[set[str], bool]:
    """Names of the constructor's parameters, and whether it takes any others."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    named = {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    return named, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _merged(name: str, base: Any, value: Any) -> Any:
    """An argument with what a configuration says about it: dictionaries are merged, everything else is replaced."""
    if name == "scaling_config":
        if isinstance(value, ScalingConfig):
            return value
        if isinstance(value, Mapping):
            own = _as_dict(base) if isinstance(base, ScalingConfig) else dict(base or {})
            try:
                return ScalingConfig(**{**own, **value})
            except TypeError as error:
                raise ValueError(f"scaling_config in param_space: {error}") from None
    if isinstance(base, Mapping) and isinstance(value, Mapping):
        return {**base, **{key: _merged("", base.get(key), inner) for key, inner in value.items()}}
    return value


def _as_dict(config: Any) -> dict[str, Any]:
    """What differs from the default."""
    default = type(config)()
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def _is_plain(value: Any) -> bool:
    """Whether it can be read in a table: numbers, texts, containers of them, and what a search picks from."""
    if value is None or isinstance(value, (bool, int, float, str)) or is_search_value(value):
        return True
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)  # what is in a configuration is the user's business
    return isinstance(value, (list, tuple)) and all(map(_is_plain, value))


def _is_earlier(stored: type, cls: type) -> bool:
    """Whether a class came out of a pickle and is the same one in an earlier version: those of scripts are pickled by value."""
    return stored.__qualname__ == cls.__qualname__ and stored.__module__ == cls.__module__


def _is_dataset(value: Any) -> bool:
    return any(cls.__name__ == "Dataset" and cls.__module__.startswith("aktis.data") for cls in type(value).__mro__)


def _shown(value: Any) -> str:
    text = repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if "\n" in text:
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."
