"""A policy that needs no framework, an algorithm that learns a number, and environments that are over soon."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import aktis
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
from aktis.rllib.policy.policy import Policy


class Corridor(gym.Env):
    """`length` steps long; the reward of a step is the action. What is observed is how far one is, and the task."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, config=None):
        self.length = (config or {}).get("length", 5)
        self.task = 0
        self.observation_space = gym.spaces.Box(-1, 1e6, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = 0
        return self._seen(), {}

    def step(self, action):
        self.position += 1
        return self._seen(), float(action), self.position >= self.length, False, {}

    def _seen(self):
        return np.array([self.position, self.task], np.float32)

    def get_task(self):
        return self.task

    def set_task(self, task):
        self.task = task


class Coin(Policy):
    """Throws a coin that shows 1 with the probability `bias`, its only weight; without exploring, it is always 1."""

    def __init__(self, observation_space, action_space, config):
        super().__init__(observation_space, action_space, config)
        self.bias = np.float64(0.5)
        seed = config.get("seed")
        self.rng = np.random.default_rng(None if seed is None else seed + self.worker_index)

    def compute_actions(self, obs_batch, state_batches=None, *args, explore=None, timestep=None, **kwargs):
        rows = len(obs_batch)
        explore = self.config["explore"] if explore is None else explore
        actions = (self.rng.random(rows) < self.bias).astype(np.int64) if explore else np.ones(rows, np.int64)
        return actions, [], {"bias": np.full(rows, self.bias)}

    def learn_on_batch(self, samples):
        self.bias = np.float64(min(self.bias + 0.1, 1.0))
        self.num_grad_updates += 1
        return {"learner_stats": {"bias": float(self.bias), "steps": samples.count}}

    def get_weights(self):
        return {"bias": np.array(self.bias)}

    def set_weights(self, weights):
        self.bias = np.float64(weights["bias"])


class CoinConfig(AlgorithmConfig):
    def __init__(self, algo_class=None):
        super().__init__(algo_class or CoinAlgorithm)
        self.framework_str = None
        self.train_batch_size = 20
        self.rollout_fragment_length = "auto"
        self.exploration_config = {}
        self.heads = 0
        self.store_buffer_in_checkpoints = False
        self.env = Corridor

    def training(self, *, heads=None, **kwargs):
        super().training(**kwargs)
        if heads is not None:
            self.heads = heads
        return self


class CoinAlgorithm(Algorithm):
    @classmethod
    def get_default_config(cls):
        return CoinConfig(cls)

    @classmethod
    def get_default_policy_class(cls, config):
        return Coin

    def training_step(self):
        batch = synchronous_parallel_sample(worker_set=self.workers, max_env_steps=self.config.train_batch_size)
        batch = batch.as_multi_agent()
        for side in ("sampled", "trained"):
            self._counters[f"num_env_steps_{side}"] += batch.env_steps()
            self._counters[f"num_agent_steps_{side}"] += batch.agent_steps()
        results = self.workers.local_worker().learn_on_batch(batch)
        self.workers.sync_weights(policies=list(results), global_vars=self._global_vars())
        return results

    def _training_state(self):
        return {"kept": np.arange(self._counters["num_env_steps_sampled"])}

    def _load_training_state(self, state):
        self.kept = state["kept"]


@pytest.fixture
def coin():
    """The configuration."""
    return CoinConfig()


@pytest.fixture
def build():
    """`build(config)`: the algorithm, which is stopped in the end."""
    made = []

    def build(config, **kwargs):
        made.append(config.build(**kwargs))
        return made[-1]

    yield build
    for algorithm in made:
        algorithm.stop()


@pytest.fixture(scope="module")
def cluster():
    aktis.init(num_cpus=4, log_to_driver=False)
    yield
    aktis.shutdown()
