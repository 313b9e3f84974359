"""Checks of environments by kind, environments of examples, and what carries their values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from aktis.rllib.algorithms.callbacks import MemoryTrackingCallbacks
from aktis.rllib.env.base_env import with_dummy_agent_id
from aktis.rllib.env.env_context import EnvContext
from aktis.rllib.env.external_env import ExternalEnv, ExternalEnvWrapper
from aktis.rllib.env.utils import gym_env_creator
from aktis.rllib.evaluation import collect_metrics
from aktis.rllib.evaluation.metrics import RolloutMetrics, collect_episodes
from aktis.rllib.evaluation.postprocessing import value_of_what_follows
from aktis.rllib.examples.env.mock_env import MockEnv, MockVectorEnv
from aktis.rllib.examples.env.multi_agent import BasicMultiAgent, MultiAgentPendulum
from aktis.rllib.examples.env.nested_space_repeat_after_me_env import NestedSpaceRepeatAfterMeEnv
from aktis.rllib.examples.env.random_env import (
    RandomLargeObsSpaceEnv,
    RandomLargeObsSpaceEnvContActions,
    RandomMultiAgentEnv,
)
from aktis.rllib.examples.env.stateless_pendulum import StatelessPendulum
from aktis.rllib.examples.env.transformed_action_space_env import TransformedActionPendulum, transform_action_space
from aktis.rllib.examples.policy.rock_paper_scissors_dummies import (
    PAPER,
    ROCK,
    SCISSORS,
    AlwaysSameHeuristic,
    BeatLastHeuristic,
)
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.pre_checks.env import (
    check_base_env,
    check_env,
    check_gym_environments,
    check_multiagent_environments,
    check_vector_env,
)

EXAMPLES: list[Any] = [
    lambda: MockEnv(3),
    lambda: MockVectorEnv(3, 2),
    lambda: MultiAgentPendulum({"num_agents": 2}),
    NestedSpaceRepeatAfterMeEnv,
    RandomLargeObsSpaceEnv,
    RandomLargeObsSpaceEnvContActions,
    lambda: RandomMultiAgentEnv({"num_agents": 2}),
    StatelessPendulum,
    lambda: TransformedActionPendulum({}),
]


@pytest.mark.parametrize("make", EXAMPLES)
def test_environments_of_examples_keep_the_rules(make: Any) -> None:
    check_env(make())


@pytest.mark.parametrize(
    ("check", "good", "broken", "message"),
    [
        (check_gym_environments, MockEnv(3), {"reset": lambda: (5, {})}, "must be in observation_space"),
        (check_gym_environments, MockEnv(3), {"step": lambda a: (0, "1", False, False, {})}, "reward must be a number"),
        (check_multiagent_environments, BasicMultiAgent(2), {"reset": lambda: ({7: 0}, {})}, "has the agent 7"),
        (check_vector_env, MockVectorEnv(3, 2), {"reset_at": lambda i: 0}, r"reset_at\(0\)"),
        (check_vector_env, MockVectorEnv(3, 2), {"vector_reset": lambda: ([0], [{}])}, "each of the 2"),
    ],
)
def test_checks_of_one_kind(check: Any, good: Any, broken: dict[str, Any], message: str) -> None:
    check(good)
    vars(good).update(broken)
    with pytest.raises(ValueError, match=message):
        check(good)


def test_checks_of_base_environments() -> None:
    def env(result: Any) -> Any:
        return SimpleNamespace(try_reset=lambda: result)

    for good in (None, (None, None), ({0: {"agent0": 1}}, {0: {"agent0": {}}})):
        check_base_env(env(good))
    with pytest.raises(ValueError, match="must return"):
        check_base_env(env({0: {}}))
    with pytest.raises(ValueError, match="environment 0 must be a dictionary by agent"):
        check_base_env(env(({0: 5}, {})))
    with pytest.raises(RuntimeError, match="broken"):
        check_base_env(env(({0: RuntimeError("broken")}, {})))


def test_a_mock_counts_to_its_end() -> None:
    env = MockEnv(2)
    assert env.reset() == (0, {})
    assert [env.step(0)[:4] for _ in range(2)] == [(0, 1.0, False, False), (0, 1.0, True, False)]


def test_a_pendulum_without_its_velocity() -> None:
    whole, part = gymnasium.make("Pendulum-v1").unwrapped, StatelessPendulum()
    np.testing.assert_array_equal(part.reset(seed=3)[0], whole.reset(seed=3)[0][:2])
    (obs, reward, *_), (all_obs, same, *_) = (env.step(np.array([1.0], np.float32)) for env in (part, whole))
    np.testing.assert_array_equal(obs, all_obs[:2])
    assert reward == same


def test_actions_are_stretched_to_the_bounds() -> None:
    env = transform_action_space("Pendulum-v1")({"low": 300.0, "high": 500.0})
    assert env.action_space.low == [300] and env.action_space.high == [500]
    assert [float(env.action([x])[0]) for x in (300, 400, 500)] == [-2.0, 0.0, 2.0]
    assert TransformedActionPendulum({}).action_space == spaces.Box(-1, 1, (1,), np.float32)


def test_large_random_observations() -> None:
    env = RandomLargeObsSpaceEnvContActions({"max_episode_len": 2, "p_terminated": 0.0})
    assert env.reset()[0].shape == (5000,) and env.action_space.shape == (5,)
    assert [env.step(env.action_space.sample())[2:4] for _ in range(2)] == [(False, False), (False, True)]
    env = RandomMultiAgentEnv({"num_agents": 3})
    assert set(env.reset()[0]) == {0, 1, 2}


def test_what_is_repeated_is_rewarded() -> None:
    env = NestedSpaceRepeatAfterMeEnv({"episode_len": 2})
    obs, _ = env.reset(seed=1)
    next_obs, best, *_ = env.step(obs)
    assert best == 0.0  # no distance at all
    other = env.action_space.sample()
    while str(other) == str(next_obs):
        other = env.action_space.sample()
    _, worse, terminated, truncated, _ = env.step(other)
    assert worse < best and (terminated, truncated) == (False, True)


def test_players_that_do_not_learn() -> None:
    config = {"seed": 1, "explore": True, "model": {}}
    last, move = spaces.Discrete(4), spaces.Discrete(3)
    beats = BeatLastHeuristic(last, move, config)
    moves, *_ = beats.compute_actions(np.array([ROCK, PAPER, SCISSORS, 3]))
    assert moves[:3].tolist() == [PAPER, SCISSORS, ROCK] and moves[3] in (ROCK, PAPER, SCISSORS)
    one_hot, *_ = beats.compute_actions(np.eye(4)[[SCISSORS, ROCK]])
    assert one_hot.tolist() == [ROCK, PAPER]
    same = AlwaysSameHeuristic(last, move, config)
    assert same.is_recurrent() and {int(same.get_initial_state()[0]) for _ in range(50)} == {ROCK, PAPER, SCISSORS}
    state = [np.array([PAPER, SCISSORS])]
    moves, next_state, _ = same.compute_actions(np.array([3, 0]), state)
    assert moves.tolist() == [PAPER, SCISSORS] and next_state[0].tolist() == moves.tolist()
    assert same.learn_on_batch(SampleBatch()) == {} == same.get_weights()


def test_single_agents_have_an_id() -> None:
    error = ValueError("lost")
    assert with_dummy_agent_id({0: 5, 3: error}) == {0: {"agent0": 5}, 3: error}
    assert with_dummy_agent_id({0: 5}, "me") == {0: {"me": 5}}


def test_an_external_environment_is_polled() -> None:
    class Outside(ExternalEnv):
        def run(self) -> None:
            episode = self.start_episode("first")
            action = self.get_action(episode, 1)
            self.log_returns(episode, 2.0 + action)
            self.end_episode(episode, 0)

    wrapper = ExternalEnvWrapper(Outside(spaces.Discrete(2), spaces.Discrete(2)))
    obs, *_ = wrapper.poll()
    ((agent, seen),) = obs["first"].items()
    assert seen == 1
    with pytest.raises(ValueError, match="'second' did not ask"):
        wrapper.send_actions({"second": {agent: 0}})
    wrapper.send_actions({"first": {agent: 1}})
    obs, rewards, terminateds, *_ = wrapper.poll()
    assert obs["first"] == {agent: 0} and rewards["first"] == {agent: 3.0} and terminateds["first"]["__all__"]
    with pytest.raises(RuntimeError, match=r"run\(\) has returned"):
        wrapper.poll()


def test_environments_of_gymnasium() -> None:
    made = gym_env_creator(EnvContext({"max_episode_steps": 7}, 1), "CartPole-v1")
    assert made.spec.max_episode_steps == 7
    assert gym_env_creator(EnvContext({"n": 3}, 1), lambda context: context["n"]) == 3  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="CartPole"):
        gym_env_creator(EnvContext({}, 1), "CartPool-v1")


def test_episodes_of_workers_come_once() -> None:
    asked: list[Any] = []

    class Workers:
        new: tuple[list[RolloutMetrics], ...] = ([RolloutMetrics(3, 1.0)], [], [RolloutMetrics(5, 4.0)])

        def foreach_worker(self, function: Any, **kwargs: Any) -> list[Any]:
            asked.append(kwargs)
            return [function(SimpleNamespace(get_metrics=lambda part=part: part)) for part in self.new]

    workers: Any = Workers()
    assert [e.episode_reward for e in collect_episodes(workers, [1], 5.0)] == [1.0, 4.0]
    assert asked == [{"local_worker": True, "remote_worker_ids": [1], "timeout_seconds": 5.0}]
    metrics = collect_metrics(workers)
    assert (metrics["episode_reward_mean"], metrics["episode_len_mean"], metrics["episodes_this_iter"]) == (2.5, 4, 2)


@pytest.mark.parametrize(("over", "value"), [(True, 0.0), (False, 7.0)])
def test_the_value_of_what_follows(over: bool, value: float) -> None:
    batch = SampleBatch(obs=np.arange(3), new_obs=np.arange(1, 4), terminateds=np.array([False, False, over]))
    policy: Any = SimpleNamespace(view_requirements={}, compute_values=lambda step: [7.0])
    assert value_of_what_follows(policy, batch) == value


def test_memory_is_tracked() -> None:
    import tracemalloc

    callbacks = MemoryTrackingCallbacks()
    try:
        kept = [bytes(1000) for _ in range(1000)]
        episode = SimpleNamespace(custom_metrics={})
        callbacks.on_episode_end(worker=None, base_env=None, policies={}, episode=episode)
        assert len(kept) == 1000
    finally:
        tracemalloc.stop()
    here = [size for name, size in episode.custom_metrics.items() if "test_env_parts.py" in name]
    assert max(here) > 1_000_000 and episode.custom_metrics["tracemalloc/process/max_rss_kb"] > 1000
