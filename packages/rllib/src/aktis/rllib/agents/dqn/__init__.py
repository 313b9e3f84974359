"""DQN and SimpleQ by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.dqn:DQNConfig",
        "DQN": "aktis.rllib.algorithms.dqn:DQN",
        "DQNConfig": "aktis.rllib.algorithms.dqn:DQNConfig",
        "DQNTorchPolicy": "aktis.rllib.algorithms.dqn.dqn_torch_policy:DQNTorchPolicy",
        "DQNTrainer": "aktis.rllib.algorithms.dqn:DQN",
        "SIMPLE_Q_DEFAULT_CONFIG": "aktis.rllib.algorithms.simple_q:SimpleQConfig",
        "SimpleQ": "aktis.rllib.algorithms.simple_q:SimpleQ",
        "SimpleQConfig": "aktis.rllib.algorithms.simple_q:SimpleQConfig",
        "SimpleQTF2Policy": "aktis.rllib.algorithms.simple_q.simple_q_tf_policy:SimpleQTF2Policy",
        "SimpleQTorchPolicy": "aktis.rllib.algorithms.simple_q.simple_q_torch_policy:SimpleQTorchPolicy",
        "SimpleQTrainer": "aktis.rllib.algorithms.simple_q:SimpleQ",
    },
)
