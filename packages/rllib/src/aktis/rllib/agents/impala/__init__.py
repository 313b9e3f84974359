"""IMPALA by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.impala:ImpalaConfig",
        "IMPALATrainer": "aktis.rllib.algorithms.impala:Impala",
        "Impala": "aktis.rllib.algorithms.impala:Impala",
        "ImpalaConfig": "aktis.rllib.algorithms.impala:ImpalaConfig",
        "ImpalaTF2Policy": "aktis.rllib.algorithms.impala.impala_tf_policy:ImpalaTF2Policy",
        "ImpalaTorchPolicy": "aktis.rllib.algorithms.impala.impala_torch_policy:ImpalaTorchPolicy",
        "ImpalaTrainer": "aktis.rllib.algorithms.impala:Impala",
    },
)
