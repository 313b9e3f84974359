"""By the names of earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.pg:PGConfig",
        "PG": "aktis.rllib.algorithms.pg:PG",
        "PGConfig": "aktis.rllib.algorithms.pg:PGConfig",
        "PGTrainer": "aktis.rllib.algorithms.pg:PG",
    },
)
