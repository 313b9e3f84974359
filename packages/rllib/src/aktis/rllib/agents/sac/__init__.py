"""SAC by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.sac:SACConfig",
        "SAC": "aktis.rllib.algorithms.sac:SAC",
        "SACConfig": "aktis.rllib.algorithms.sac:SACConfig",
        "SACTorchPolicy": "aktis.rllib.algorithms.sac.sac_torch_policy:SACTorchPolicy",
        "SACTrainer": "aktis.rllib.algorithms.sac:SAC",
    },
)
