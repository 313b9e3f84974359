"""What an algorithm takes, as bundles."""

from __future__ import annotations

from typing import Any

__all__ = ["bundles_of"]


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
