"""What each worker of an XGBoostTrainer does when it is not given a training loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aktis.air import session
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.shards import Shard, load
from aktis.train._gbdt.spec import TRAIN, DataSpec, LoopSpec, RankError
from aktis.train.xgboost.config import collective
from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint

__all__ = ["train"]

logger = logging.getLogger(__name__)


def train(config: dict[str, Any]) -> None:
    """Train with what ``config["spec"]``, a LoopSpec, says, and report each round."""
    from aktis.train.xgboost.report_callback import RayTrainReportCallback

    class Reporter(RayTrainReportCallback):
        def after_training(self, model: Any) -> Any:
            return model  # early stopping may still cut it: see below

    xgb = import_library("xgboost")
    spec: LoopSpec = config["spec"]
    with collective():
        rank, ranks = session.get_world_rank(), session.get_world_size()
        params = {"nthread": spec.threads, "verbosity": 1 if rank == 0 else 0, **spec.params}
        if "n_jobs" in spec.params:
            del params["nthread"]
        reporter = Reporter(frequency=spec.checkpoint_frequency, checkpoint_at_end=spec.checkpoint_at_end)
        kwargs: dict[str, Any] = {"verbose_eval": False, **spec.train_kwargs}
        model = _model_so_far(kwargs.pop("xgb_model", None))
        done = 0 if model is None else model.num_boosted_rounds()
        if done >= spec.num_boost_round:
            logger.warning(
                "the model has %d rounds, and num_boost_round=%d: there is nothing to do", done, spec.num_boost_round
            )
        else:
            matrices = _matrices(spec, params, rank, ranks)
            model = xgb.train(
                params,
                matrices[TRAIN],
                spec.num_boost_round - done,
                evals=[(matrix, name) for name, matrix in matrices.items()],
                xgb_model=model,
                callbacks=[reporter, *(kwargs.pop("callbacks", None) or ())],
                **kwargs,
            )
        reporter._reporter.finish(model)


def _model_so_far(given: Any) -> Any:
    checkpoint = session.get_checkpoint()
    if checkpoint is not None:
        return XGBoostCheckpoint.from_checkpoint(checkpoint).get_model()
    if given is None or hasattr(given, "num_boosted_rounds"):
        return given
    booster = import_library("xgboost").Booster()
    booster.load_model(given)
    return booster


def _matrices(spec: LoopSpec, params: Mapping[str, Any], rank: int, ranks: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, data in spec.data.items():
        try:
            shard = load(data, name, rank, ranks, group="qid")
        except RankError:
            if name == TRAIN or not data.blocks.total:
                raise
            shard = load(data, name, rank, ranks, whole=True)  # the mean over all is the same
        quantized = name == TRAIN and _is_quantized(params)
        found[name] = _matrix(shard, data, spec.threads, params if quantized else None)
    return found


def _is_quantized(params: Mapping[str, Any]) -> bool:
    """Whether the training needs the bins of the values only."""
    return (
        params.get("tree_method", "auto") in ("auto", "hist")
        and params.get("booster", "gbtree") in ("gbtree", "dart")
        and "updater" not in params
        and params.get("process_type", "default") == "default"
    )


def _matrix(shard: Shard, data: DataSpec, threads: int, quantized: Mapping[str, Any] | None) -> Any:
    """The rows as what XGBoost trains on.

    Args:
        shard: The rows.
        data: What was said about them.
        threads: How many threads make it.
        quantized: The parameters, if the values are to be kept as bins, which is an eighth of the memory.
    """
    xgb = import_library("xgboost")
    options: dict[str, Any] = {"nthread": threads, **data.options}
    roles = dict(shard.roles)
    if "weight" in roles and "qid" in roles:
        roles["weight"] = _of_groups(roles["weight"], roles["qid"])
    if shard.categories:
        options.setdefault("enable_categorical", True)
    table: Any = shard.features
    if shard.categories or int(xgb.__version__.partition(".")[0]) < 3:  # XGBoost cannot read all of Arrow
        table = table.to_pandas()
    if quantized is None:
        return xgb.DMatrix(table, shard.label, **roles, **options)
    if "max_bin" in quantized:
        options.setdefault("max_bin", int(quantized["max_bin"]))
    return xgb.QuantileDMatrix(table, shard.label, **roles, **options)


def _of_groups(weights: Any, ids: Any) -> Any:
    """The weight of each group, which is what XGBoost wants when it ranks: that of its first row."""
    import numpy

    return weights[numpy.flatnonzero(numpy.concatenate([[True], ids[1:] != ids[:-1]]))]
