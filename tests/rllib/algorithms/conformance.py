"""What every algorithm does: the tests of each derive from ``AlgorithmConformance``.

::

    class TestPPO(AlgorithmConformance):
        action_spaces = (*DISCRETE, *CONTINUOUS)

        def config(self) -> AlgorithmConfig:
            return PPOConfig().training(train_batch_size=64, sgd_minibatch_size=32, num_sgd_iter=2)
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import tree
from gymnasium import spaces

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.env.multi_agent_env import MultiAgentEnv

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)

OBSERVATION_SPACES: dict[str, gym.Space[Any]] = {
    "box": BOX,
    "image": spaces.Box(0, 255, (42, 42, 3), np.uint8),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": BOX, "b": spaces.Dict({"c": spaces.Discrete(2)})}),
    "tuple": spaces.Tuple((BOX, spaces.Discrete(3))),
}
ACTION_SPACES: dict[str, gym.Space[Any]] = {
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "box": spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32)),
    "dict": spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1.0, 1.0, (2,), np.float32)}),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-3.0, 1.0, (1,), np.float32))),
}
DISCRETE, CONTINUOUS, COMPOSED = ("discrete", "multi_discrete"), ("box",), ("dict", "tuple")


class SpacesEnv(gym.Env[Any, Any]):
    """Random observations of a space; episodes of 5 steps that terminate, and of 7 that are truncated, in turns.

    An action that is not in the action space is an error.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.observation_space = config["observation_space"]
        self.action_space = config["action_space"]
        self._episode = self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._episode += 1
        self._step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self._step += 1
        even = self._episode % 2 == 0
        reward = float(np.sum(tree.flatten(action)[0]))
        return self.observation_space.sample(), reward, even and self._step == 5, not even and self._step == 7, {}


class TwoAgentsEnv(MultiAgentEnv):
    """Two agents with the same spaces; "slow" acts every other step, and both end together after 6."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.observation_space, self.action_space = config["observation_space"], config["action_space"]
        self._agent_ids = {"fast", "slow"}
        self._step = 0

    def _observe(self) -> dict[str, Any]:
        agents = ["fast", "slow"] if self._step % 2 == 0 else ["fast"]
        return {agent: self.observation_space.sample() for agent in agents}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self._observe(), {}

    def step(self, action_dict: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        self._step += 1
        over = self._step == 6
        rewards = dict.fromkeys(action_dict, 1.0)
        return self._observe(), rewards, {"__all__": over}, {"__all__": False}, {}


class AlgorithmConformance:
    """Derive from it; ``config`` is a small one, and the class attributes say what the algorithm is able to do."""

    framework: ClassVar[str] = "torch"
    observation_spaces: ClassVar[tuple[str, ...]] = tuple(OBSERVATION_SPACES)
    action_spaces: ClassVar[tuple[str, ...]] = tuple(ACTION_SPACES)
    recurrent: ClassVar[bool] = True
    multi_agent: ClassVar[bool] = True
    iterations: ClassVar[int] = 1  # until something has been learned
    learner_keys: ClassVar[tuple[str, ...]] = ()  # of learner_stats

    def config(self) -> AlgorithmConfig:
        raise NotImplementedError

    def made(
        self, observation: str = "box", action: str | None = None, env: Any = SpacesEnv, seed: int = 3, **model: Any
    ) -> AlgorithmConfig:
        """The small configuration, on an environment with these spaces."""
        env_config = {
            "observation_space": OBSERVATION_SPACES[observation],
            "action_space": ACTION_SPACES[action or self.action_spaces[0]],
        }
        config = self.config().environment(env, env_config=env_config).framework(self.framework).debugging(seed=seed)
        config.rollouts(num_rollout_workers=0).reporting(min_time_s_per_iteration=0)
        config.training(model={"fcnet_hiddens": [8], **model})
        return config

    def train(self, algorithm: Algorithm) -> dict[str, Any]:
        """As many iterations as learning needs; the last result."""
        result: dict[str, Any] = {}
        for _ in range(self.iterations):
            result = algorithm.train()
        return result

    def weights_after_training(self, config: AlgorithmConfig) -> dict[str, Any]:
        algorithm = config.build()
        try:
            self.train(algorithm)
            return _copied(algorithm.get_policy().get_weights())
        finally:
            algorithm.stop()

    @pytest.mark.parametrize("observation", OBSERVATION_SPACES)
    def test_learns_from_every_observation_space(self, observation: str) -> None:
        if observation not in self.observation_spaces:
            pytest.skip("not one of this algorithm's")
        self._check_learning(self.made(observation=observation))

    @pytest.mark.parametrize("action", ACTION_SPACES)
    def test_acts_in_every_action_space(self, action: str) -> None:
        if action not in self.action_spaces:
            pytest.skip("not one of this algorithm's")
        self._check_learning(self.made(action=action))

    def _check_learning(self, config: AlgorithmConfig) -> None:
        algorithm = config.build()
        try:
            before = _copied(algorithm.get_policy().get_weights())
            result = self.train(algorithm)
            after = algorithm.get_policy().get_weights()
            assert not _equal(before, after), "the weights have not changed"
            stats = result["info"]["learner"]["default_policy"]["learner_stats"]
            assert set(self.learner_keys) <= set(stats)
            for name, value in stats.items():
                assert value is None or np.all(np.isfinite(value)), f"{name} is {value}"
            assert result["num_env_steps_sampled"] > 0 and result["num_env_steps_trained"] > 0
            assert math.isfinite(result["episode_reward_mean"])
            assert 5 <= result["episode_len_mean"] <= 7
            space = config.env_config["action_space"]
            action = algorithm.compute_single_action(config.env_config["observation_space"].sample())
            assert space.contains(action), f"{action!r} is not in {space}"
        finally:
            algorithm.stop()

    def test_acts_the_same_without_exploration(self) -> None:
        algorithm = self.made().build()
        try:
            obs = OBSERVATION_SPACES["box"].sample()
            actions = [algorithm.compute_single_action(obs, explore=False) for _ in range(5)]
            assert all(np.array_equal(action, actions[0]) for action in actions)
            action, state, extra = algorithm.compute_single_action(obs, full_fetch=True)
            assert state == [] and isinstance(extra, dict)
        finally:
            algorithm.stop()

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        first = self.weights_after_training(self.made(seed=5))
        assert _equal(first, self.weights_after_training(self.made(seed=5)))
        assert not _equal(first, self.weights_after_training(self.made(seed=6)))

    def test_a_checkpoint_goes_on_where_it_was(self, tmp_path: Path) -> None:
        algorithm = self.made().build()
        try:
            result = self.train(algorithm)
            path = algorithm.save(str(tmp_path))
            state = algorithm.get_policy().get_state()
        finally:
            algorithm.stop()
        other = Algorithm.from_checkpoint(path)
        try:
            assert type(other) is type(algorithm)
            assert _equal(state["weights"], other.get_policy().get_weights())
            assert _same_state(state, other.get_policy().get_state())
            assert other.iteration == result["training_iteration"]
            later = other.train()
            assert later["training_iteration"] == result["training_iteration"] + 1
            assert later["num_env_steps_sampled"] > result["num_env_steps_sampled"]
            assert later["num_env_steps_trained"] >= result["num_env_steps_trained"]
        finally:
            other.stop()

    def test_restoring_into_an_algorithm_that_is_there(self, tmp_path: Path) -> None:
        algorithm, other = self.made(seed=1).build(), self.made(seed=2).build()
        try:
            self.train(algorithm)
            other.restore(algorithm.save(str(tmp_path)))
            assert _equal(algorithm.get_policy().get_weights(), other.get_policy().get_weights())
            obs = OBSERVATION_SPACES["box"].sample()
            ours, theirs = (one.compute_single_action(obs, explore=False) for one in (algorithm, other))
            assert np.array_equal(ours, theirs)
        finally:
            algorithm.stop()
            other.stop()

    def test_a_configuration_survives_being_a_dictionary(self) -> None:
        config = self.made()
        again = type(config)().update_from_dict(config.to_dict())
        assert _comparable(again.to_dict()) == _comparable(config.to_dict())
        with pytest.raises((KeyError, TypeError, ValueError)):
            config.training(no_such_setting=1)

    @pytest.mark.parametrize("memory", ["use_lstm", "use_attention"])
    def test_learns_with_memory(self, memory: str) -> None:
        if not self.recurrent:
            pytest.skip("not one of this algorithm's")
        sizes = {"lstm_cell_size": 8, "attention_dim": 8, "attention_head_dim": 4, "attention_position_wise_mlp_dim": 8}
        algorithm = self.made(max_seq_len=4, **{memory: True}, **sizes).build()
        try:
            before = _copied(algorithm.get_policy().get_weights())
            self.train(algorithm)
            assert not _equal(before, algorithm.get_policy().get_weights())
            policy = algorithm.get_policy()
            obs = OBSERVATION_SPACES["box"].sample()
            action, state, _ = algorithm.compute_single_action(obs, policy.get_initial_state())
            assert len(state) == len(policy.get_initial_state())
        finally:
            algorithm.stop()

    def test_learns_with_two_policies_and_trains_only_those_named(self) -> None:
        if not self.multi_agent:
            pytest.skip("not one of this algorithm's")
        config = self.made(env=TwoAgentsEnv)
        config.multi_agent(
            policies={"fast", "slow"},
            policy_mapping_fn=lambda agent_id, *args, **kwargs: agent_id,
            policies_to_train=["fast"],
        )
        algorithm = config.build()
        try:
            before = {name: _copied(algorithm.get_policy(name).get_weights()) for name in ("fast", "slow")}
            result = self.train(algorithm)
            assert not _equal(before["fast"], algorithm.get_policy("fast").get_weights())
            assert _equal(before["slow"], algorithm.get_policy("slow").get_weights())
            assert set(result["info"]["learner"]) == {"fast"}
            assert result["num_agent_steps_sampled"] > result["num_env_steps_sampled"]
        finally:
            algorithm.stop()


def _copied(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: np.array(array) for name, array in weights.items()}


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def _same_state(one: Any, other: Any) -> bool:
    """Whether two states hold the same numbers; of objects only the type counts."""
    if isinstance(one, dict):
        keys = {key for key in one if key not in ("policy_spec", "connector_configs")}
        return keys <= set(other) and all(_same_state(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same_state, one, other))
    if isinstance(one, np.ndarray | int | float):
        return bool(np.array_equal(one, other))
    return type(one) is type(other)


def _comparable(settings: Any) -> Any:
    """Settings without what is no value: functions and classes are there by name."""
    if isinstance(settings, dict):
        return {str(key): _comparable(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple | set):
        return [_comparable(value) for value in settings]
    return getattr(settings, "__qualname__", None) or repr(settings)
