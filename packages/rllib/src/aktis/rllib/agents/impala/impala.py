"""By the names of earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.impala:ImpalaConfig",
        "IMPALATrainer": "aktis.rllib.algorithms.impala:Impala",
        "Impala": "aktis.rllib.algorithms.impala:Impala",
        "ImpalaConfig": "aktis.rllib.algorithms.impala:ImpalaConfig",
        "ImpalaTrainer": "aktis.rllib.algorithms.impala:Impala",
    },
)
