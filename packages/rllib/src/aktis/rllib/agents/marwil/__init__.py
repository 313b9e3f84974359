"""MARWIL and BC by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BC": "aktis.rllib.algorithms.bc:BC",
        "BCConfig": "aktis.rllib.algorithms.bc:BCConfig",
        "BCTrainer": "aktis.rllib.algorithms.bc:BC",
        "BC_DEFAULT_CONFIG": "aktis.rllib.algorithms.bc:BCConfig",
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.marwil:MARWILConfig",
        "MARWIL": "aktis.rllib.algorithms.marwil:MARWIL",
        "MARWILConfig": "aktis.rllib.algorithms.marwil:MARWILConfig",
        "MARWILTF2Policy": "aktis.rllib.algorithms.marwil.marwil_tf_policy:MARWILTF2Policy",
        "MARWILTorchPolicy": "aktis.rllib.algorithms.marwil.marwil_torch_policy:MARWILTorchPolicy",
        "MARWILTrainer": "aktis.rllib.algorithms.marwil:MARWIL",
    },
)
