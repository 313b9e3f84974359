"""By the names of earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.es:ESConfig",
        "ES": "aktis.rllib.algorithms.es:ES",
        "ESConfig": "aktis.rllib.algorithms.es:ESConfig",
        "ESTrainer": "aktis.rllib.algorithms.es:ES",
    },
)
