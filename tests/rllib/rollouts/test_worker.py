"""A worker in this process: seeds, metrics, bad environments, filters, state, policies."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, LeanPolicy, RandomPolicy, config_of, worker_of

from aktis.rllib.evaluation._seeds import env_seeds
from aktis.rllib.policy.policy import PolicySpec


def test_the_same_seed_gives_the_same_batches_bit_for_bit() -> None:
    batches = []
    for _ in range(2):
        worker = worker_of(config_of("CartPole-v1", rollout_fragment_length=60).debugging(seed=3))
        batches.append([worker.sample() for _ in range(2)])
        worker.stop()
    for one, other in zip(*batches, strict=True):
        assert set(one) == set(other)
        for name in set(one) - {"infos"}:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_another_seed_gives_others() -> None:
    workers = [worker_of(config_of("CartPole-v1").debugging(seed=seed)) for seed in (3, 4)]
    one, other = (worker.sample()["obs"] for worker in workers)
    for worker in workers:
        worker.stop()
    assert not np.array_equal(one, other)


def test_each_sub_environment_has_its_own_seed_once() -> None:
    worker = worker_of(
        config_of(env_config={"length": 3}, num_envs_per_worker=3).debugging(seed=5), worker_index=2, num_workers=2
    )
    worker.sample()
    seeds = worker.foreach_env(lambda env: env.seeds)
    worker.stop()
    assert [found[-3:] for found in seeds] == [[2005, None, None], [2006, None, None], [2007, None, None]]
    everybody = [seed for index in range(4) for seed in env_seeds(5, index, 100)]
    assert len(set(everybody)) == 400


def test_episodes_are_told_of_once() -> None:
    worker = worker_of(config_of(env_config={"length": 5}))
    worker.sample()
    first = worker.get_metrics()
    worker.sample()
    second = worker.get_metrics()
    worker.stop()
    assert [(m.episode_length, m.episode_reward) for m in first] == [(5, 15.0)] * 2
    assert len(second) == 2 and worker.get_metrics() == []
    assert second[0].perf_stats["mean_env_wait_ms"] > 0


def test_rewards_are_clipped_in_batches_and_not_in_metrics() -> None:
    for clip, expected in ((True, [1, 1, 1]), (2.5, [1, 2, 2.5])):
        config = config_of(env_config={"length": 3}, rollout_fragment_length=3, num_envs_per_worker=1)
        worker = worker_of(config.environment(clip_rewards=clip))
        batch = worker.sample()
        assert batch["rewards"].tolist() == expected
        assert worker.get_metrics()[0].episode_reward == 6.0
        worker.stop()


def test_nan_rewards_name_environment_and_step() -> None:
    worker = worker_of(config_of(env_config={"nan_at": 4}))
    with pytest.raises(ValueError, match=r"Counter \(sub-environment 0, step 3\): the reward is nan"):
        worker.sample()  # one step of the first environment was the check
    worker.stop()


def test_what_an_environment_raises_is_raised() -> None:
    worker = worker_of(config_of(env_config={"fail_at": 3, "fail_index": 1}))
    with pytest.raises(RuntimeError, match="the simulation crashed"):
        worker.sample()
    worker.stop()


def test_a_failed_environment_is_made_anew_and_its_episode_dropped() -> None:
    config = config_of(env_config={"length": 5, "fail_at": 8, "fail_index": 1}, restart_failed_sub_environments=True)
    worker = worker_of(config.rollouts(rollout_fragment_length=10))
    old = worker.foreach_env(lambda env: env)[1]
    batch = worker.sample()
    metrics = worker.get_metrics()
    assert old.closed and worker.foreach_env(lambda env: env)[1] is not old
    worker.stop()
    # Of environment 1: an episode of 5, then 3 steps that are dropped (the third raised), then 2 of a new environment.
    assert batch.count == 17
    of_second = batch["obs"][10:, 1].tolist()
    assert of_second == [0, 1, 2, 3, 4, 0, 1]
    assert [m.episode_faulty for m in metrics].count(True) == 1
    assert len(set(batch["eps_id"][10:].tolist())) == 2


def test_a_failed_environment_loses_the_beginning_of_its_episode_in_complete_mode() -> None:
    config = config_of(
        env_config={"length": 5, "fail_at": 8},
        restart_failed_sub_environments=True,
        batch_mode="complete_episodes",
        num_envs_per_worker=1,
        rollout_fragment_length=1,
    )
    worker = worker_of(config)
    batches = [worker.sample() for _ in range(3)]
    worker.stop()
    assert [batch["t"].tolist() for batch in batches] == [[0, 1, 2, 3, 4]] * 3


def test_observations_outside_of_their_space_are_an_error() -> None:
    class Strays(Counter):
        def step(self, action: Any) -> Any:
            obs, *rest = super().step(action)
            return (np.array([0, -5], np.float32) if self.life == 5 else obs, *rest)

    worker = worker_of(config_of(Strays))
    with pytest.raises(ValueError, match=r"Strays \(sub-environment 0, step 4\).*-5.0 at \[1\] is below"):
        worker.sample()
    worker.stop()
    worker = worker_of(config_of(Strays).environment(disable_env_checking=True))
    worker.sample()
    worker.stop()


def test_a_worker_without_environment_says_so() -> None:
    spaces = {"default_policy": (Counter().observation_space, Counter().action_space)}
    worker = worker_of(config_of(), env_creator=lambda context: None, spaces=spaces)
    assert worker.get_weights()["default_policy"]["weight"] == 0
    with pytest.raises(ValueError, match="create_env_on_local_worker"):
        worker.sample()
    worker.stop()


def test_actions_reach_the_environment_unsquashed_and_are_stored_as_they_were() -> None:
    class Valve(gymnasium.Env):
        def __init__(self, config: Any) -> None:
            self.observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
            self.action_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return np.zeros(1, np.float32), {}

        def step(self, action: Any) -> Any:
            assert self.action_space.contains(action)
            return action, 0.0, False, False, {}

    worker = worker_of(config_of(Valve))
    batch = worker.sample()
    worker.stop()
    assert batch["actions"].min() < 0
    np.testing.assert_allclose(batch["new_obs"], (batch["actions"] + 1) * 5, rtol=1e-5)


def test_structured_spaces_are_flattened() -> None:
    class Structured(gymnasium.Env):
        def __init__(self, config: Any) -> None:
            spaces = gymnasium.spaces
            self.observation_space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(-1, 1, (2,), np.float32)})
            self.action_space = spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 4, (1,), np.float32)])
            self.actions: list[Any] = []

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return {"a": 2, "b": np.ones(2, np.float32)}, {}

        def step(self, action: Any) -> Any:
            assert self.action_space.contains(action), action
            self.actions.append(action)
            return {"a": 1, "b": np.zeros(2, np.float32)}, 0.0, False, False, {}

    class Acts(LeanPolicy):
        def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
            count = len(obs_batch)
            return (np.ones(count, np.int64), np.full((count, 1), 0.5, np.float32)), [], {}

    worker = worker_of(config_of(Structured), Acts)
    batch = worker.sample()
    worker.stop()
    assert batch["obs"][:2].tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert batch["actions"].tolist() == [[1.0, 0.5]] * 14


def test_filters_count_every_observation_once_and_bring_batches_to_mean_zero() -> None:
    worker = worker_of(
        config_of("CartPole-v1", observation_filter="MeanStdFilter", rollout_fragment_length=200).debugging(seed=0)
    )
    batch = worker.sample()
    filter_ = worker.filters["default_policy"]
    assert filter_.running_stats.n == 2 * 201  # after each step, and the first ones
    assert abs(batch["obs"]).max() <= 10 and abs(batch["obs"][:, 1].mean()) < 0.5
    assert filter_.buffer.n == filter_.running_stats.n
    taken = worker.get_filters(flush_after=True)["default_policy"]
    assert taken.buffer.n == 402 and filter_.buffer.n == 0 and filter_.running_stats.n == 402
    worker.stop()


def test_evaluation_leaves_filters_alone() -> None:
    config = config_of("CartPole-v1", observation_filter="MeanStdFilter")
    config.in_evaluation = True
    worker = worker_of(config)
    worker.sample()
    assert worker.filters["default_policy"].running_stats.n == 0
    worker.stop()


def test_state_goes_from_worker_to_worker_with_filters_and_policies() -> None:
    config = config_of("CartPole-v1", observation_filter="MeanStdFilter")
    one, other = worker_of(config), worker_of(config)
    one.sample()
    one.add_policy("second", RandomPolicy)
    one.policy_map["second"].weight = np.full(1, 7.0, np.float32)
    other.set_state(one.get_state())
    assert other.policy_map["second"].weight == 7
    mine, theirs = (w.filters["default_policy"].running_stats for w in (one, other))
    assert mine.n == theirs.n > 0
    np.testing.assert_array_equal(mine.mean, theirs.mean)
    one.stop()
    other.stop()


def test_policies_come_and_go() -> None:
    worker = worker_of(config_of())
    with pytest.raises(KeyError, match="there is a policy 'default_policy' already"):
        worker.add_policy("default_policy", RandomPolicy)
    with pytest.raises(ValueError, match="cannot be the id of a policy"):
        worker.add_policy("a/b", RandomPolicy)
    worker.add_policy("b", RandomPolicy, policies_to_train=["b"])
    assert worker.get_policies_to_train() == {"b"}
    assert worker.foreach_policy_to_train(lambda policy, policy_id: policy_id) == ["b"]
    worker.remove_policy(policy_id="b")
    assert worker.foreach_policy(lambda policy, policy_id: policy_id) == ["default_policy"]
    with pytest.raises(KeyError, match="no policy 'b' to remove"):
        worker.remove_policy(policy_id="b")
    worker.stop()


def test_a_second_policy_is_sampled_too_once_the_mapping_says_so() -> None:
    worker = worker_of(config_of())
    worker.sample()
    worker.add_policy("b", RandomPolicy, policy_mapping_fn=lambda *args, **kwargs: "b")
    found: set[str] = set()
    for _ in range(3):
        found |= set(worker.sample().as_multi_agent().policy_batches)
    worker.stop()
    assert "b" in found


def test_learning_goes_to_the_policies_to_train() -> None:
    config = config_of().multi_agent(policies={"a": PolicySpec(), "b": PolicySpec()}, policies_to_train=["a"])
    config.multi_agent(policy_mapping_fn=lambda agent, episode, worker, **kwargs: "ab"[episode.env_id % 2])
    worker = worker_of(config)
    info = worker.learn_on_batch(worker.sample())
    assert set(info) == {"a"} and info["a"]["learner_stats"]["rows"] == 7
    assert worker.policy_map["a"].weight == 1 and worker.policy_map["b"].weight == 0
    worker.stop()


def test_sample_and_learn_samples_enough() -> None:
    worker = worker_of(config_of())
    info, count = worker.sample_and_learn(30, 2, 10, ["vf_preds"])
    worker.stop()
    assert count == 42 and info["default_policy"]["learner_stats"]["rows"] == 42


def test_global_variables_reach_policies_and_weights_are_set_once_for_each_number() -> None:
    worker = worker_of(config_of())
    worker.set_global_vars({"timestep": 12})
    assert worker.get_global_vars()["timestep"] == 12 and worker.get_policy().seen_timesteps == [12]
    weights = {"default_policy": {"weight": np.ones(1, np.float32)}}
    worker.set_weights(weights, {"timestep": 20}, weights_seq_no=1)
    worker.get_policy().weight = np.zeros(1, np.float32)
    worker.set_weights(weights, weights_seq_no=1)
    assert worker.get_policy().weight == 0 and worker.get_policy().seen_timesteps[-1] == 20
    worker.stop()


def test_environments_are_told_where_they_are() -> None:
    found: list[Any] = []

    class Told(Counter):
        def __init__(self, config: Any) -> None:
            found.append((config["x"], config.worker_index, config.vector_index, config.num_workers, config.remote))
            super().__init__(config)

    worker = worker_of(config_of(Told, {"x": 1}), worker_index=3, num_workers=4)
    contexts = worker.foreach_env_with_context(lambda env, context: context.vector_index)
    worker.stop()
    assert found == [(1, 3, 0, 4, False), (1, 3, 1, 4, False)] and contexts == [0, 1]


def test_an_unknown_environment_is_told_with_the_nearest_names() -> None:
    with pytest.raises(ValueError, match=r"no environment 'CartPol-v1'.*Did you mean 'CartPole-v\d'"):
        worker_of(config_of("CartPol-v1"))
