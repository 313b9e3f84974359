"""By the names of earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "APPO": "aktis.rllib.algorithms.appo:APPO",
        "APPOConfig": "aktis.rllib.algorithms.appo:APPOConfig",
        "APPOTrainer": "aktis.rllib.algorithms.appo:APPO",
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.appo:APPOConfig",
    },
)
