"""Algorithms by name, as the function was called in earlier releases."""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.registry import get_algorithm_class

__all__ = ["get_trainer_class"]


def get_trainer_class(alg: str, return_config: bool = False) -> Any:
    """See :func:`aktis.rllib.algorithms.registry.get_algorithm_class`; the configuration is a dictionary."""
    if not return_config:
        return get_algorithm_class(alg)
    algorithm, config = get_algorithm_class(alg, return_config=True)
    return algorithm, config.to_dict()
