"""What is checked before a run: settings, and whether there are as many CPUs as the workers take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.cli import CommandError

if TYPE_CHECKING:
    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

__all__ = ["check_settings", "fit", "searches"]

logger = logging.getLogger(__name__)

_WORKERS = ("num_rollout_workers", "num_workers")


def searches(value: Any) -> bool:
    """Whether there is something to search for in a configuration."""
    from aktis.tune.search.sample import Domain

    if isinstance(value, Mapping):
        return "grid_search" in value or any(map(searches, value.values()))
    return isinstance(value, Domain)


def check_settings(spec: Mapping[str, Any]) -> None:
    """Raise at once what a trial would raise about its settings. Those that are searched are left to the trials.

    Args:
        spec: An experiment, with ``run`` and ``config``.
    """
    cls = _algorithm_of(spec)
    if cls is not None and not searches(dict(spec["config"].items())):
        _config_of(cls, spec["config"]).validate()


def fit(spec: dict[str, Any], cpus: float) -> None:
    """Take rollout workers that nobody asked for out of an experiment until ``cpus`` are enough.

    Args:
        spec: An experiment, with ``run`` and ``config``; its ``config`` is changed.
        cpus: How many CPUs the session has.

    Raises:
        CommandError: the number of workers was asked for, or there are too few CPUs even without; it says what helps.
    """
    cls = _algorithm_of(spec)
    if cls is None or spec.get("resources_per_trial") or searches(dict(spec["config"].items())):
        return
    config = _config_of(cls, spec["config"])
    needed = _cpus(cls, config)
    if needed <= cpus:
        return
    before = config.num_rollout_workers
    while not _asked_for(cls, spec["config"]) and config.num_rollout_workers and _cpus(cls, config) > cpus:
        config.num_rollout_workers -= 1
    if _cpus(cls, config) > cpus:
        raise CommandError(
            f"{before} rollout worker(s) and what is beside them take {needed:g} CPUs, and there are {cpus:g}: give --num-cpus "
            f"{needed:g} (more processes than CPUs: slower), or set num_rollout_workers (num_workers) lower"
        )
    logger.warning(
        "there are %g CPUs: num_rollout_workers=%d instead of %d; --num-cpus %g has them take turns",
        cpus, config.num_rollout_workers, before, needed,
    )  # fmt: skip
    if isinstance(spec["config"], Mapping):
        spec["config"] = {**spec["config"], "num_rollout_workers": config.num_rollout_workers}
    else:
        spec["config"] = config


def _algorithm_of(spec: Mapping[str, Any]) -> type[Algorithm] | None:
    """The class of an experiment's algorithm; None: it is a trainable of another kind."""
    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.tune.registry import get_trainable_cls

    cls = get_trainable_cls(spec["run"])
    return cls if isinstance(cls, type) and issubclass(cls, Algorithm) else None


def _config_of(cls: type[Algorithm], given: Any) -> AlgorithmConfig:
    """A configuration of its own, which can be changed."""
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    if not isinstance(given, Mapping):
        copied: AlgorithmConfig = given.copy(copy_frozen=False)
        return copied
    default: Any = cls.get_default_config()
    if not isinstance(default, AlgorithmConfig):  # a dict, in algorithms of users
        default = AlgorithmConfig(cls).update_from_dict(default)
    made: AlgorithmConfig = default.copy(copy_frozen=False).update_from_dict(given)
    return made


def _asked_for(cls: type[Algorithm], given: Any) -> bool:
    """Whether somebody chose the number of workers."""
    if isinstance(given, Mapping):
        return any(name in given for name in _WORKERS)
    return bool(given.num_rollout_workers != _config_of(cls, {}).num_rollout_workers)


def _cpus(cls: type[Algorithm], config: AlgorithmConfig) -> float:
    request: Any = cls.default_resource_request(config)
    return float(sum(bundle.get("CPU", 0) for bundle in request.bundles))
