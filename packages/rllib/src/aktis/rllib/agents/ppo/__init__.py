"""PPO and APPO by the names that they had in earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "APPO": "aktis.rllib.algorithms.appo:APPO",
        "APPOConfig": "aktis.rllib.algorithms.appo:APPOConfig",
        "APPOTF2Policy": "aktis.rllib.algorithms.appo.appo_tf_policy:APPOTF2Policy",
        "APPOTorchPolicy": "aktis.rllib.algorithms.appo.appo_torch_policy:APPOTorchPolicy",
        "APPOTrainer": "aktis.rllib.algorithms.appo:APPO",
        "DEFAULT_CONFIG": "aktis.rllib.algorithms.ppo:PPOConfig",
        "PPO": "aktis.rllib.algorithms.ppo:PPO",
        "PPOConfig": "aktis.rllib.algorithms.ppo:PPOConfig",
        "PPOTF2Policy": "aktis.rllib.algorithms.ppo.ppo_tf_policy:PPOTF2Policy",
        "PPOTorchPolicy": "aktis.rllib.algorithms.ppo.ppo_torch_policy:PPOTorchPolicy",
        "PPOTrainer": "aktis.rllib.algorithms.ppo:PPO",
    },
)
