"""Algorithms over several agents: what is trained, counted, frozen, added and mended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import aktis as ray
from aktis.rllib.algorithms.dqn import DQNConfig
from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.env.wrappers.pettingzoo_env import PettingZooEnv
from aktis.rllib.examples.env.cartpole_crashing import MultiAgentCartPoleCrashing
from aktis.rllib.examples.env.curriculum_capable_env import CurriculumCapableEnv
from aktis.rllib.examples.env.multi_agent import MultiAgentCartPole, MultiAgentStatelessCartPole
from aktis.rllib.examples.env.two_step_game import TwoStepGame
from aktis.rllib.examples.env.windy_maze_env import HierarchicalWindyMazeEnv
from aktis.rllib.policy.policy import PolicySpec

pytestmark = pytest.mark.torch


def by_agent(agent_id: Any, episode: Any, worker: Any, **kwargs: Any) -> str:
    return f"p{agent_id}"


def ppo(env: Any = MultiAgentCartPole, **env_config: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env, env_config={"num_agents": 2, **env_config})
        .framework("torch")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=2)
        .training(train_batch_size=200, sgd_minibatch_size=100, num_sgd_iter=2, model={"fcnet_hiddens": [16]})
        .debugging(seed=4)
    )


def weights_differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one)


def test_only_policies_to_train_learn_and_a_policy_is_added() -> None:
    algorithm = ppo().multi_agent(policies={"p0", "p1"}, policy_mapping_fn=by_agent, policies_to_train=["p0"]).build()
    try:
        before = algorithm.get_weights()
        result = algorithm.train()
        after = algorithm.get_weights()
        assert weights_differ(before["p0"], after["p0"]) and not weights_differ(before["p1"], after["p1"])
        assert set(result["info"]["learner"]) == {"p0"}
        assert set(result["policy_reward_mean"]) == {"p0", "p1"}
        assert result["num_env_steps_sampled"] == 200 < result["num_agent_steps_sampled"] <= 400
        total = result["policy_reward_mean"]["p0"] + result["policy_reward_mean"]["p1"]
        assert result["episode_reward_mean"] == pytest.approx(total)
        algorithm.add_policy(
            "new",
            type(algorithm.get_policy("p0")),
            policy_mapping_fn=lambda *args, **kwargs: "new",
            policies_to_train=["new"],
        )
        algorithm.train()
        result = algorithm.train()  # episodes that ran with the old policies are over by now
        assert "new" in result["info"]["learner"]
        actions = algorithm.compute_single_action(np.zeros(4, np.float32), policy_id="new")
        assert actions in (0, 1)
    finally:
        algorithm.stop()


def test_steps_are_counted_by_agents_if_asked() -> None:
    algorithm = (
        ppo()
        .multi_agent(policies={"p"}, policy_mapping_fn=lambda *args, **kwargs: "p", count_steps_by="agent_steps")
        .build()
    )
    try:
        result = algorithm.train()
        assert 200 <= result["num_agent_steps_sampled"] < 210
        assert result["num_env_steps_sampled"] < 200
    finally:
        algorithm.stop()


def test_recurrent_policies_of_several_agents() -> None:
    config = ppo(MultiAgentStatelessCartPole).multi_agent(policies={"p0", "p1"}, policy_mapping_fn=by_agent)
    config.training(
        train_batch_size=80, sgd_minibatch_size=40, model={"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5}
    )
    algorithm = config.build()
    try:
        result = algorithm.train()
        assert {
            name: np.isfinite(info["learner_stats"]["total_loss"]) for name, info in result["info"]["learner"].items()
        } == {"p0": True, "p1": True}
    finally:
        algorithm.stop()


def test_agents_of_different_kinds_and_speeds() -> None:
    maze = HierarchicalWindyMazeEnv()
    policies = {
        "high": PolicySpec(None, maze.flat_env.observation_space, maze.high_level_act_space, {"gamma": 0.9}),
        "low": PolicySpec(None, maze.low_level_obs_space, maze.flat_env.action_space, {}),
    }
    config = ppo(HierarchicalWindyMazeEnv).multi_agent(
        policies=policies,
        policy_mapping_fn=lambda agent, *args, **kwargs: "high" if agent.startswith("high") else "low",
    )
    algorithm = config.training(train_batch_size=600, sgd_minibatch_size=100).build()
    try:
        result = algorithm.train()
        assert set(result["info"]["learner"]) == {"high", "low"}
        assert algorithm.get_policy("high").config["gamma"] == 0.9
    finally:
        algorithm.stop()


def test_pettingzoo_and_two_algorithms() -> None:
    rps = pytest.importorskip("pettingzoo.classic.rps_v2")
    ray.tune.register_env("rps", lambda config: PettingZooEnv(rps.env(max_cycles=5)))
    algorithm = ppo("rps").multi_agent(policies={"p"}, policy_mapping_fn=lambda *args, **kwargs: "p").build()
    try:
        result = algorithm.train()
        assert result["episode_reward_mean"] == 0.0  # what one wins the other loses
    finally:
        algorithm.stop()


def test_dqn_over_two_agents() -> None:
    config = (
        DQNConfig()
        .environment(TwoStepGame)
        .framework("torch")
        .rollouts(num_rollout_workers=0, rollout_fragment_length=4)
        .training(train_batch_size=16, num_steps_sampled_before_learning_starts=20, model={"fcnet_hiddens": [8]})
        .reporting(min_sample_timesteps_per_iteration=60)
        .multi_agent(policies={"p0", "p1"}, policy_mapping_fn=by_agent)
    )
    algorithm = config.build()
    try:
        result = algorithm.train()
        assert set(result["info"]["learner"]) == {"p0", "p1"}
    finally:
        algorithm.stop()


def test_curriculum() -> None:
    seen: list[Any] = []

    def harder(result: dict[str, Any], env: Any, context: Any) -> int:
        seen.append((env.get_task(), context.vector_index))
        assert "episode_reward_mean" in result
        return min(10, env.get_task() + 1)

    algorithm = ppo(CurriculumCapableEnv).environment(CurriculumCapableEnv, env_task_fn=harder).build()
    try:
        for _ in range(2):
            algorithm.train()
        tasks = algorithm.workers.local_worker().foreach_env(
            lambda env: (env.unwrapped.get_task(), env.unwrapped.switches)
        )
        assert tasks == [(3, 2), (3, 2)]
        assert {index for _, index in seen} == {0, 1}
    finally:
        algorithm.stop()


@pytest.fixture
def started() -> Any:
    ray.init(num_cpus=3)
    yield
    ray.shutdown()


def test_workers_with_environments_that_crash(started: None) -> None:
    config = ppo(MultiAgentCartPoleCrashing, p_crash=0.02).multi_agent(
        policies={"p0", "p1"}, policy_mapping_fn=by_agent
    )
    config.rollouts(num_rollout_workers=1, num_envs_per_worker=2, restart_failed_sub_environments=True)
    algorithm = config.build()
    try:
        results = [algorithm.train() for _ in range(2)]
        assert results[-1]["num_env_steps_sampled"] >= 400
        assert sum(result["num_faulty_episodes"] for result in results) > 0
    finally:
        algorithm.stop()
