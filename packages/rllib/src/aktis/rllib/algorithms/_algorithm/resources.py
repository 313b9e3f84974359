"""What an algorithm takes, as bundles."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["bundles_of", "check_resources", "fit_to_machine", "wants_evaluation_workers"]

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


def check_resources(config: Any) -> None:
    """Raise an error where the workers of a configuration take more than there is altogether: they would be waited for without end.

    Args:
        config: An AlgorithmConfig.

    Raises:
        ValueError: which resource there is too little of, and what helps.
    """
    if config.num_gpus and not config._fake_gpus and not _framework_has_gpu(config.framework_str):
        raise ValueError(
            f"num_gpus={config.num_gpus:g}, but {config.framework_str} finds no GPU here: set config.resources(num_gpus=0), or "
            f"install a {config.framework_str} that knows this GPU"
        )
    if not config.num_rollout_workers and not config.evaluation_num_workers:
        return
    have = _resources()
    for name, needed in _needed(config).items():
        if needed > have.get(name, 0):
            raise ValueError(
                f"{config.num_rollout_workers} rollout worker(s) and {config.evaluation_num_workers} worker(s) of the "
                f"evaluation need {needed:g} {name}, and there are {have.get(name, 0):g}: set num_rollout_workers, "
                f"evaluation_num_workers or num_{name.lower()}s_per_worker lower, or say that there are more "
                f"(aktis.init(num_{name.lower()}s=...))"
            )


def fit_to_machine(config: Any) -> None:
    """Take workers out of a configuration, of another machine perhaps, until this one has enough for them. Those of the
    evaluation go last.

    Args:
        config: An AlgorithmConfig; it is changed.
    """
    if config.num_gpus and not config._fake_gpus and not _framework_has_gpu(config.framework_str):
        logger.warning("this machine has no GPU: num_gpus=0 instead of %g", config.num_gpus)
        config.num_gpus = 0
    if not config.num_rollout_workers and not config.evaluation_num_workers:
        return
    have = _resources()
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
    return all(needed <= have.get(name, 0) for name, needed in _needed(config).items())


def _needed(config: Any) -> dict[str, float]:
    """What all workers take together."""
    total: dict[str, float] = {}
    for bundle in bundles_of(config)[1:]:  # the first one is this process, which is here already
        for name, amount in bundle.items():
            total[name] = total.get(name, 0) + amount
    return total


def _resources() -> dict[str, float]:
    import aktis

    if not aktis.is_initialized():
        aktis.init()
    return dict(aktis.cluster_resources())


def _framework_has_gpu(framework: str | None) -> bool:
    """Whether the framework that learns sees a GPU."""
    if framework == "torch":
        import torch

        return bool(torch.cuda.is_available())
    if framework in ("tf2", "tf"):
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    return True  # a policy that needs no framework knows itself what it does with one
