"""Iterations and their results, with a local worker."""

from __future__ import annotations

import json
import math
import os

import numpy as np
import pytest

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.tune.logger import UnifiedLogger

TOP = [
    "episode_reward_max",
    "episode_reward_min",
    "episode_reward_mean",
    "episode_len_mean",
    "episode_media",
    "episodes_this_iter",
    "policy_reward_min",
    "policy_reward_max",
    "policy_reward_mean",
    "custom_metrics",
    "hist_stats",
    "sampler_perf",
    "num_faulty_episodes",
    "connector_metrics",
    "sampler_results",
    "info",
    "num_env_steps_sampled",
    "num_env_steps_trained",
    "num_agent_steps_sampled",
    "num_agent_steps_trained",
    "num_env_steps_sampled_this_iter",
    "num_env_steps_trained_this_iter",
    "timesteps_total",
    "agent_timesteps_total",
    "num_healthy_workers",
    "num_in_flight_async_reqs",
    "num_remote_worker_restarts",
    "timers",
    "counters",
    "perf",
    "done",
    "training_iteration",
    "trial_id",
    "experiment_id",
    "date",
    "timestamp",
    "time_this_iter_s",
    "time_total_s",
    "pid",
    "hostname",
    "node_ip",
    "config",
    "time_since_restore",
    "iterations_since_restore",
    "episodes_total",
]


def test_result_has_everything(coin, build):
    algorithm = build(coin)
    algorithm.train()
    result = algorithm.train()
    assert [key for key in TOP if key not in result] == []
    assert result["info"]["learner"]["default_policy"]["learner_stats"] == {"bias": 0.7, "steps": 20}
    assert (result["num_env_steps_sampled"], result["num_env_steps_sampled_this_iter"], result["timesteps_total"]) == (
        40,
        20,
        40,
    )
    assert result["counters"] == {
        "num_env_steps_sampled": 40,
        "num_env_steps_trained": 40,
        "num_agent_steps_sampled": 40,
        "num_agent_steps_trained": 40,
    }
    assert (result["episodes_this_iter"], result["episodes_total"], result["episode_len_mean"]) == (4, 8, 5)
    assert len(result["hist_stats"]["episode_reward"]) == 8, "old episodes pad the window"
    assert result["timers"]["training_iteration_time_ms"] > 0
    assert result["config"]["num_workers"] == 0 and result["config"]["train_batch_size"] == 20
    assert "evaluation" not in result


def test_no_episode_yet_is_nan(coin, build):
    result = build(coin.environment(env_config={"length": 1000})).train()
    assert math.isnan(result["episode_reward_mean"]) and result["episodes_this_iter"] == 0


def test_window_never_drops_new_episodes(coin, build):
    algorithm = build(coin.environment(env_config={"length": 1}).reporting(metrics_num_episodes_for_smoothing=3))
    assert len(algorithm.train()["hist_stats"]["episode_reward"]) == 20


def test_iteration_goes_on_until_it_is_long_enough(coin, build):
    result = build(coin.reporting(min_sample_timesteps_per_iteration=50)).train()
    assert result["num_env_steps_sampled_this_iter"] == 60
    assert result["info"]["learner"]["default_policy"]["learner_stats"]["bias"] == pytest.approx(0.8)


@pytest.mark.parametrize("envs", [1, 4])
def test_same_seed_same_curve(coin, build, envs):
    coin.debugging(seed=3).rollouts(num_envs_per_worker=envs)
    curves = [[build(coin).train()["hist_stats"] for _ in range(2)] for _ in range(2)]
    assert curves[0] == curves[1]
    other = build(coin.debugging(seed=4)).train()["hist_stats"]
    assert other != curves[0][0]


def test_forms_of_configuration(coin):
    for made in (
        type(coin)().build().__class__(config={"num_workers": 0, "train_batch_size": 7, "heads": 2}, env="CartPole-v1"),
        coin.algo_class(config=coin.training(heads=2, train_batch_size=7), env="CartPole-v1"),
        coin.copy(copy_frozen=False).build(env="CartPole-v1"),
    ):
        assert (made.config.env, made.config.train_batch_size, made.config["heads"]) == ("CartPole-v1", 7, 2)
        made.stop()
    with pytest.raises(KeyError, match="did you mean 'heads'"):
        coin.algo_class(config={"haeds": 1})


def test_configuration_of_another_algorithm_is_an_error(coin):
    with pytest.raises(TypeError, match="CoinAlgorithm needs a CoinConfig: AlgorithmConfig has no 'heads'"):
        coin.algo_class(config=AlgorithmConfig())


def test_usual_training_step_samples_learns_and_spreads_the_weights(coin, build):
    class Usual(coin.algo_class):
        training_step = Algorithm.training_step

    config = coin.copy(copy_frozen=False).multi_agent(count_steps_by="agent_steps")
    config.algo_class = Usual
    algorithm = build(config)
    result = algorithm.train()
    assert result["info"]["learner"]["default_policy"]["learner_stats"]["bias"] == 0.6
    assert (result["num_agent_steps_sampled_this_iter"], result["num_agent_steps_trained_this_iter"]) == (20, 20)
    assert {"sample_time_ms", "learn_time_ms", "synch_weights_time_ms"} <= result["timers"].keys()
    assert result["timers"]["learn_throughput"] > 0


def test_configuration_is_frozen_when_built_and_the_users_is_not(coin, build):
    algorithm = build(coin)
    with pytest.raises(AttributeError, match="frozen"):
        algorithm.config.lr = 3
    coin.lr = 3
    build(coin, use_copy=False)
    with pytest.raises(AttributeError, match="frozen"):
        coin.lr = 4


def test_wrong_configuration_is_an_error_before_anything_is_made(coin):
    with pytest.raises(ValueError, match="batch_mode"):
        coin.rollouts(batch_mode="no").build()


def test_unknown_environment_names_those_that_are_close(coin):
    with pytest.raises(ValueError, match="CartPole-v1"):
        coin.environment("CartPoel-v1").build()


class Noted(DefaultCallbacks):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_algorithm_init(self, *, algorithm, **kwargs):
        algorithm.noted = self.seen
        self.seen.append("init")

    def on_train_result(self, *, algorithm, result, **kwargs):
        self.seen.append(result["training_iteration"])
        result["mine"] = 5

    def on_evaluate_start(self, *, algorithm, **kwargs):
        self.seen.append("start")

    def on_evaluate_end(self, *, algorithm, evaluation_metrics, **kwargs):
        self.seen.append(evaluation_metrics["evaluation"]["episodes_this_iter"])

    def on_episode_end(self, *, worker, base_env, policies, episode, env_index=None, **kwargs):
        episode.custom_metrics["length"] = episode.length


def test_callbacks_are_called_and_may_add_to_results(coin, build):
    algorithm = build(coin.callbacks(Noted).evaluation(evaluation_interval=2, evaluation_duration=3))
    assert algorithm.train()["mine"] == 5
    result = algorithm.train()
    assert algorithm.noted == ["init", 1, "start", 3, 2]
    assert result["custom_metrics"] == {"length_mean": 5, "length_min": 5, "length_max": 5}
    assert result["sampler_results"]["custom_metrics"] == result["custom_metrics"]


def test_curriculum_sets_tasks_that_are_new(coin, build):
    set_tasks = []

    def task_of(result, env, context):
        inner = env.unwrapped
        if not hasattr(inner, "counted"):
            original = inner.set_task
            inner.set_task = lambda task: (set_tasks.append(task), original(task))[1]
            inner.counted = True
        return int(result["timesteps_total"] >= 40)

    algorithm = build(coin.environment(env_task_fn=task_of))
    for _ in range(4):
        algorithm.train()
    assert set_tasks == [1]


def test_actions_for_observations(coin, build):
    algorithm = build(coin)
    seen = np.zeros(2, np.float32)
    assert algorithm.compute_single_action(seen, explore=False) == 1
    action, state, extra = algorithm.compute_single_action(seen, explore=False, full_fetch=True)
    assert (action, state, extra["bias"]) == (1, [], 0.5)
    assert algorithm.compute_single_action(input_dict={"obs": seen[None]}, explore=False) == 1
    assert algorithm.compute_actions({"a": seen, "b": seen}, explore=False) == {"a": 1, "b": 1}
    actions, states, extra = algorithm.compute_actions({"a": seen}, explore=False, full_fetch=True)
    assert (actions, states, extra["bias"].tolist()) == ({"a": 1}, {"a": []}, [0.5])
    assert algorithm.compute_actions({}) == {}
    with pytest.raises(ValueError, match="either an observation or an input_dict"):
        algorithm.compute_single_action()
    with pytest.raises(ValueError, match="no policy 'x'; the policies are default_policy"):
        algorithm.compute_single_action(seen, policy_id="x")


def test_results_are_logged_as_the_configuration_says(coin, tmp_path, monkeypatch):
    monkeypatch.delenv("OF_THE_ALGORITHM", raising=False)
    coin.python_environment(extra_python_environs_for_driver={"OF_THE_ALGORITHM": 3})
    algorithm = coin.debugging(logger_config={"type": UnifiedLogger, "logdir": str(tmp_path)}).build()
    algorithm.train()
    algorithm.stop()
    assert os.environ.pop("OF_THE_ALGORITHM") == "3"
    assert algorithm.logdir == str(tmp_path)
    (line,) = (tmp_path / "result.json").read_text().splitlines()
    assert json.loads(line)["num_env_steps_sampled"] == 20


def test_weights_are_those_of_the_policies(coin, build):
    algorithm = build(coin)
    algorithm.set_weights({"default_policy": {"bias": np.array(0.9)}})
    assert algorithm.get_weights()["default_policy"]["bias"] == 0.9
    assert algorithm.get_policy().bias == 0.9
    assert algorithm.get_policy("nobody") is None


def test_reset_makes_another_algorithm_in_place(coin, build):
    algorithm = build(coin)
    algorithm.train()
    assert algorithm.reset(coin.copy(copy_frozen=False).training(heads=9).to_dict())
    assert algorithm.config.heads == 9 and algorithm.iteration == 0
    assert algorithm.train()["num_env_steps_sampled"] == 20


def test_base_has_no_policy_of_its_own():
    assert Algorithm.get_default_policy_class(Algorithm.get_default_config()) is None


def test_resources_are_bundles(coin):
    coin.rollouts(num_rollout_workers=2).resources(
        num_cpus_per_worker=0.5, custom_resources_per_worker={"x": 1}, num_gpus=1
    )
    coin.evaluation(evaluation_interval=1, evaluation_num_workers=1, evaluation_config={"num_cpus_per_worker": 3})
    worker = {"CPU": 0.5, "x": 1}
    for config in (coin, coin.to_dict()):
        request = type(coin)().algo_class.default_resource_request(config)
        assert request.bundles == [{"CPU": 1, "GPU": 1}, worker, worker, {"CPU": 3, "x": 1}]
        assert request.strategy == "PACK"
