"""Estimators of a configuration, and what they say."""

from __future__ import annotations

import inspect
from typing import Any

from aktis.rllib.policy.sample_batch import concat_samples

__all__ = ["estimates", "make_estimators"]


def make_estimators(config: Any, policy: Any) -> dict[str, Any]:
    """The estimators of ``config.off_policy_estimation_methods``, by name.

    Args:
        config: An AlgorithmConfig.
        policy: The policy that is judged.

    Raises:
        ValueError: a description has no ``type``, or there is no such class.
    """
    made: dict[str, Any] = {}
    for name, given in config.off_policy_estimation_methods.items():
        arguments = dict(given)
        kind = arguments.pop("type", None)
        if isinstance(kind, str):
            from aktis.rllib.utils.from_config import class_of

            kind = class_of(_SHORT.get(kind, kind), "aktis.rllib.offline.estimators")
        if not callable(kind):
            raise ValueError(
                f"off_policy_estimation_methods[{name!r}] must have a 'type', an estimator such as ImportanceSampling; it "
                f"is {given!r}"
            )
        if "gamma" in inspect.signature(kind).parameters:
            arguments.setdefault("gamma", config.gamma)
        made[name] = kind(policy=policy, **arguments)
    return made


_SHORT = {"is": "ImportanceSampling", "wis": "WeightedImportanceSampling", "dm": "DirectMethod", "dr": "DoublyRobust"}


def estimates(estimators: dict[str, Any], batches: list[Any], split_batch_by_episode: bool) -> dict[str, Any]:
    """What each estimator says of batches together. Those with a model of values fit it to the batches first."""
    if not batches:
        return {}
    whole = concat_samples(batches)
    made: dict[str, Any] = {}
    for name, estimator in estimators.items():
        told = estimator.train(whole) or {}
        made[name] = estimator.estimate(whole, split_batch_by_episode=split_batch_by_episode)
        made[name].update({f"train_{key}": value for key, value in told.items()})
    return made
