"""A3C and A2C by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "A2C": "aktis.rllib.algorithms.a2c:A2C",
        "A2CConfig": "aktis.rllib.algorithms.a2c:A2CConfig",
        "A2CTrainer": "aktis.rllib.algorithms.a2c:A2C",
        "A2C_DEFAULT_CONFIG": "aktis.rllib.algorithms.a2c:A2CConfig",
        "A3C": "aktis.rllib.algorithms.a3c:A3C",
        "A3CConfig": "aktis.rllib.algorithms.a3c:A3CConfig",
        "A3CTorchPolicy": "aktis.rllib.algorithms.a3c.a3c_torch_policy:A3CTorchPolicy",
        "A3CTrainer": "aktis.rllib.algorithms.a3c:A3C",
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.a3c:A3CConfig",
    },
)
