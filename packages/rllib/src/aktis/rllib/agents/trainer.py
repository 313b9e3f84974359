"""What algorithms have in common, by the names of earlier releases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, _names = lazy(
    __name__,
    {
        "COMMON_DEFAULT_CONFIG": "aktis.rllib.algorithms.algorithm_config:AlgorithmConfig",
        "Trainer": "aktis.rllib.algorithms.algorithm:Algorithm",
        "TrainerConfig": "aktis.rllib.algorithms.algorithm_config:AlgorithmConfig",
    },
)

__all__ = ["with_common_config"]


def with_common_config(extra_config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all algorithms have, with some over them.

    Args:
        extra_config: They may be new.
    """
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    return {**AlgorithmConfig().to_dict(), **extra_config}
