"""The sampler of many agents: scripted environments whose every number is known beforehand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.env.base_env import convert_to_base_env
from aktis.rllib.env.multi_agent_env import MultiAgentEnv
from aktis.rllib.evaluation._episode_sampler import EpisodeSampler, EpisodeSamplerSettings
from aktis.rllib.evaluation._observations import EnvError
from aktis.rllib.examples.env.debug_counter_env import DebugCounterEnv
from aktis.rllib.examples.env.multi_agent import (
    BasicMultiAgent,
    EarlyDoneMultiAgent,
    FlexAgentsMultiAgent,
    GuessTheNumberGame,
    RoundRobinMultiAgent,
    SometimesZeroAgentsMultiAgent,
)
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement

OBS = gym.spaces.Box(-1000, 1000, (1,), np.float32)
ACT = gym.spaces.Discrete(2)


def ob(value: float) -> np.ndarray:
    return np.array([value], np.float32)


class Scripted(MultiAgentEnv):
    """Plays back what `step` and `reset` shall return."""

    def __init__(self, script: list[tuple[Any, ...]]) -> None:
        super().__init__()
        self.observation_space, self.action_space = OBS, ACT
        self._agent_ids = {"a", "b"}
        self.script = script
        self.at = 0
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.at = 0
        return self.script[0]

    def step(self, action_dict: Any) -> Any:
        self.actions.append(action_dict)
        self.at += 1
        return self.script[self.at]


def no(**more: bool) -> dict[str, bool]:
    return {"__all__": False, **more}


def over(**more: bool) -> dict[str, bool]:
    return {"__all__": True, **more}


def make(
    env: MultiAgentEnv, small_worker: Any, policies: Any, mapping: Any = None, callbacks: Any = None, **settings: Any
) -> EpisodeSampler:
    worker = small_worker(policies, mapping or (lambda agent, episode, worker, **kw: "p"), callbacks)
    return EpisodeSampler(worker, convert_to_base_env(env), EpisodeSamplerSettings(**settings))


# "b" is observed at every other step only; rewards come at every step; the episode is truncated at step 5.
SLOW_B: list[tuple[Any, ...]] = [
    ({"a": ob(0)}, {}),
    ({"a": ob(1)}, {"a": 1.0, "b": 0.5}, no(), no(), {}),
    ({"a": ob(2), "b": ob(102)}, {"a": 1.0, "b": 0.5}, no(), no(), {"a": {"k": 2}}),
    ({"a": ob(3)}, {"a": 1.0, "b": 0.25}, no(), no(), {}),
    ({"a": ob(4), "b": ob(104)}, {"a": 1.0, "b": 0.25}, no(), no(), {}),
    ({"a": ob(5)}, {"a": 1.0, "b": 2.0}, no(), over(), {}),
]


def test_agents_at_different_speeds_and_late_rewards(counting_policy: Any, small_worker: Any) -> None:
    p, q = counting_policy(OBS, ACT), counting_policy(OBS, ACT)
    sampler = make(
        Scripted(SLOW_B),
        small_worker,
        {"p": p, "q": q},
        lambda agent, episode, worker, **kw: "p" if agent == "a" else "q",
    )
    batch = sampler.sample(5)
    assert isinstance(batch, MultiAgentBatch)
    assert (batch.env_steps(), batch.agent_steps()) == (5, 7)
    a, b = batch["p"], batch["q"]
    assert a["obs"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert a["new_obs"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert a["infos"].tolist() == [{}, {"k": 2}, {}, {}, {}]
    assert a["truncateds"].tolist() == [False] * 4 + [True]
    assert a["t"].tolist() == [0, 1, 2, 3, 4]
    # b acts after steps 2 and 4; its rewards of steps 3 and 4 belong to its first action, that of step 5 to its second.
    assert b["obs"][:, 0].tolist() == [102, 104]
    assert b["rewards"].tolist() == [0.5, 2.0]
    assert b["t"].tolist() == [2, 4]
    assert b["new_obs"][:, 0].tolist() == [104, 104]  # nothing was observed with its truncation: the last that there is
    assert b["truncateds"].tolist() == [False, True]
    assert not b["terminateds"].any()
    assert set(a["eps_id"]) == set(b["eps_id"])
    assert set(a["agent_index"]) == {0} and set(b["agent_index"]) == {1}
    (episode,) = sampler.get_metrics()
    assert episode.episode_length == 5
    assert episode.episode_reward == pytest.approx(5.0 + 3.5)
    assert episode.agent_rewards == {("a", "p"): 5.0, ("b", "q"): 3.5}  # also what came before b acted
    assert sampler.get_metrics() == []


def test_a_fragment_ends_in_the_middle_and_nothing_is_lost(counting_policy: Any, small_worker: Any) -> None:
    whole = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)})
    all_at_once = whole.sample(10)["p"]
    pieces = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)})
    parts = [pieces.sample(size)["p"] for size in (3, 1, 3, 3)]
    assert [len(part) for part in parts] == [3, 1 + 1, 3 + 1, 3 + 2]  # a step of b is there when it is complete
    joined = SampleBatch.concat_samples(parts)
    for name in ("obs", "new_obs", "rewards", "t", "eps_id", "agent_index", "call", "truncateds"):
        order_1 = np.lexsort((all_at_once["t"], all_at_once["agent_index"], all_at_once["eps_id"]))
        order_2 = np.lexsort((joined["t"], joined["agent_index"], joined["eps_id"]))
        np.testing.assert_array_equal(all_at_once[name][order_1], joined[name][order_2], err_msg=name)
    # No two trajectories have the same number.
    numbers = [set(part["unroll_id"]) for part in parts]
    assert sum(map(len, numbers)) == len(set.union(*numbers))


def test_complete_episodes_only(counting_policy: Any, small_worker: Any) -> None:
    sampler = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)}, complete_episodes=True)
    first, second = sampler.sample(1), sampler.sample(6)
    assert (first.env_steps(), first.agent_steps()) == (5, 7)
    assert (second.env_steps(), second.agent_steps()) == (10, 14)
    assert [len(part) for part in second["p"].split_by_episode()] == [7, 7]
    assert second["p"]["rewards"].tolist() == [*first["p"]["rewards"], *first["p"]["rewards"]]


def test_count_steps_by_agent_steps(counting_policy: Any, small_worker: Any) -> None:
    sampler = make(
        BasicMultiAgent(5),
        small_worker,
        {"p": counting_policy(gym.spaces.Discrete(2), ACT)},
        count_steps_by="agent_steps",
    )
    batch = sampler.sample(20)
    assert (batch.agent_steps(), batch.env_steps()) == (20, 4)
    with pytest.raises(ValueError, match="count_steps_by='steps'"):
        EpisodeSamplerSettings(count_steps_by="steps")


def test_an_agent_is_done_before_the_others_and_rewarded_afterwards(counting_policy: Any, small_worker: Any) -> None:
    script = [
        ({"a": ob(0), "b": ob(100)}, {}),
        ({"a": ob(1), "b": ob(101)}, {"a": 1.0, "b": 1.0}, no(b=True), no(), {}),
        ({"a": ob(2)}, {"a": 1.0, "b": 10.0}, no(), no(), {}),
        ({"a": ob(3)}, {"a": 1.0, "b": 5.0}, over(), no(), {}),
    ]
    sampler = make(Scripted(script), small_worker, {"p": counting_policy(OBS, ACT)})
    batch = sampler.sample(3)["p"]
    b = batch["agent_index"] == 1
    assert batch["rewards"][b].tolist() == [16.0]
    assert batch["terminateds"][b].tolist() == [True]
    assert batch["new_obs"][b][0, 0] == 101
    assert batch["terminateds"][~b].tolist() == [False, False, True]
    assert sampler.base_env.get_sub_environments()[0].actions[1:] == [{"a": 0}, {"a": 1}]


def test_late_reward_after_the_last_step_was_handed_out(counting_policy: Any, small_worker: Any) -> None:
    script = [
        ({"a": ob(0), "b": ob(100)}, {}),
        ({"a": ob(1), "b": ob(101)}, {"a": 1.0, "b": 1.0}, no(b=True), no(), {}),
        ({"a": ob(2)}, {"a": 1.0, "b": 10.0}, over(), no(), {}),
    ]
    sampler = make(Scripted(script), small_worker, {"p": counting_policy(OBS, ACT)})
    sampler.sample(1)
    with pytest.warns(UserWarning, match="reward of 10.0 came for agent 'b'"):
        sampler.sample(1)
    assert sampler.get_metrics()[0].episode_reward == 13.0


def test_truncated_for_one_and_terminated_for_all(counting_policy: Any, small_worker: Any) -> None:
    script = [
        ({"a": ob(0), "b": ob(100)}, {}),
        ({"a": ob(1), "b": ob(101)}, {}, over(), no(b=True), {}),
    ]
    batch = make(Scripted(script), small_worker, {"p": counting_policy(OBS, ACT)}).sample(1)["p"]
    assert batch["terminateds"].tolist() == [True, False]
    assert batch["truncateds"].tolist() == [False, True]


@pytest.mark.parametrize(
    "env",
    [
        EarlyDoneMultiAgent,
        FlexAgentsMultiAgent,
        SometimesZeroAgentsMultiAgent,
        lambda: RoundRobinMultiAgent(3, True),
        GuessTheNumberGame,
    ],
)
def test_rewards_of_batches_are_those_of_episodes(env: Any, counting_policy: Any, small_worker: Any) -> None:
    env = env()
    sampler = make(
        env,
        small_worker,
        {"p": counting_policy(env.observation_space, env.action_space)}
        if not isinstance(env, GuessTheNumberGame)
        else {"p": Guesses(env)},
        complete_episodes=True,
    )
    for _ in range(5):
        batch = sampler.sample(30)
        episodes = sampler.get_metrics()
        by_id: dict[int, float] = {}
        for number, reward in zip(batch["p"]["eps_id"], batch["p"]["rewards"], strict=True):
            by_id[int(number)] = by_id.get(int(number), 0.0) + float(reward)
        total = sum(episode.episode_reward for episode in episodes)
        if isinstance(env, SometimesZeroAgentsMultiAgent):  # it rewards agents that have not acted yet
            assert sum(by_id.values()) <= total + 1e-5
        else:
            assert sum(by_id.values()) == pytest.approx(total)
        rows = batch["p"]
        ends = rows.split_by_episode()
        assert all(part["terminateds"][part["agent_index"] == part["agent_index"][-1]][-1] for part in ends)


class Guesses:
    """Plays GuessTheNumberGame at random."""

    def __init__(self, env: Any) -> None:
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.global_timestep = 0
        self.view_requirements: dict[str, Any] = {}
        self.rng = np.random.default_rng(0)

    def get_initial_state(self) -> list[Any]:
        return []

    def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
        return self.rng.integers(0, 3, (len(input_dict["obs"]), 2)), [], {}


def test_nobody_ready_steps_the_environment_all_the_same(counting_policy: Any, small_worker: Any) -> None:
    script = [
        ({"a": ob(0)}, {}),
        ({}, {"a": 1.0}, no(), no(), {}),
        ({}, {"a": 1.0}, no(), no(), {}),
        ({"a": ob(3)}, {"a": 1.0}, over(), no(), {}),
    ]
    env = Scripted(script)
    batch = make(env, small_worker, {"p": counting_policy(OBS, ACT)}).sample(3)
    assert env.actions == [{"a": 0}, {}, {}]
    assert batch["p"]["rewards"].tolist() == [3.0]
    assert batch.env_steps() == 3


def test_recurrent_state_follows_each_agent(counting_policy: Any, small_worker: Any) -> None:
    policy = counting_policy(OBS, ACT, recurrent=True)
    sampler = make(Scripted(SLOW_B), small_worker, {"p": policy})
    batch = sampler.sample(7)["p"]
    for agent in (0, 1):
        for part in batch.split_by_episode():
            mine = part["state_in_0"][part["agent_index"] == agent][:, 0]
            assert mine.tolist() == list(range(len(mine)))


def test_views_of_earlier_steps(counting_policy: Any, small_worker: Any) -> None:
    views = {
        "prev_actions": ViewRequirement("actions", shift=-1),
        "prev_rewards": ViewRequirement("rewards", shift=-1),
        "last_obs": ViewRequirement("obs", shift="-2:0"),
    }
    policy = counting_policy(OBS, ACT, views)
    sampler = make(Scripted(SLOW_B), small_worker, {"p": policy})
    parts = [sampler.sample(size)["p"] for size in (2, 1, 7)]
    batch = SampleBatch.concat_samples(parts)
    for number in np.unique(batch["eps_id"]):
        a = (batch["agent_index"] == 0) & (batch["eps_id"] == number)
        assert batch["prev_actions"][a].tolist() == [0, *batch["actions"][a][:-1]]
        assert batch["prev_rewards"][a].tolist() == [0.0, *batch["rewards"][a][:-1]]
        assert batch["last_obs"][a][:, :, 0].tolist() == [[max(0, t - 2), max(0, t - 1), t] for t in range(a.sum())]
    # What the policy saw when it acted is what it learns from.
    seen = np.concatenate([given["prev_rewards"] for given in policy.inputs])
    for call, shown in zip(batch["call"].astype(int), batch["prev_rewards"], strict=True):
        assert seen[call] == shown


def test_policy_of_an_agent_is_asked_once_per_episode(counting_policy: Any, small_worker: Any) -> None:
    asked: list[Any] = []

    def mapping(agent: Any, episode: Any, worker: Any, **kwargs: Any) -> str:
        asked.append((episode.episode_id, agent))
        return "p" if episode.episode_id % 2 == 0 else "q"

    sampler = make(
        Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT), "q": counting_policy(OBS, ACT)}, mapping
    )
    batch = sampler.sample(10)
    assert sorted(asked, key=str) == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a")]
    assert set(batch["p"]["eps_id"]) == {0} and set(batch["q"]["eps_id"]) == {1}


def test_unknown_policy_is_named(counting_policy: Any, small_worker: Any) -> None:
    sampler = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)}, lambda *args, **kwargs: "nobody")
    with pytest.raises(KeyError, match="nobody"):
        sampler.sample(1)


def test_postprocessing_sees_the_other_agents(counting_policy: Any, small_worker: Any) -> None:
    p, q = counting_policy(OBS, ACT), counting_policy(OBS, ACT)
    mapping = lambda agent, episode, worker, **kw: "p" if agent == "a" else "q"
    make(Scripted(SLOW_B), small_worker, {"p": p, "q": q}, mapping).sample(5)
    (others,) = p.others
    policy_id, policy, batch = others["b"]
    assert (policy_id, policy) == ("q", q)
    assert batch["obs"][:, 0].tolist() == [102, 104]
    make(Scripted(SLOW_B), small_worker, {"p": p, "q": q}, mapping, with_policy_ids=False).sample(5)
    policy, batch = p.others[-1]["b"]
    assert policy is q


def test_callbacks_see_episodes(counting_policy: Any, small_worker: Any) -> None:
    told: list[Any] = []

    class Callbacks(DefaultCallbacks):
        def on_episode_created(self, *, episode: Any, **kwargs: Any) -> None:
            told.append("created")

        def on_episode_start(self, *, episode: Any, **kwargs: Any) -> None:
            told.append(("start", episode.length, episode.get_agents()))

        def on_episode_step(self, *, episode: Any, **kwargs: Any) -> None:
            told.append(("step", float(episode.last_observation_for("a")[0]), episode.last_reward_for("a")))

        def on_episode_end(self, *, episode: Any, **kwargs: Any) -> None:
            episode.custom_metrics["steps"] = episode.length
            episode.hist_data["h"] = [1, 2]
            told.append("end")

        def on_postprocess_trajectory(
            self, *, agent_id: Any, policy_id: str, original_batches: Any, postprocessed_batch: Any, **kwargs: Any
        ) -> None:
            assert set(original_batches) == {"a", "b"}
            told.append((agent_id, policy_id, len(postprocessed_batch)))

    sampler = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)}, callbacks=Callbacks())
    sampler.sample(5)
    assert told[:2] == ["created", ("start", 0, ["a"])]
    assert told[2:7] == [("step", float(t), 1.0) for t in range(1, 6)]
    assert told[7:] == ["end", "created", ("start", 0, ["a"]), ("a", "p", 5), ("b", "p", 2)]
    (episode,) = sampler.get_metrics()
    assert episode.custom_metrics == {"steps": 5} and episode.hist_data == {"h": [1, 2]}


def test_observation_fn_gives_what_agents_see(counting_policy: Any, small_worker: Any) -> None:
    def shared(*, agent_obs: Any, worker: Any, base_env: Any, policies: Any, episode: Any, **kwargs: Any) -> Any:
        total = sum(float(value[0]) for value in agent_obs.values())
        return {agent: ob(total) for agent in agent_obs}

    batch = make(Scripted(SLOW_B), small_worker, {"p": counting_policy(OBS, ACT)}, observation_fn=shared).sample(5)["p"]
    assert batch["obs"][batch["agent_index"] == 0][:, 0].tolist() == [0, 1, 104, 3, 108]


def test_structured_observations_without_a_preprocessor(counting_policy: Any, small_worker: Any) -> None:
    space = gym.spaces.Dict(
        {
            "x": gym.spaces.Box(-9, 9, (2,), np.float32),
            "y": gym.spaces.Tuple([gym.spaces.Discrete(3), gym.spaces.Discrete(4)]),
        }
    )

    class Env(MultiAgentEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space, self.action_space, self._agent_ids = space, ACT, {0}
            self.t = 0

        def seen(self) -> Any:
            return {0: {"x": np.full(2, self.t, np.float32), "y": (self.t % 3, 1)}}

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            self.t = 0
            return self.seen(), {}

        def step(self, action_dict: Any) -> Any:
            self.t += 1
            return self.seen(), {0: 1.0}, no(), {"__all__": self.t == 4}, {}

    class Takes(counting_policy):  # type: ignore[misc]
        def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
            count = len(input_dict["obs"]["x"])
            return np.zeros(count, np.int64), [], {}

    batch = make(Env(), small_worker, {"p": Takes(space, ACT)}).sample(6)["p"]
    assert batch["obs"]["x"][:, 0].tolist() == [0, 1, 2, 3, 0, 1]
    assert batch["new_obs"]["x"][:, 0].tolist() == [1, 2, 3, 4, 1, 2]
    assert batch["new_obs"]["y"][0].tolist() == [1, 2, 0, 1, 1, 2]


def test_old_api_with_four_values(counting_policy: Any, small_worker: Any) -> None:
    class Old(MultiAgentEnv):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space, self.action_space, self._agent_ids = OBS, ACT, {"a"}
            self.t = 0

        def reset(self) -> Any:  # type: ignore[override]
            self.t = 0
            return {"a": ob(0)}

        def step(self, action_dict: Any) -> Any:
            self.t += 1
            info = {"a": {"TimeLimit.truncated": True}} if self.t == 3 else {}
            return {"a": ob(self.t)}, {"a": 1.0}, {"a": self.t == 3, "__all__": self.t == 3}, info

    batch = make(Old(), small_worker, {"p": counting_policy(OBS, ACT)}).sample(4)["p"]
    assert batch["truncateds"].tolist() == [False, False, True, False]
    assert not batch["terminateds"].any()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (({"a": ob(1)}, {"a": 1.0}, {}, no(), {}), "terminateds=.*without the key '__all__'"),
        (({"a": ob(1)}, {"a": 1.0}, no(), {"a": False}, {}), "truncateds=.*without the key '__all__'"),
        (({"a": ob(1)}, {"a": 1.0}, no(), no(), {"b": {}}), r"infos for agents without an observation: \['b'\]"),
        (({"a": ob(1)}, {"a": 1.0}), "must return five dicts"),
        (({"a": ob(1)}, {"a": float("nan")}, no(), no(), {}), "agent 'a', step 1: the reward is nan"),
        (({"a": ob(1)}, {"a": "much"}, no(), no(), {}), "the reward must be a number, not 'much'"),
        (({"a": ob(5000)}, {"a": 1.0}, no(), no(), {}), "agent 'a', step 1: the observation is not in"),
    ],
)
def test_broken_rules_are_named(step: Any, message: str, counting_policy: Any, small_worker: Any) -> None:
    sampler = make(Scripted([({"a": ob(0)}, {}), step]), small_worker, {"p": counting_policy(OBS, ACT)})
    with pytest.raises((ValueError, EnvError), match=message):
        sampler.sample(1)


def test_common_infos_are_not_an_agents(counting_policy: Any, small_worker: Any) -> None:
    script = [({"a": ob(0)}, {}), ({"a": ob(1)}, {"a": 1.0}, over(), no(), {"__common__": {"x": 1}})]
    seen: list[Any] = []

    class Callbacks(DefaultCallbacks):
        def on_episode_end(self, *, episode: Any, **kwargs: Any) -> None:
            seen.append(episode.last_info_for("__common__"))

    make(Scripted(script), small_worker, {"p": counting_policy(OBS, ACT)}, callbacks=Callbacks()).sample(1)
    assert seen == [{"x": 1}]


def test_a_failed_environment_is_made_anew_and_its_episode_forgotten(counting_policy: Any, small_worker: Any) -> None:
    class Fails(Scripted):
        made = 0

        def __init__(self) -> None:
            super().__init__(SLOW_B)
            Fails.made += 1
            self.number = Fails.made

        def step(self, action_dict: Any) -> Any:
            if self.number == 1 and self.at == 3:
                raise RuntimeError("broken")
            return super().step(action_dict)

    told: list[Any] = []

    class Callbacks(DefaultCallbacks):
        def on_episode_end(self, *, episode: Any, **kwargs: Any) -> None:
            told.append(episode)

    worker = small_worker({"p": counting_policy(OBS, ACT)}, lambda *args, **kwargs: "p", Callbacks())
    env = convert_to_base_env(Fails(), make_env=lambda index: Fails(), restart_failed_sub_environments=True)
    sampler = EpisodeSampler(worker, env, EpisodeSamplerSettings())
    batch = sampler.sample(8)
    assert Fails.made == 2
    assert isinstance(told[0], RuntimeError)
    assert set(batch["p"]["eps_id"]) == {1}  # of the failed episode, number 0, there is nothing
    assert [episode.episode_faulty for episode in sampler.get_metrics()] == [True, False]

    strict = convert_to_base_env(Fails(), make_env=lambda index: Fails())
    Fails.made = 0
    strict.envs[0].number = 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="broken"):
        EpisodeSampler(worker, strict, EpisodeSamplerSettings()).sample(8)


def test_an_environment_that_always_fails_is_given_up(counting_policy: Any, small_worker: Any) -> None:
    class Broken(Scripted):
        def reset(self, **kwargs: Any) -> Any:
            raise RuntimeError("never")

    worker = small_worker({"p": counting_policy(OBS, ACT)}, lambda *args, **kwargs: "p")
    env = convert_to_base_env(
        Broken(SLOW_B), make_env=lambda index: Broken(SLOW_B), restart_failed_sub_environments=True
    )
    with pytest.raises(EnvError, match="failed 20 times in a row"):
        EpisodeSampler(worker, env, EpisodeSamplerSettings()).sample(1)


def test_actions_reach_the_environment_unsquashed(counting_policy: Any, small_worker: Any) -> None:
    space = gym.spaces.Box(0.0, 10.0, (1,), np.float32)
    env = Scripted(SLOW_B)
    env.action_space = space
    batch = make(env, small_worker, {"p": counting_policy(OBS, space)}).sample(5)["p"]
    assert batch["actions"][0].tolist() == [0.5]
    assert env.actions[0]["a"].tolist() == [7.5]


def test_rewards_are_clipped_for_training_only(counting_policy: Any, small_worker: Any) -> None:
    sampler = make(
        RoundRobinMultiAgent(2, True),
        small_worker,
        {"p": counting_policy(gym.spaces.Discrete(10), ACT)},
        clip_rewards=True,
    )
    batch = sampler.sample(12)["p"]
    assert set(batch["rewards"].tolist()) <= {0.0, 1.0}
    assert sampler.get_metrics()[0].episode_reward == 1000.0


def test_one_agent_without_multi_agent_gives_a_sample_batch(counting_policy: Any, small_worker: Any) -> None:
    env = DebugCounterEnv()
    policy = counting_policy(env.observation_space, env.action_space)
    worker = small_worker({"default_policy": policy}, lambda *args, **kwargs: "default_policy")
    base = convert_to_base_env(env, make_env=lambda index: DebugCounterEnv({"start_at_t": 20 * index}), num_envs=3)
    batch = EpisodeSampler(worker, base, EpisodeSamplerSettings(multi_agent=False)).sample(20)
    assert isinstance(batch, SampleBatch) and not isinstance(batch, MultiAgentBatch)
    assert batch["obs"][:, 0].tolist() == [start + t for start in (0, 20, 40) for t in [*range(15), *range(5)]]


def test_logs_do_not_grow(counting_policy: Any, small_worker: Any) -> None:
    for complete in (False, True):
        sampler = make(
            SometimesZeroAgentsMultiAgent(),
            small_worker,
            {"p": counting_policy(gym.spaces.Discrete(2), ACT)},
            complete_episodes=complete,
        )
        for _ in range(10):
            sampler.sample(60)
            assert sampler._acting["p"].log.rows <= 200


def test_connectors_that_a_user_added_are_called(small_worker: Any, counting_policy: Any) -> None:
    from aktis.rllib.connectors.action.lambdas import register_lambda_action_connector
    from aktis.rllib.connectors.agent.lambdas import register_lambda_agent_connector
    from aktis.rllib.connectors.connector import ConnectorContext
    from aktis.rllib.connectors.util import create_connectors_for_policy

    def doubled(data: Any) -> Any:
        return {**data, "new_obs": data["new_obs"] * 2, "rewards": data["rewards"] * 10}

    env = Scripted(SLOW_B)
    policy = counting_policy(OBS, ACT)
    create_connectors_for_policy(policy, policy.config)
    context = ConnectorContext.from_policy(policy)
    policy.agent_connectors.prepend(register_lambda_agent_connector("Doubled", doubled)(context))
    opposite = register_lambda_action_connector(
        "Opposite", lambda action, states, fetches: (1 - action, states, fetches)
    )
    policy.action_connectors.append(opposite(context))
    sampler = make(env, small_worker, {"p": policy})
    batch = sampler.sample(5)["p"]
    a = batch["agent_index"] == 0
    assert batch["obs"][a][:, 0].tolist() == [0, 2, 4, 6, 8]
    assert batch["new_obs"][a][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert batch["rewards"][a].tolist() == [10.0] * 5
    assert [actions["a"] for actions in env.actions] == (1 - batch["actions"][a]).tolist()
    assert sampler.get_metrics()[0].agent_rewards[("a", "p")] == 5.0  # as the environment gave them


def test_more_policies_than_are_in_memory(small_worker: Any, counting_policy: Any) -> None:
    from aktis.rllib.policy.policy_map import PolicyMap

    class Own(counting_policy):  # type: ignore[misc]
        """Says which it is: with its weights."""

        number = -1.0

        def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
            count = len(input_dict["obs"])
            return np.zeros(count, np.int64), [], {"number": np.full(count, self.number)}

        def get_weights(self) -> Any:
            return {"number": np.array(self.number)}

        def set_weights(self, weights: Any) -> None:
            self.number = float(weights["number"])

    for swappable in (False, True):
        policies = PolicyMap(capacity=2, policy_states_are_swappable=swappable)
        space = gym.spaces.Discrete(2)
        for index in range(5):
            policies[f"p{index}"] = policy = Own(space, ACT)
            policy.number = float(index)
        sampler = make(BasicMultiAgent(5), small_worker, policies, lambda agent, *args, **kwargs: f"p{agent}")
        batch = sampler.sample(6)
        for index in range(5):
            assert set(batch[f"p{index}"]["number"]) == {float(index)}
            assert len(batch[f"p{index}"]) == 6
