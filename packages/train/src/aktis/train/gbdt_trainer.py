"""The base of trainers of gradient-boosted trees: one model, of whose training each worker does the rows that it has."""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aktis.air.config import is_search_value
from aktis.train._gbdt.prepare import (
    DataRules,
    check_dmatrix_params,
    check_label,
    check_train_dataset,
    describe,
)
from aktis.train._gbdt.spec import LoopSpec
from aktis.train.backend import BackendConfig
from aktis.train.data_parallel_trainer import DataParallelTrainer

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.data.preprocessor import Preprocessor

__all__ = ["GBDTTrainer"]

T = TypeVar("T", bound="GBDTTrainer")


class GBDTTrainer(DataParallelTrainer):
    """Base of :class:`aktis.train.xgboost.XGBoostTrainer` and :class:`aktis.train.lightgbm.LightGBMTrainer`.

    A subclass names its library's data, training function and network. There are two forms. In the one, parameters are given, and
    the trainer trains; in the other, a function is, which trains in each worker.

    Args:
        train_loop_per_worker: A training loop, which calls the library itself. None: with ``params``, the trainer has its own.
        datasets: Data sets by name: "train", and those to evaluate on.
        label_column: What is to be predicted.
        params: Parameters of the library.
        dmatrix_params: What else the columns of a data set are: ``{"train": {"weight": "w"}}``.
        num_boost_round: How many rounds there are to be in all: those of ``resume_from_checkpoint`` count.
        train_loop_config: What the function gets.
        backend_config: How the workers are connected.
        dataset_config: For the function: how each data set is handed out.
        scaling_config: How many workers, and what each takes. Without ``num_workers``, one, which trains alone.
        run_config: Name, directory, failures, checkpoints. ``checkpoint_frequency`` counts rounds; there is a checkpoint at the end
            unless ``checkpoint_at_end=False``.
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: A model to go on with.
        metadata: Kept with the run.
        **train_kwargs: For the library's function ``train``.

    Raises:
        DatasetMissingError: there is no data set "train".
        LabelError: ``label_column`` is not in a data set whose columns are known already; else that is said when the run starts.
        ValueError, TypeError: another argument makes no sense.
    """

    _handles_checkpoint_freq: ClassVar[bool] = True
    _handles_checkpoint_at_end: ClassVar[bool] = True

    _rules: ClassVar[DataRules]
    _train_kwargs: ClassVar[Collection[str]]
    _refused_kwargs: ClassVar[Mapping[str, str]]
    _multiple_labels: ClassVar[bool] = False

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any] | None = None,
        *,
        datasets: Mapping[str, Any] | None = None,
        label_column: str | list[str] | None = None,
        params: Mapping[str, Any] | None = None,
        dmatrix_params: Mapping[str, Mapping[str, Any]] | None = None,
        num_boost_round: int = 10,
        train_loop_config: Mapping[str, Any] | None = None,
        backend_config: BackendConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | Any = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        **train_kwargs: Any,
    ) -> None:
        self._own_loop = train_loop_per_worker is not None
        self.label_column = label_column
        self.params = {} if params is None else params
        self.dmatrix_params = dmatrix_params
        self.num_boost_round = num_boost_round
        self.train_kwargs = train_kwargs
        loop = self._default_loop() if train_loop_per_worker is None else train_loop_per_worker
        super().__init__(
            self._connected(loop) if self._own_loop and callable(loop) else loop,
            train_loop_config=train_loop_config,
            backend_config=self._default_backend() if backend_config is None else backend_config,
            dataset_config=dataset_config,
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
        )

    # -- what a subclass says ------------------------------------------------------------------------

    @abstractmethod
    def _default_loop(self) -> Callable[[dict[str, Any]], Any]:
        """What a worker runs when the user gave no function."""

    @abstractmethod
    def _default_backend(self) -> BackendConfig:
        """How workers are connected by default."""

    def _connected(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The user's function, as a member of the workers' network."""
        return function

    # -- checks --------------------------------------------------------------------------------------

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if self._own_loop:
            self._check_no_parameters()
            return
        if self._train_loop_config or self._given_dataset_config is not None:
            raise ValueError(
                "train_loop_config and dataset_config are for a train_loop_per_worker, which there is not: "
                f"{type(self).__name__} trains with params"
            )
        check_train_dataset(self.datasets)
        if not isinstance(self.params, Mapping):
            raise ValueError(f"params must be a dict of parameters of the library, not {self.params!r}")
        rounds = self.num_boost_round
        if not is_search_value(rounds) and (not isinstance(rounds, int) or isinstance(rounds, bool) or rounds < 1):
            raise ValueError(f"num_boost_round must be 1 or more, not {rounds!r}")
        if not is_search_value(self.dmatrix_params):
            check_dmatrix_params(self.dmatrix_params, self.datasets, self._rules)
        self._check_label()
        for name in self.train_kwargs:
            if name in self._refused_kwargs:
                raise ValueError(f"{name} cannot be used here: {self._refused_kwargs[name]}")
            if name not in self._train_kwargs:
                raise TypeError(
                    f"{type(self).__name__} has no argument {name!r}. Besides its own, it takes those of the library's function "
                    f"train: {', '.join(sorted(self._train_kwargs))}. Parameters of the library go into params"
                )

    def _check_no_parameters(self) -> None:
        given = [
            name
            for name, value in (
                ("params", self.params),
                ("label_column", self.label_column),
                ("dmatrix_params", self.dmatrix_params),
                *self.train_kwargs.items(),
            )
            if value
        ]
        if given:
            raise ValueError(
                f"{', '.join(given)} cannot be given together with a train_loop_per_worker, which trains by itself: put them into "
                "train_loop_config"
            )

    def _check_label(self) -> None:
        label = self.label_column
        if is_search_value(label):
            return
        several = isinstance(label, (list, tuple)) and label and all(isinstance(name, str) for name in label)
        if several and not self._multiple_labels:
            raise ValueError(f"label_column must be the name of one column, not {label!r}")
        if label is None and self._label_is_optional():
            return
        if not several and (not isinstance(label, str) or not label):
            raise ValueError(f"label_column must be the name of the column to be predicted, not {label!r}")
        if self.preprocessor is not None:
            return  # which may make the column
        for name, dataset in self.datasets.items():
            columns = _known_columns(dataset)
            if columns is not None:
                check_label(name, self._labels(), columns)

    def _label_is_optional(self) -> bool:
        return False

    def _labels(self) -> tuple[str, ...]:
        label = self.label_column
        return () if label is None else (label,) if isinstance(label, str) else tuple(label)

    # -- the run ----------------------------------------------------------------------------------------

    def with_run_config(self: T, run_config: RunConfig) -> T:
        """This trainer as part of a run of that configuration, of which it takes how often there are checkpoints.

        A Tuner calls it, and does not count iterations itself then.
        """
        trainer = copy.copy(self)
        trainer.run_config = dataclasses.replace(self.run_config, checkpoint_config=run_config.checkpoint_config)
        trainer._arguments = {**self._arguments, "run_config": trainer.run_config}
        return trainer

    def preprocess_datasets(self) -> None:
        """Fit and apply the preprocessor. With the trainer's own loop, each worker takes its rows itself: all, and none twice."""
        super().preprocess_datasets()
        if not self._own_loop:
            self._ingest = None

    def training_loop(self) -> None:
        """Train, and report each round."""
        if not self._own_loop:
            self._train_loop_config = {"spec": self._spec()}
        super().training_loop()

    def _spec(self) -> LoopSpec:
        label = self._labels()
        params = check_dmatrix_params(self.dmatrix_params, self.datasets, self._rules)
        checkpoints = self.run_config.checkpoint_config
        return LoopSpec(
            data=describe(self.datasets, label[0] if len(label) == 1 else label or None, params, self._rules),
            params=dict(self.params),
            train_kwargs=dict(self.train_kwargs),
            num_boost_round=self.num_boost_round,
            threads=max(1, int(self.scaling_config.num_cpus_per_worker)),
            checkpoint_frequency=checkpoints.checkpoint_frequency,
            checkpoint_at_end=checkpoints.checkpoint_at_end is not False,
        )


def _known_columns(dataset: Any) -> list[str] | None:
    """The columns of a data set, if they are known without executing it."""
    schema = getattr(dataset, "schema", None)
    if schema is None or is_search_value(dataset):
        return None
    return getattr(schema(fetch_if_missing=False), "names", None)
