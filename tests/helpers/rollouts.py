"""Small policies and environments for tests of sampling."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import gymnasium
import numpy as np

from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.evaluation.rollout_worker import RolloutWorker
from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.view_requirement import ViewRequirement


class RandomPolicy(Policy):
    """Acts at random, with its own generator; its one weight is a number."""

    def __init__(self, observation_space: Any, action_space: Any, config: Any) -> None:
        super().__init__(observation_space, action_space, config)
        seed = self.config.get("seed")
        self.rng = np.random.default_rng(None if seed is None else seed + self.worker_index)
        self.weight = np.zeros(1, np.float32)
        self.seen_timesteps: list[int] = []

    def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
        count = len(obs_batch)
        space = self.action_space
        if isinstance(space, gymnasium.spaces.Discrete):
            actions = self.rng.integers(0, space.n, count)
        else:
            actions = self.rng.uniform(-1, 1, (count, *space.shape)).astype(np.float32)
        return actions, [], {"vf_preds": self.rng.random(count).astype(np.float32)}

    def learn_on_batch(self, samples: Any) -> dict[str, Any]:
        self.weight = self.weight + 1
        return {"learner_stats": {"rows": samples.count}}

    def get_weights(self) -> dict[str, Any]:
        return {"weight": self.weight}

    def set_weights(self, weights: Any) -> None:
        self.weight = np.array(weights["weight"])

    def get_initial_state(self) -> list[Any]:
        return []

    def on_global_var_update(self, global_vars: dict[str, Any]) -> None:
        super().on_global_var_update(global_vars)
        self.seen_timesteps.append(global_vars["timestep"])


class LeanPolicy(RandomPolicy):
    """Asks for nothing but what every batch has."""

    def init_view_requirements(self) -> None:
        super().init_view_requirements()
        for name in ("new_obs", "infos", "prev_actions", "prev_rewards"):
            self.view_requirements.pop(name, None)


class CountingStatePolicy(RandomPolicy):
    """Recurrent: its state counts the steps of the episode (from 100 on), and the sum of observations."""

    def init_view_requirements(self) -> None:
        super().init_view_requirements()
        self.view_requirements["state_in_0"] = ViewRequirement(data_col="state_out_0", shift=-1)

    def get_initial_state(self) -> list[Any]:
        return [np.array([100.0, 0.0], np.float32)]

    def is_recurrent(self) -> bool:
        return True

    def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
        actions, _, extra = super().compute_actions(obs_batch)
        step = np.stack([np.ones(len(obs_batch)), obs_batch.reshape(len(obs_batch), -1)[:, 0]], axis=1)
        return actions, [(state_batches[0] + step).astype(np.float32)], extra


class Counter(gymnasium.Env):
    """Observes (number of the episode, number of the step); ends after ``length`` steps.

    env_config: length (5), truncate (False: terminated at the end), fail_at (raises in that step of that environment's
        life), nan_at,
    sleep (seconds a step).
    """

    def __init__(self, config: Any = None) -> None:
        self.config = dict(config or {})
        self.index = getattr(config, "vector_index", 0)
        self.observation_space = gymnasium.spaces.Box(-1.0, 1e6, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.episode = -1
        self.step_in_episode = 0
        self.life = 0
        self.seeds: list[int | None] = []
        self.closed = False

    def _obs(self) -> Any:
        return np.array([self.episode, self.step_in_episode], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode += 1
        self.step_in_episode = 0
        return self._obs(), {"reset": True}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r}"
        self.life += 1
        self.step_in_episode += 1
        config = self.config
        if self.life == config.get("fail_at") and self.index == config.get("fail_index", 0):
            raise RuntimeError("the simulation crashed")
        if self.life == config.get("kill_at") and config.get("kill_worker") == getattr(config, "worker_index", None):
            os.kill(os.getpid(), signal.SIGKILL)
        if config.get("sleep"):
            time.sleep(config["sleep"])
        reward = float("nan") if self.life == config.get("nan_at") else float(self.step_in_episode)
        over = self.step_in_episode >= config.get("length", 5)
        truncate = bool(config.get("truncate"))
        return self._obs(), reward, over and not truncate, over and truncate, {"life": self.life}

    def close(self) -> None:
        self.closed = True


def config_of(env: Any = Counter, env_config: Any = None, **rollouts: Any) -> AlgorithmConfig:
    """A configuration with these settings of ``rollouts()``."""
    base = {"rollout_fragment_length": 7, "num_envs_per_worker": 2}
    return AlgorithmConfig().environment(env, env_config=env_config or {}).rollouts(**{**base, **rollouts})


def worker_of(config: AlgorithmConfig, policy: Any = RandomPolicy, **kwargs: Any) -> RolloutWorker:
    """A worker in this process."""
    return RolloutWorker(config=config, default_policy_class=policy, **kwargs)
