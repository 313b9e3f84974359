"""Environments of several agents, and what makes all kinds alike."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import aktis as ray
from aktis.rllib.env.apis.task_settable_env import set_task_if_different
from aktis.rllib.env.base_env import ASYNC_RESET_RETURN, BaseEnv, convert_to_base_env
from aktis.rllib.env.multi_agent_env import MultiAgentEnv, make_multi_agent
from aktis.rllib.env.remote_base_env import RemoteBaseEnv
from aktis.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv, PettingZooEnv
from aktis.rllib.evaluation._episode_sampler import EpisodeSampler, EpisodeSamplerSettings
from aktis.rllib.examples.env.cartpole_crashing import CartPoleCrashing
from aktis.rllib.examples.env.correlated_actions_env import CorrelatedActionsEnv
from aktis.rllib.examples.env.curriculum_capable_env import CurriculumCapableEnv
from aktis.rllib.examples.env.debug_counter_env import DebugCounterEnv, MultiAgentDebugCounterEnv
from aktis.rllib.examples.env.mock_env import MockEnv2, MockVectorEnv
from aktis.rllib.examples.env.multi_agent import BasicMultiAgent, MultiAgentCartPole, MultiAgentMountainCar
from aktis.rllib.examples.env.parametric_actions_cartpole import (
    ParametricActionsCartPole,
    ParametricActionsCartPoleNoEmbeddings,
)
from aktis.rllib.examples.env.random_env import RandomEnv
from aktis.rllib.examples.env.repeat_after_me_env import RepeatAfterMeEnv
from aktis.rllib.examples.env.repeat_initial_obs_env import RepeatInitialObsEnv
from aktis.rllib.examples.env.rock_paper_scissors import RockPaperScissors
from aktis.rllib.examples.env.simple_corridor import SimpleCorridor
from aktis.rllib.examples.env.stateless_cartpole import StatelessCartPole
from aktis.rllib.examples.env.two_step_game import TwoStepGame, TwoStepGameWithGroupedAgents
from aktis.rllib.examples.env.windy_maze_env import HierarchicalWindyMazeEnv, WindyMazeEnv


def play(env: Any, steps: int = 300) -> int:
    """Random actions, every observation checked; how many episodes ended."""
    ended = 0
    obs, _ = env.reset(seed=1)
    for _ in range(steps):
        if isinstance(env, MultiAgentEnv):
            if env.observation_space is not None:
                assert env.observation_space_contains(obs), obs
            actions = {agent: env.get_action_space(agent).sample() for agent in obs}
            obs, _, terminateds, truncateds, infos = env.step(actions)
            assert set(infos) <= set(obs) | {"__common__"}
            over = terminateds["__all__"] or truncateds["__all__"]
            obs = {
                agent: value for agent, value in obs.items() if not (terminateds.get(agent) or truncateds.get(agent))
            }
        else:
            assert env.observation_space.contains(obs), obs
            obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
        if over:
            ended += 1
            obs, _ = env.reset()
    return ended


@pytest.mark.parametrize(
    "make",
    [
        lambda: BasicMultiAgent(3),
        lambda: MultiAgentCartPole({"num_agents": 2}),
        lambda: MultiAgentDebugCounterEnv({"base_episode_len": 40}),
        RockPaperScissors,
        TwoStepGame,
        lambda: TwoStepGame({"one_hot_state_encoding": True, "separate_state_space": True}),
        lambda: TwoStepGame({"actions_are_logits": True}),
        TwoStepGameWithGroupedAgents,
        CorrelatedActionsEnv,
        CurriculumCapableEnv,
        DebugCounterEnv,
        ParametricActionsCartPole,
        ParametricActionsCartPoleNoEmbeddings,
        RandomEnv,
        lambda: RandomEnv(
            {
                "observation_space": gym.spaces.Dict({"a": gym.spaces.Discrete(3)}),
                "max_episode_len": 5,
                "p_terminated": 0,
            }
        ),
        RepeatAfterMeEnv,
        RepeatInitialObsEnv,
        lambda: SimpleCorridor({"corridor_length": 3}),
        StatelessCartPole,
        WindyMazeEnv,
    ],
)
def test_example_environments_keep_their_promises(make: Any) -> None:
    env = make()
    assert play(env) >= 1
    env.close()


def test_hierarchy_of_agents() -> None:
    env = HierarchicalWindyMazeEnv()
    obs, _ = env.reset(seed=0)
    rewards: dict[str, float] = {}
    over = False
    while not over:
        obs, new, terminateds, truncateds, _ = env.step(dict.fromkeys(obs, 1))
        for agent, reward in new.items():
            rewards[agent] = rewards.get(agent, 0) + reward
        over = terminateds["__all__"] or truncateds["__all__"]
        obs = {agent: value for agent, value in obs.items() if not terminateds.get(agent)}
    assert "high_level_agent" in rewards and "low_level_8" in rewards  # 200 steps, 25 each


def test_copies_end_each_for_itself() -> None:
    env = make_multi_agent(lambda config: MockEnv2(config["length"]))({"num_agents": 2, "length": 2})
    env.reset()
    env.step({0: 0, 1: 0})
    obs, rewards, terminateds, truncateds, _ = env.step({0: 0})
    assert (obs, rewards, terminateds["__all__"]) == ({0: 2}, {0: 100.0}, False) and terminateds[0]
    _, _, terminateds, truncateds, _ = env.step({1: 0})
    assert terminateds["__all__"] and not truncateds["__all__"]
    with pytest.raises(ValueError, match="num_agents=0"):
        MultiAgentMountainCar({"num_agents": 0})


def test_spaces_by_agent() -> None:
    class Env(MultiAgentEnv):
        def __init__(self) -> None:
            super().__init__()
            self._agent_ids = {"x", "y"}
            self.observation_space = gym.spaces.Dict({"x": gym.spaces.Discrete(2), "y": gym.spaces.Discrete(9)})
            self.action_space = gym.spaces.Discrete(4)

    env = Env()
    assert env.observation_space_contains({"y": 8}) and not env.observation_space_contains({"x": 8})
    assert not env.observation_space_contains({"z": 0})
    assert env.get_action_space("x") == env.get_action_space("y") == gym.spaces.Discrete(4)
    assert set(env.action_space_sample()) == {"x", "y"} and set(env.observation_space_sample(["y"])) == {"y"}
    with pytest.raises(KeyError, match="no space for agent 'z'"):
        env.get_observation_space("z")
    env.action_space = None
    with pytest.raises(ValueError, match="action_space is None"):
        env.get_action_space("x")


def test_groups_act_as_one() -> None:
    env = TwoStepGameWithGroupedAgents()
    obs, _ = env.reset()
    assert obs == {"agents": (0, 3)} and env.observation_space_contains(obs)
    env.step({"agents": (1, 1)})
    obs, rewards, terminateds, _, infos = env.step({"agents": (1, 1)})
    assert rewards == {"agents": 8.0} and terminateds["__all__"]
    assert infos["agents"]["_group_rewards"] == [4.0, 4.0]
    with pytest.raises(ValueError, match="2 agents and was given 1"):
        env.step({"agents": (1,)})
    with pytest.raises(ValueError, match="agent 0 is in two groups"):
        TwoStepGame().with_agent_groups({"a": [0], "b": [0, 1]})


def test_pettingzoo_in_turns_and_together() -> None:
    from pettingzoo.utils import parallel_to_aec

    parallel = ParallelPettingZooEnv(Countdown())
    assert play(parallel, 50) >= 5
    turns = PettingZooEnv(parallel_to_aec(Countdown()))
    assert play(turns, 50) >= 2
    assert turns.get_agent_ids() == {"p0", "p1"}
    obs, _ = turns.reset(seed=0)
    assert list(obs) == ["p0"]
    obs, rewards, *_ = turns.step({"p0": 1})
    assert list(obs) == ["p1"]
    with pytest.raises(ValueError, match="it is the turn of 'p1'"):
        turns.step({"p0": 1})


class Countdown:
    """A parallel environment of PettingZoo: two players, four steps; player 0 is truncated after two."""

    metadata: dict[str, Any] = {"name": "countdown_v0", "is_parallelizable": True, "render_modes": []}
    render_mode = None

    def __init__(self) -> None:
        self.possible_agents = ["p0", "p1"]
        self.agents: list[str] = []
        self.steps = 0

    @property
    def unwrapped(self) -> Countdown:
        return self

    def observation_space(self, agent: str) -> gym.Space:
        return gym.spaces.Discrete(10)

    def action_space(self, agent: str) -> gym.Space:
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.steps = list(self.possible_agents), 0
        return dict.fromkeys(self.agents, 0), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        self.steps += 1
        agents = list(self.agents)
        terminated = dict.fromkeys(agents, self.steps == 4)
        truncated = {agent: agent == "p0" and self.steps == 2 for agent in agents}
        self.agents = [agent for agent in agents if not terminated[agent] and not truncated[agent]]
        return (
            dict.fromkeys(agents, self.steps),
            dict.fromkeys(agents, 1.0),
            terminated,
            truncated,
            {a: {} for a in agents},
        )

    def render(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_vector_env_steps_together() -> None:
    base = convert_to_base_env(MockVectorEnv(3, 2))
    obs, *_ = base.poll()
    assert obs == {0: {"agent0": 0}, 1: {"agent0": 0}}
    with pytest.raises(ValueError, match=r"no actions for \[1\]"):
        base.send_actions({0: {"agent0": 0}})
    for _ in range(3):
        base.send_actions({0: {"agent0": 0}, 1: {"agent0": 0}})
        obs, rewards, terminateds, *_ = base.poll()
    assert rewards[1] == {"agent0": 100.0} and terminateds[0]["__all__"]
    assert base.try_reset(0)[0] == {0: {"agent0": 0}}


def test_kinds_of_environments() -> None:
    base = convert_to_base_env(DebugCounterEnv(), make_env=lambda index: DebugCounterEnv(), num_envs=2)
    assert isinstance(base, BaseEnv) and len(base.get_sub_environments()) == 2
    assert convert_to_base_env(base) is base
    assert base.observation_space_contains({0: {"agent0": np.zeros(1, np.float32)}})
    assert set(base.action_space_sample()) == {0, 1}
    with pytest.raises(ValueError, match="no environment that can be sampled"):
        convert_to_base_env(object())
    with pytest.raises(ValueError, match="without make_env"):
        convert_to_base_env(BasicMultiAgent(1), num_envs=2)


def test_seeds_of_first_episodes() -> None:
    def firsts() -> Any:
        base = convert_to_base_env(MultiAgentCartPole(), make_env=lambda index: MultiAgentCartPole(), num_envs=2)
        base.seed_first_resets([7, 8])
        return base.poll()[0]

    one, other = firsts(), firsts()
    assert one[0][0].tolist() == other[0][0].tolist() != one[1][0].tolist()


def test_tasks_are_set_only_when_they_differ() -> None:
    env = gym.wrappers.TimeLimit(CurriculumCapableEnv({"start_level": 2}), 50)
    assert not set_task_if_different(env, 2)
    assert set_task_if_different(env, 3)
    assert env.unwrapped.switches == 1
    with pytest.raises(ValueError, match="no TaskSettableEnv"):
        set_task_if_different(DebugCounterEnv(), 1)


@pytest.fixture
def started() -> Any:
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


def test_environments_in_actors(started: None, counting_policy: Any, small_worker: Any) -> None:
    def crashes(index: int) -> Any:
        return CartPoleCrashing({"crash_after_n_steps": 30 if index else None, "p_crash": 0.0})

    base = convert_to_base_env(
        crashes(0),
        make_env=crashes,
        num_envs=2,
        remote_envs=True,
        remote_env_batch_wait_ms=2000,
        restart_failed_sub_environments=True,
    )
    assert isinstance(base, RemoteBaseEnv)
    policy = counting_policy(base.observation_space, base.action_space)
    worker = small_worker({"default_policy": policy}, lambda *args, **kwargs: "default_policy")
    sampler = EpisodeSampler(worker, base, EpisodeSamplerSettings(multi_agent=False), seeds=[1, 2])
    try:
        batch = sampler.sample(60)
        assert len(batch) + 2 * 30 >= 120  # an episode that crashed is no experience
        assert set(batch.keys()) >= {"obs", "new_obs", "rewards"}
        for part in batch.split_by_episode():
            np.testing.assert_array_equal(part["new_obs"][:-1], part["obs"][1:])
        # An actor that dies is made anew as well.
        ray.kill(base.actors[0])
        sampler.sample(30)
        assert any(episode.episode_faulty for episode in sampler.get_metrics())
        assert base.try_reset(0)[0] == {0: ASYNC_RESET_RETURN}
    finally:
        sampler.close()
