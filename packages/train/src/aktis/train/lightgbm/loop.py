"""What each worker of a LightGBMTrainer does when it is not given a training loop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from aktis.air import session
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.rounds import RoundReporter
from aktis.train._gbdt.shards import Shard, group_sizes, load
from aktis.train._gbdt.spec import TRAIN, DataSpec, LoopSpec
from aktis.train.lightgbm._logs import VERBOSITY_NAMES, set_log_level
from aktis.train.lightgbm.config import LEARNER_NAMES, get_network_params, named_errors
from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint
from aktis.train.lightgbm.merge import GROUPS, WEIGHT
from aktis.train.lightgbm.report_callback import latest_metrics

__all__ = ["train"]

logger = logging.getLogger(__name__)

_THREAD_NAMES = ("num_threads", "num_thread", "nthread", "nthreads", "n_jobs")


def train(config: dict[str, Any]) -> None:
    """Train with what ``config["spec"]``, a LoopSpec, says, and report each round."""
    lgb = import_library("lightgbm")
    spec: LoopSpec = config["spec"]
    rank, ranks = session.get_world_rank(), session.get_world_size()
    kwargs = dict(spec.train_kwargs)
    model = _model_so_far(kwargs.pop("init_model", None))
    done = 0 if model is None else int(model.current_iteration())
    reporter = RoundReporter(
        lambda booster, folder: LightGBMCheckpoint.from_model(booster, path=folder),
        frequency=spec.checkpoint_frequency,
        at_end=spec.checkpoint_at_end,
    )
    if done >= spec.num_boost_round:
        logger.warning(
            "the model has %d rounds, and num_boost_round=%d: there is nothing to do", done, spec.num_boost_round
        )
        reporter.finish(model)
        return
    params = _parameters(spec)
    train_set, valid_sets, extra = _datasets(spec, params, rank, ranks)
    set_log_level(params)
    callbacks = [*_callbacks(reporter, extra), *(kwargs.pop("callbacks", None) or ()), *_older_callbacks(kwargs)]
    with named_errors():
        network = get_network_params()  # the port is free from here on
        model = lgb.train(
            {**params, **{name: value for name, value in network.items() if not _is_given(name, params)}},
            train_set,
            spec.num_boost_round - done,
            valid_sets=[train_set, *valid_sets.values()],
            valid_names=[TRAIN, *valid_sets],
            init_model=model,
            callbacks=callbacks,
            **kwargs,
        )
    if network:
        model.free_network()
    reporter.finish(model)


def _model_so_far(given: Any) -> Any:
    checkpoint = session.get_checkpoint()
    if checkpoint is not None:
        return LightGBMCheckpoint.from_checkpoint(checkpoint).get_model()
    if given is None or hasattr(given, "current_iteration"):
        return given
    return import_library("lightgbm").Booster(model_file=given)


def _parameters(spec: LoopSpec) -> dict[str, Any]:
    params = dict(spec.params)
    if not any(name in params for name in _THREAD_NAMES):
        params["num_threads"] = spec.threads
    if not any(name in params for name in VERBOSITY_NAMES):
        params["verbosity"] = -1
    return params


def _is_given(name: str, params: Mapping[str, Any]) -> bool:
    return name == "tree_learner" and any(alias in params for alias in LEARNER_NAMES)


def _callbacks(reporter: RoundReporter, extra: Mapping[str, Any]) -> list[Any]:
    def release(env: Any) -> None:
        reporter.release(env.model)

    def hold(env: Any) -> None:
        reporter.hold(env.iteration + 1, {**latest_metrics(env.evaluation_result_list), **extra})

    release.before_iteration = True  # type: ignore[attr-defined]
    release.order = 0  # type: ignore[attr-defined]
    hold.order = 20  # type: ignore[attr-defined]  # before early stopping (30)
    return [release, hold]


def _older_callbacks(kwargs: dict[str, Any]) -> list[Any]:
    """What were arguments of ``lightgbm.train`` before version 4, and are callbacks since."""
    lgb = import_library("lightgbm")
    found = []
    rounds, verbose = kwargs.pop("early_stopping_rounds", None), kwargs.pop("verbose_eval", False)
    if rounds:
        found.append(lgb.early_stopping(rounds, verbose=bool(verbose)))
    if verbose and session.get_world_rank() == 0:
        found.append(lgb.log_evaluation(int(verbose)))
    return found


def _datasets(
    spec: LoopSpec, params: Mapping[str, Any], rank: int, ranks: int
) -> tuple[Any, dict[str, Any], dict[str, float]]:
    """The training rows of this rank, all rows of the other data sets, and how much the former count, as metrics.

    LightGBM evaluates in each worker for itself: on all rows, so that all have the same results, and stop at the same round.
    """
    data = spec.data[TRAIN]
    shard = load(data, TRAIN, rank, ranks, group="group")
    train_set = _dataset(shard, data, params, None)
    valid_sets = {
        name: _dataset(load(other, name, rank, ranks, whole=True), other, params, train_set)
        for name, other in spec.data.items()
        if name != TRAIN
    }
    if ranks == 1:
        return train_set, valid_sets, {}
    weights = shard.roles.get("weight")
    counts = {WEIGHT: float(shard.features.num_rows if weights is None else weights.sum())}
    if "group" in shard.roles:
        counts[GROUPS] = float(len(group_sizes(shard.roles["group"])))
    return train_set, valid_sets, counts


def _dataset(shard: Shard, data: DataSpec, params: Mapping[str, Any], reference: Any) -> Any:
    lgb = import_library("lightgbm")
    roles = dict(shard.roles)
    if "group" in roles:
        roles["group"] = group_sizes(roles["group"])
    options = dict(data.options)
    if shard.categories:  # LightGBM takes those from pandas
        values = shard.features.to_pandas()
    else:
        values = shard.matrix()
        options.setdefault("feature_name", list(shard.features.column_names))
    dataset_params = {**params, **options.pop("params", {})}
    return lgb.Dataset(values, shard.label, reference=reference, params=dataset_params, **roles, **options)
