"""PPOTrainer of ray.rllib.agents with an environment of Gym, and tune.run("PPO")."""

import sys

import gym
import numpy as np
import ray
import ray.rllib.agents.ppo as ppo
from ray import tune
from ray.rllib.agents.callbacks import DefaultCallbacks
from ray.tune.logger import pretty_print
from ray.tune.registry import register_env


class Steps(gym.Env):
    def __init__(self, env_config):
        self.action_space = gym.spaces.Discrete(2)
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self):
        self.count = 0
        return np.zeros(2, np.float32)

    def step(self, action):
        self.count += 1
        return np.zeros(2, np.float32), float(action), self.count >= 5, {}


class Callbacks(DefaultCallbacks):
    def on_episode_end(self, *, worker, base_env, policies, episode, **kwargs):
        episode.custom_metrics["length"] = episode.length


ray.init(num_cpus=2, log_to_driver=False)
config = ppo.DEFAULT_CONFIG.copy()
config.update(
    {
        "num_workers": 1,
        "framework": "torch",
        "train_batch_size": 64,
        "rollout_fragment_length": 32,
        "sgd_minibatch_size": 32,
        "num_sgd_iter": 1,
        "callbacks": Callbacks,
        "model": {"fcnet_hiddens": [8]},
    }
)
trainer = ppo.PPOTrainer(config=config, env=Steps)
result = trainer.train()
print(
    "length",
    result["episode_len_mean"],
    result["custom_metrics"]["length_mean"],
    "timesteps_total" in pretty_print(result),
)
action = trainer.compute_single_action(np.zeros(2, np.float32))
print("action", action in (0, 1))
trainer.stop()
register_env("steps", lambda env_config: Steps(env_config))
small = {
    name: config[name]
    for name in (
        "framework",
        "train_batch_size",
        "rollout_fragment_length",
        "sgd_minibatch_size",
        "num_sgd_iter",
        "model",
    )
}
analysis = tune.run(
    "PPO",
    config={"env": "steps", "num_workers": 0, **small},
    stop={"training_iteration": 1},
    local_dir=sys.argv[1],
    verbose=0,
)
print("tuned", analysis.trials[0].last_result["training_iteration"])
