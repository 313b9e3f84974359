"""Evaluation: when, on which workers, for how long, and with which weights, filters and settings."""

from __future__ import annotations

import numpy as np
import pytest

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig


def test_every_so_many_iterations_after_training(coin, build):
    algorithm = build(coin.evaluation(evaluation_interval=2, evaluation_duration=3))
    results = [algorithm.train() for _ in range(4)]
    assert ["evaluation" in result for result in results] == [False, True, False, True]
    evaluation = results[1]["evaluation"]
    assert (
        evaluation["episodes_this_iter"],
        evaluation["num_env_steps_sampled_this_iter"],
        evaluation["episode_len_mean"],
    ) == (3, 15, 5)
    assert results[3]["episodes_total"] == 16, "episodes of evaluations are none of training's"
    assert "evaluation" not in results[1]["info"]["learner"]


def test_latest_evaluation_is_attached_if_asked_for(coin, build):
    algorithm = build(
        coin.evaluation(evaluation_interval=2, evaluation_duration=1, always_attach_evaluation_results=True)
    )
    results = [algorithm.train() for _ in range(3)]
    assert "evaluation" not in results[0]
    assert results[2]["evaluation"] == results[1]["evaluation"]


def test_no_interval_no_workers_until_evaluate_is_called(coin, build):
    algorithm = build(coin)
    assert algorithm.evaluation_workers is None
    assert algorithm.evaluate()["evaluation"]["episodes_this_iter"] == 10
    assert "evaluation" not in algorithm.train()
    assert algorithm.train()["episodes_total"] == 8


def test_settings_that_are_different(coin, build):
    coin.evaluation(
        evaluation_interval=1,
        evaluation_duration=2,
        evaluation_config=AlgorithmConfig.overrides(explore=False, env_config={"length": 9}),
    )
    result = build(coin).train()
    assert result["evaluation"]["hist_stats"] == {"episode_reward": [9, 9], "episode_lengths": [9, 9]}
    assert result["episode_len_mean"] == 5 and result["episode_reward_mean"] < 5


def test_duration_in_steps(coin, build):
    coin.evaluation(evaluation_interval=1, evaluation_duration=12, evaluation_duration_unit="timesteps")
    assert build(coin).train()["evaluation"]["num_env_steps_sampled_this_iter"] == 12


def test_duration_that_is_given(coin, build):
    made = build(coin).evaluate(duration_fn=lambda done: 4 - done if done < 4 else 0)
    assert made["evaluation"]["episodes_this_iter"] == 4


def test_several_environments_if_asked_for(coin, build):
    coin.evaluation(evaluation_interval=1, evaluation_duration=6, evaluation_config={"num_envs_per_worker": 3})
    algorithm = build(coin.rollouts(num_envs_per_worker=2))
    assert algorithm.train()["evaluation"]["episodes_this_iter"] >= 6
    assert algorithm.evaluation_workers.local_worker().config.num_envs_per_worker == 3


def test_weights_are_those_of_now(coin, build):
    algorithm = build(coin.evaluation(evaluation_interval=1, evaluation_duration=2))
    for _ in range(6):
        result = algorithm.train()
    assert result["evaluation"]["episode_reward_mean"] == 5, "the coin always shows 1 after five updates"


def test_function_of_ones_own(coin, build):
    def own(algorithm, workers):
        assert isinstance(algorithm, Algorithm)
        return {"mine": workers.local_worker().get_policy().bias}

    algorithm = build(coin.evaluation(evaluation_interval=1, custom_evaluation_function=own))
    evaluation = algorithm.train()["evaluation"]
    assert evaluation["mine"] == 0.6
    wrong = build(coin.copy(copy_frozen=False).evaluation(custom_evaluation_function=lambda algorithm, workers: 3))
    with pytest.raises(ValueError, match="custom_evaluation_function must return a dict"):
        wrong.train()


def test_filters_go_to_evaluation_and_do_not_come_back(coin, build):
    coin.rollouts(observation_filter="MeanStdFilter").evaluation(evaluation_interval=1, evaluation_duration=2)
    algorithm = build(coin)
    algorithm.train()
    training = algorithm.workers.local_worker().filters["default_policy"]
    evaluation = algorithm.evaluation_workers.local_worker().filters["default_policy"]
    before = training.running_stats.n
    assert before > 0
    np.testing.assert_allclose(evaluation.running_stats.mean[0], training.running_stats.mean[0], atol=1)
    algorithm.evaluate()
    assert training.running_stats.n == before


def test_remote_workers_need_not_wait_for_each_other(coin, build, cluster):
    coin.evaluation(
        evaluation_interval=1, evaluation_num_workers=2, evaluation_duration=5, enable_async_evaluation=True
    )
    algorithm = build(coin)
    for _ in range(6):
        result = algorithm.train()
    evaluation = result["evaluation"]
    assert evaluation["episodes_this_iter"] == 5 and evaluation["episode_reward_mean"] == 5
    assert evaluation["num_healthy_workers"] == 2


@pytest.mark.parametrize("duration", [4, "auto"])
def test_beside_training_with_the_weights_from_before(coin, build, cluster, duration):
    coin.evaluation(
        evaluation_interval=1,
        evaluation_num_workers=1,
        evaluation_duration=duration,
        evaluation_parallel_to_training=True,
    )
    algorithm = build(coin)
    result = algorithm.train()
    episodes = result["evaluation"]["episodes_this_iter"]
    assert episodes == 4 if duration == 4 else episodes >= 1
    for _ in range(5):
        result = algorithm.train()
    assert result["evaluation"]["episode_reward_mean"] == 5


def test_error_of_an_evaluation_beside_training_is_raised(coin, build, cluster):
    def fail(algorithm, workers):
        raise KeyError("mine")

    coin.evaluation(
        evaluation_interval=1,
        evaluation_num_workers=1,
        evaluation_parallel_to_training=True,
        custom_evaluation_function=fail,
    )
    with pytest.raises(KeyError, match="mine"):
        build(coin).train()


def test_worker_that_died_is_made_anew_with_the_weights(coin, build, cluster):
    coin.rollouts(recreate_failed_workers=True)
    algorithm = build(coin.evaluation(evaluation_interval=1, evaluation_num_workers=2, evaluation_duration=4))
    for _ in range(5):
        algorithm.train()
    _kill(algorithm.evaluation_workers, 1)
    evaluation = algorithm.train()["evaluation"]
    assert evaluation["episodes_this_iter"] == 4 and evaluation["episode_reward_mean"] == 5
    evaluation = algorithm.train()["evaluation"]
    assert evaluation["num_healthy_workers"] == 2


def test_worker_that_died_is_left_out_of_an_asynchronous_evaluation(coin, build, cluster):
    algorithm = build(
        coin.evaluation(
            evaluation_interval=1, evaluation_num_workers=2, evaluation_duration=4, enable_async_evaluation=True
        )
    )
    _kill(algorithm.evaluation_workers, 1)
    evaluation = algorithm.train()["evaluation"]
    assert (evaluation["episodes_this_iter"], evaluation["num_healthy_workers"]) == (4, 1)


def _kill(workers, worker_id):
    import os
    import signal

    pids = workers.foreach_worker_with_id(lambda number, worker: (number, os.getpid()), local_worker=False)
    os.kill(dict(pids)[worker_id], signal.SIGKILL)
