"""The trainer of LightGBM models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.train._gbdt.prepare import DataRules
from aktis.train.gbdt_trainer import GBDTTrainer
from aktis.train.lightgbm.config import LEARNER_NAMES, LightGBMConfig, PortTakenError, with_named_errors
from aktis.train.lightgbm.merge import merge_metrics

if TYPE_CHECKING:
    import lightgbm

    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.data.preprocessor import Preprocessor

__all__ = ["LightGBMTrainer"]

logger = logging.getLogger(__name__)

_ATTEMPTS = 4  # at finding ports that nobody takes away


class LightGBMTrainer(GBDTTrainer):
    """Trains a LightGBM model on one worker or several, which share the rows. All rows are used, each once.

    ::

        trainer = LightGBMTrainer(
            datasets={"train": train, "valid": valid},
            label_column="target",
            params={"objective": "regression", "metric": ["l2", "l1"]},
            num_boost_round=100,
            scaling_config=ScalingConfig(num_workers=4),
        )
        result = trainer.fit()
        result.metrics["valid-l2"]
        model = LightGBMCheckpoint.from_checkpoint(result.checkpoint).get_model()

    Each round is reported, with the metrics of all data sets as ``<data set>-<metric>``. Each worker has all rows of the data
    sets other than "train". Of "train", metrics that are no mean over rows, such as ``auc``, are means over the workers.

    With a function instead of ``params``, that function runs in each worker. ``lightgbm.train`` trains together with the others
    when its parameters include ``get_network_params()``.

    Args:
        train_loop_per_worker: The function, if there is one, of nothing or of ``train_loop_config``.
        datasets: Data sets by name: "train", and others to evaluate on.
        label_column: The column to be predicted.
        params: Parameters of LightGBM. ``num_threads`` is the CPUs of a worker, ``tree_learner`` "data" when there are several
            workers, and ``verbosity`` -1, unless they are said.
        dmatrix_params: For ``lightgbm.Dataset``, by data set. ``weight``, ``group`` (or ``qid``), ``init_score`` (or
            ``base_margin``) and ``position`` are names of columns; ``ignore`` is a list of columns to leave out. Rows with the same
            ``group`` must follow each other, and stay together.
        num_boost_round: How many rounds there are to be in all: those of ``resume_from_checkpoint`` count.
        train_loop_config: What the function gets.
        lightgbm_config: How the workers are connected.
        dataset_config: For the function: how each data set is handed out.
        scaling_config: How many workers, and what each takes. Without ``num_workers``, one.
        run_config: Name, directory, failures, checkpoints. ``checkpoint_frequency`` counts rounds.
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: A model to go on with.
        metadata: Kept with the run.
        **train_kwargs: For ``lightgbm.train``: ``feval``, ``callbacks`` and others, and ``early_stopping_rounds``.

    Raises:
        DatasetMissingError: there is no data set "train".
        LabelError: the label is not there (a ValueError).
        ValueError, TypeError: another argument makes no sense.
    """

    _library = (("lightgbm",), 'pip install "aktis-train[lightgbm]"')
    _rules: ClassVar[DataRules] = DataRules(
        roles={
            "weight": "weight", "group": "group", "qid": "group", "init_score": "init_score", "base_margin": "init_score",
            "position": "position",
        },
        options=("categorical_feature", "feature_name", "free_raw_data", "params"),
        refused={
            "data": "the data sets are datasets=...",
            "label": "say label_column=...",
            "reference": "data sets are compared with 'train' anyway",
        },
    )  # fmt: skip
    _train_kwargs: ClassVar[tuple[str, ...]] = (
        "callbacks",
        "early_stopping_rounds",
        "feval",
        "init_model",
        "verbose_eval",
    )
    _refused_kwargs: ClassVar[Mapping[str, str]] = {
        "train_set": "the data set is datasets['train']",
        "valid_sets": "each of datasets is evaluated",
        "valid_names": "data sets have the names that datasets says",
        "evals_result": "it is in Result.metrics_dataframe",
        "fobj": "put the function into params, as 'objective'",
        "keep_training_booster": "the model is in Result.checkpoint",
        "ray_params": "say scaling_config=ScalingConfig(num_workers=...)",
        "categorical_feature": "say dmatrix_params={'train': {'categorical_feature': [...]}}",
        "feature_name": "features have the names of their columns",
    }

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any] | None = None,
        *,
        datasets: Mapping[str, Any] | None = None,
        label_column: str | None = None,
        params: Mapping[str, Any] | None = None,
        dmatrix_params: Mapping[str, Mapping[str, Any]] | None = None,
        num_boost_round: int = 10,
        train_loop_config: Mapping[str, Any] | None = None,
        lightgbm_config: LightGBMConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | Any = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        **train_kwargs: Any,
    ) -> None:
        if lightgbm_config is not None and not isinstance(lightgbm_config, LightGBMConfig):
            raise TypeError(f"lightgbm_config must be a LightGBMConfig, not {lightgbm_config!r}")
        super().__init__(
            train_loop_per_worker,
            datasets=datasets,
            label_column=label_column,
            params=params,
            dmatrix_params=dmatrix_params,
            num_boost_round=num_boost_round,
            train_loop_config=train_loop_config,
            backend_config=lightgbm_config,
            dataset_config=dataset_config,
            scaling_config=scaling_config,
            run_config=run_config,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            **train_kwargs,
        )

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if isinstance(self.params, Mapping):
            for name in LEARNER_NAMES:
                if str(self.params.get(name, "")).startswith("feature"):
                    raise ValueError(
                        f"params[{name!r}]={self.params[name]!r} is for LightGBM's command line only: use 'data' or 'voting'"
                    )

    @staticmethod
    def get_model(checkpoint: Checkpoint) -> lightgbm.Booster:
        """The model of a checkpoint.

        Raises:
            CheckpointTypeError: there is none of LightGBM.
        """
        from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint

        return LightGBMCheckpoint.from_checkpoint(checkpoint).get_model()

    def _default_loop(self) -> Callable[[dict[str, Any]], Any]:
        from aktis.train.lightgbm.loop import train

        return train

    def _default_backend(self) -> LightGBMConfig:
        return LightGBMConfig()

    def _connected(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return with_named_errors(function)

    def _metrics_of_round(self, metrics: list[dict[str, Any]]) -> dict[str, Any]:
        return merge_metrics(metrics)

    def training_loop(self) -> None:
        """Train, and report each round. When a port was taken away before LightGBM listened there, it starts with others."""
        if self._own_loop:  # which may have reported something before
            super().training_loop()
            return
        for _ in range(_ATTEMPTS - 1):
            try:
                super().training_loop()
                return
            except PortTakenError as error:
                logger.warning("%s; the workers try other ports", error)
        super().training_loop()
