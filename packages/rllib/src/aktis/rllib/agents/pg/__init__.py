"""PG by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.pg:PGConfig",
        "PG": "aktis.rllib.algorithms.pg:PG",
        "PGConfig": "aktis.rllib.algorithms.pg:PGConfig",
        "PGTF2Policy": "aktis.rllib.algorithms.pg.pg_tf_policy:PGTF2Policy",
        "PGTorchPolicy": "aktis.rllib.algorithms.pg.pg_torch_policy:PGTorchPolicy",
        "PGTrainer": "aktis.rllib.algorithms.pg:PG",
    },
)
