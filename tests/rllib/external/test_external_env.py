"""Environments that drive themselves."""

from __future__ import annotations

import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.env.base_env import convert_to_base_env
from aktis.rllib.env.external_env import EnvStopped, ExternalEnv
from aktis.rllib.env.external_multi_agent_env import ExternalMultiAgentEnv
from aktis.rllib.evaluation._episode_sampler import EpisodeSampler, EpisodeSamplerSettings
from aktis.rllib.policy.policy import Policy

OBS = gym.spaces.Box(-1000, 1000, (1,), np.float32)
ACT = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)


class HalfPolicy(Policy):
    """Always does 0.5, which is 1.0 for the environment."""

    def __init__(self) -> None:
        super().__init__(OBS, ACT, {})
        self.view_requirements = {}

    def compute_actions(self, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
        count = len(input_dict["obs"])
        return np.full((count, 1), 0.5, np.float32), [], {"action_logp": np.zeros(count, np.float32)}

    def compute_log_likelihoods(self, actions: Any, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return -np.abs(actions[:, 0])

    def get_weights(self) -> Any:
        return {}

    def set_weights(self, weights: Any) -> None:
        pass


class Worker:
    def __init__(self) -> None:
        self.policy_map = {"default_policy": HalfPolicy()}
        self.policy_mapping_fn = lambda *args, **kwargs: "default_policy"
        self.callbacks = DefaultCallbacks()


class Runs(ExternalEnv):
    """Episodes of four steps; every other one logs actions of its own."""

    def __init__(self, episodes: int | None = None) -> None:
        super().__init__(ACT, OBS)
        self.episodes = episodes
        self.actions: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            number = 0
            while self.episodes is None or number < self.episodes:
                name = self.start_episode(training_enabled=number % 3 != 2)
                for t in range(4):
                    obs = np.array([10 * number + t], np.float32)
                    if number % 3 == 1:
                        self.log_action(name, obs, np.array([-2.0], np.float32))
                    else:
                        self.actions.append(float(self.get_action(name, obs)[0]))
                    self.log_returns(name, 0.5)
                    self.log_returns(name, 0.5, {"t": t})
                self.end_episode(name, np.array([10 * number + 4], np.float32))
                number += 1
        finally:
            self.ended.set()


def sampler_of(env: ExternalEnv, **settings: Any) -> EpisodeSampler:
    return EpisodeSampler(Worker(), convert_to_base_env(env), EpisodeSamplerSettings(multi_agent=False, **settings))


def test_actions_rewards_and_logged_actions() -> None:
    env = Runs()
    sampler = sampler_of(env, complete_episodes=True)
    batch = sampler.sample(20)
    sampler.close()
    assert env.ended.wait(10)
    assert set(env.actions) == {1.0}  # 0.5 of the policy, unsquashed
    first, second, fourth = batch.split_by_episode()[:3]
    assert first["obs"][:, 0].tolist() == [0, 1, 2, 3] and first["rewards"].tolist() == [1.0] * 4
    assert first["terminateds"].tolist() == [False, False, False, True]
    assert second["actions"][:, 0].tolist() == [-1.0] * 4  # what was logged, as the policy would have made it
    assert second["action_logp"].tolist() == [-1.0] * 4
    assert fourth["obs"][0, 0] == 30  # the third was not to be learned from
    lengths = [episode.episode_length for episode in sampler.get_metrics()]
    assert set(lengths) == {4}


def test_what_run_raises_reaches_the_sampler() -> None:
    class Raises(Runs):
        def run(self) -> None:
            self.get_action(self.start_episode(), np.zeros(1, np.float32))
            raise RuntimeError("the simulator is broken")

    sampler = sampler_of(Raises())
    with pytest.raises(RuntimeError, match="run.. raised RuntimeError: the simulator is broken") as raised:
        sampler.sample(10)
    assert isinstance(raised.value.__cause__, RuntimeError)
    sampler.close()


def test_run_that_returns_is_an_error_and_not_a_hang() -> None:
    sampler = sampler_of(Runs(episodes=1))
    with pytest.raises(RuntimeError, match=r"run\(\) has returned"):
        sampler.sample(100)
    sampler.close()


def test_stopping_wakes_who_waits() -> None:
    raised: list[BaseException] = []

    class Waits(Runs):
        def run(self) -> None:
            try:
                name = self.start_episode()
                while True:
                    self.get_action(name, np.zeros(1, np.float32))
                    self.log_returns(name, 1.0)
            except EnvStopped as error:
                raised.append(error)
            finally:
                self.ended.set()

    env = Waits()
    sampler = sampler_of(env)
    sampler.sample(5)
    sampler.close()
    assert env.ended.wait(10) and raised
    env.join(10)


def test_misuse_is_named() -> None:
    env = Runs()
    with pytest.raises(KeyError, match="there is no episode 'x'"):
        env.get_action("x", np.zeros(1))
    env._max_concurrent = 1
    env.start_episode("a")
    with pytest.raises(ValueError, match="'a' is going on"):
        env.start_episode("a")
    with pytest.raises(ValueError, match="1 episodes are going on"):
        env.start_episode("b")
    env.end_episode("a", np.zeros(1))
    with pytest.raises(ValueError, match="'a' has ended"):
        env.log_returns("a", 1.0)
    with pytest.raises(ValueError, match="drives itself"):
        convert_to_base_env(Runs(), num_envs=2)


def test_several_agents() -> None:
    class Two(ExternalMultiAgentEnv):
        def __init__(self) -> None:
            super().__init__(ACT, OBS)
            self.given: list[Any] = []

        def run(self) -> None:
            while True:
                name = self.start_episode()
                for t in range(3):
                    obs = {"a": np.array([t], np.float32)}
                    if t != 1:
                        obs["b"] = np.array([100 + t], np.float32)
                    self.given.append(sorted(self.get_action(name, obs)))
                    self.log_returns(name, {"a": 1.0, "b": 2.0})
                self.end_episode(name, {"a": np.array([3], np.float32), "b": np.array([103], np.float32)})

    env = Two()
    sampler = EpisodeSampler(Worker(), convert_to_base_env(env), EpisodeSamplerSettings(complete_episodes=True))
    batch = sampler.sample(3)["default_policy"]
    sampler.close()
    env.join(10)
    assert env.given[:3] == [["a", "b"], ["a"], ["a", "b"]]
    b = batch["agent_index"] == 1
    assert batch["rewards"][b].tolist() == [4.0, 2.0] and batch["rewards"][~b].tolist() == [1.0] * 3
    with pytest.raises(ValueError, match="must be a dict by agent"):
        env.get_action(env.start_episode(), np.zeros(1))


@pytest.mark.torch
def test_an_algorithm_learns_from_an_environment_that_drives_itself() -> None:
    pytest.importorskip("torch")
    from aktis.rllib.algorithms.ppo import PPOConfig

    class Target(ExternalEnv):
        """The reward is higher the nearer the action is to 1."""

        def __init__(self, config: Any) -> None:
            super().__init__(ACT, OBS)

        def run(self) -> None:
            while True:
                name = self.start_episode()
                for _ in range(5):
                    action = self.get_action(name, np.ones(1, np.float32))
                    self.log_returns(name, -abs(float(action[0]) - 1.0))
                self.end_episode(name, np.ones(1, np.float32))

    algorithm = (
        PPOConfig()
        .environment(Target)
        .framework("torch")
        .rollouts(num_rollout_workers=0, rollout_fragment_length=100)
        .training(train_batch_size=200, sgd_minibatch_size=50, num_sgd_iter=2, model={"fcnet_hiddens": [8]})
        .build()
    )
    try:
        result = algorithm.train()
        assert result["episodes_this_iter"] >= 39 and result["num_env_steps_sampled"] == 200
        assert result["episode_len_mean"] == 5.0
    finally:
        algorithm.stop()
