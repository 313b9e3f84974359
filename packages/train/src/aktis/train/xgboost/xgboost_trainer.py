"""The trainer of XGBoost models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.train._gbdt.prepare import DataRules
from aktis.train.gbdt_trainer import GBDTTrainer
from aktis.train.xgboost.config import XGBoostConfig, in_collective

if TYPE_CHECKING:
    import xgboost

    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.data.preprocessor import Preprocessor

__all__ = ["XGBoostTrainer"]


class XGBoostTrainer(GBDTTrainer):
    """Trains an XGBoost model on one worker or several, which share the rows. All rows are used, each once.

    ::

        trainer = XGBoostTrainer(
            datasets={"train": train, "valid": valid},
            label_column="target",
            params={"objective": "binary:logistic", "eval_metric": ["logloss", "error"]},
            num_boost_round=100,
            scaling_config=ScalingConfig(num_workers=4),
        )
        result = trainer.fit()
        result.metrics["valid-logloss"]
        model = XGBoostCheckpoint.from_checkpoint(result.checkpoint).get_model()

    Each round is reported, with the metrics of all data sets as ``<data set>-<metric>``.

    With a function instead of ``params``, that function runs in each worker, where ``xgboost.train`` trains together with the
    others: of ``session.get_dataset_shard("train")`` each has its part.

    Args:
        train_loop_per_worker: The function, if there is one, of nothing or of ``train_loop_config``.
        datasets: Data sets by name: "train", and others to evaluate on.
        label_column: The column to be predicted, or several. None is for labels that are intervals
            (``label_lower_bound``, ``label_upper_bound``).
        params: Parameters of XGBoost. ``nthread`` is the CPUs of a worker unless it is said.
        dmatrix_params: For ``xgboost.DMatrix``, by data set. ``weight``, ``qid``, ``base_margin``, ``label_lower_bound`` and
            ``label_upper_bound`` are names of columns; ``ignore`` is a list of columns to leave out. Rows with the same
            ``qid`` must follow each other, and stay together.
        num_boost_round: How many rounds there are to be in all: those of ``resume_from_checkpoint`` count.
        train_loop_config: What the function gets.
        xgboost_config: How the workers are connected.
        dataset_config: For the function: how each data set is handed out.
        scaling_config: How many workers, and what each takes. Without ``num_workers``, one.
        run_config: Name, directory, failures, checkpoints. ``checkpoint_frequency`` counts rounds.
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: A model to go on with.
        metadata: Kept with the run.
        **train_kwargs: For ``xgboost.train``: ``early_stopping_rounds``, ``obj``, ``custom_metric``, ``callbacks`` and others.

    Raises:
        DatasetMissingError: there is no data set "train".
        LabelError: the label is not there (a ValueError).
        ValueError, TypeError: another argument makes no sense.
    """

    _library = (("xgboost",), 'pip install "aktis-train[xgboost]", or xgboost-cpu where there is no GPU')
    _multiple_labels: ClassVar[bool] = True
    _rules: ClassVar[DataRules] = DataRules(
        roles={
            name: name for name in ("weight", "base_margin", "qid", "label_lower_bound", "label_upper_bound")
        },
        options=(
            "missing", "feature_weights", "feature_names", "feature_types", "enable_categorical", "nthread", "silent", "max_bin",
            "max_quantile_batches",
        ),
        refused={
            "data": "the data sets are datasets=...",
            "label": "say label_column=...",
            "group": "sizes do not say where a group is once rows are shared: say qid, a column that is the same in a group",
        },
    )  # fmt: skip
    _train_kwargs: ClassVar[tuple[str, ...]] = (
        "callbacks", "custom_metric", "early_stopping_rounds", "feval", "maximize", "obj", "verbose_eval", "xgb_model",
    )  # fmt: skip
    _refused_kwargs: ClassVar[Mapping[str, str]] = {
        "dtrain": "the data set is datasets['train']",
        "evals": "each of datasets is evaluated",
        "evals_result": "it is in Result.metrics_dataframe",
        "ray_params": "say scaling_config=ScalingConfig(num_workers=...)",
    }

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
        xgboost_config: XGBoostConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | Any = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        **train_kwargs: Any,
    ) -> None:
        if xgboost_config is not None and not isinstance(xgboost_config, XGBoostConfig):
            raise TypeError(f"xgboost_config must be an XGBoostConfig, not {xgboost_config!r}")
        if "feval" in train_kwargs:  # its name before XGBoost 1.6
            train_kwargs["custom_metric"] = train_kwargs.pop("feval")
        super().__init__(
            train_loop_per_worker,
            datasets=datasets,
            label_column=label_column,
            params=params,
            dmatrix_params=dmatrix_params,
            num_boost_round=num_boost_round,
            train_loop_config=train_loop_config,
            backend_config=xgboost_config,
            dataset_config=dataset_config,
            scaling_config=scaling_config,
            run_config=run_config,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
            **train_kwargs,
        )

    @staticmethod
    def get_model(checkpoint: Checkpoint) -> xgboost.Booster:
        """The model of a checkpoint.

        Raises:
            CheckpointTypeError: there is none of XGBoost.
        """
        from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint

        return XGBoostCheckpoint.from_checkpoint(checkpoint).get_model()

    def _default_loop(self) -> Callable[[dict[str, Any]], Any]:
        from aktis.train.xgboost.loop import train

        return train

    def _default_backend(self) -> XGBoostConfig:
        return XGBoostConfig()

    def _connected(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return in_collective(function)

    def _label_is_optional(self) -> bool:
        given = (self.dmatrix_params or {}).get("train", {})
        return "label_lower_bound" in given
