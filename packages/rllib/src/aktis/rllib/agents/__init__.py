"""Algorithms by the names that they had in earlier releases: ``agents.ppo.PPOTrainer`` is ``algorithms.ppo.PPO``."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DefaultCallbacks": "aktis.rllib.algorithms.callbacks:DefaultCallbacks",
        "MultiCallbacks": "aktis.rllib.algorithms.callbacks:MultiCallbacks",
        "Trainer": "aktis.rllib.algorithms.algorithm:Algorithm",
        "TrainerConfig": "aktis.rllib.algorithms.algorithm_config:AlgorithmConfig",
        "with_common_config": "aktis.rllib.agents.trainer:with_common_config",
    },
)
