"""What an algorithm takes, as bundles."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["bundles_of", "fit_to_machine", "wants_evaluation_workers"]

logger = logging.getLogger(__name__)


def bundles_of(config: Any) -> list[dict[str, float]]:
    """The bundles of a trial: the algorithm's process, each rollout worker, each worker of the evaluation.

    Args:
        config: An AlgorithmConfig.
    """
    evaluation = config.get_evaluation_config_object() if wants_evaluation_workers(config) else None
    driver = {"CPU": config.num_cpus_for_local_worker, "GPU": 0 if config._fake_gpus else config.num_gpus}
    bundles = [driver, *(_of_worker(config) for _ in range(config.num_rollout_workers))]
    if evaluation is not None:
        bundles += [_of_worker(evaluation) for _ in range(config.evaluation_num_workers)]
    return [{name: amount for name, amount in bundle.items() if amount} or {"CPU": 0} for bundle in bundles]


def wants_evaluation_workers(config: Any) -> bool:
    """Whether evaluation is part of training: then it has workers of its own."""
    return bool(config.evaluation_interval) or config.evaluation_num_workers > 0


def _of_worker(config: Any) -> dict[str, float]:
    environments = config.num_envs_per_worker if config.remote_worker_envs else 0
    return {
        "CPU": config.num_cpus_per_worker + environments,
        "GPU": config.num_gpus_per_worker,
        **config.custom_resources_per_worker,
    }


def fit_to_machine(config: Any) -> None:
    """Take workers out of a configuration, of another machine perhaps, until this one has CPUs enough for them: an
    actor that never gets its resources would be waited for without end. Workers of the evaluation go last.

    Args:
        config: An AlgorithmConfig; it is changed.
    """
    if not config.num_rollout_workers and not config.evaluation_num_workers:
        return
    import aktis

    if not aktis.is_initialized():
        aktis.init()
    have = aktis.cluster_resources()
    wanted = (config.num_rollout_workers, config.evaluation_num_workers)
    for name in ("num_rollout_workers", "evaluation_num_workers"):
        while getattr(config, name) and not _fits(config, have):
            setattr(config, name, getattr(config, name) - 1)
            if not config.evaluation_num_workers:
                config.evaluation_parallel_to_training = config.enable_async_evaluation = False
    for name, before in zip(("num_rollout_workers", "evaluation_num_workers"), wanted, strict=True):
        if getattr(config, name) != before:
            logger.warning(
                "this machine has %s CPUs: %s=%d instead of %d",
                f"{have.get('CPU', 0):g}",
                name,
                getattr(config, name),
                before,
            )


def _fits(config: Any, have: dict[str, float]) -> bool:
    workers = bundles_of(config)[1:]  # the first bundle is this process, which is here already
    return all(
        sum(bundle.get(name, 0) for bundle in workers) <= have.get(name, 0) for bundle in workers for name in bundle
    )
