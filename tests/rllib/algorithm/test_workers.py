"""Training with remote workers, and as a trial of Tune."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from aktis import tune
from aktis.air.config import CheckpointConfig, RunConfig
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.tune import registry

pytestmark = pytest.mark.usefixtures("cluster")


def test_same_seed_same_curve_with_workers(coin, build):
    coin.debugging(seed=5).rollouts(num_rollout_workers=2, num_envs_per_worker=2, observation_filter="MeanStdFilter")
    curves = []
    for _ in range(2):
        algorithm = build(coin)
        curves.append([algorithm.train()["hist_stats"] for _ in range(2)])
        algorithm.stop()
    assert curves[0] == curves[1]


def test_batches_are_whole_and_episodes_are_counted_once(coin, build):
    algorithm = build(coin.rollouts(num_rollout_workers=3).training(train_batch_size=35))
    results = [algorithm.train() for _ in range(3)]
    assert results[2]["num_env_steps_sampled"] == 3 * 35
    assert results[2]["num_healthy_workers"] == 3
    lengths = [
        length
        for result in results
        for length in result["sampler_results"]["hist_stats"]["episode_lengths"][-result["episodes_this_iter"] :]
    ]
    assert sum(lengths) <= 105 and len(lengths) == results[2]["episodes_total"]


def test_weights_and_time_reach_workers(coin, build):
    algorithm = build(coin.rollouts(num_rollout_workers=2))
    algorithm.train()
    algorithm.set_weights({"default_policy": {"bias": np.array(0.25)}})
    seen = algorithm.workers.foreach_worker(lambda w: (float(w.get_policy().bias), w.get_policy().global_timestep))
    assert [bias for bias, _ in seen] == [0.25] * 3
    assert [timestep for _, timestep in seen[1:]] == [20, 20]


def test_worker_that_died_is_made_anew(coin, build):
    algorithm = build(coin.rollouts(num_rollout_workers=2, recreate_failed_workers=True))
    for _ in range(5):
        algorithm.train()
    pids = algorithm.workers.foreach_worker_with_id(lambda number, worker: os.getpid(), local_worker=False)
    os.kill(pids[0], signal.SIGKILL)
    results = [algorithm.train() for _ in range(3)]
    assert all(result["num_env_steps_sampled_this_iter"] >= 20 for result in results)
    assert results[-1]["num_healthy_workers"] == 2 and results[-1]["num_remote_worker_restarts"] == 1
    assert results[-1]["hist_stats"]["episode_reward"][-1] == 5, "with the weights of now"


def test_worker_that_died_is_an_error_otherwise(coin, build):
    algorithm = build(coin.rollouts(num_rollout_workers=1))
    (pid,) = algorithm.workers.foreach_worker(lambda worker: os.getpid(), local_worker=False)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Exception, match=r"died|worker"):
        algorithm.train()


def test_workers_that_there_is_no_room_for_are_an_error_and_not_waited_for(coin):
    with pytest.raises(ValueError, match=r"9 rollout worker.*need 9 CPU, and there are 4: set num_rollout_workers"):
        coin.rollouts(num_rollout_workers=9).build()
    with pytest.raises(ValueError, match=r"need 1 GPU, and there are 0"):
        coin.rollouts(num_rollout_workers=1).resources(num_gpus_per_worker=1).build()


def test_policies_are_added_and_removed_on_all(coin, build):
    coin.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent_id, *args, **kwargs: "a")
    algorithm = build(coin.rollouts(num_rollout_workers=1))
    algorithm.add_policy("c", policy_mapping_fn=lambda agent_id, *args, **kwargs: "c")
    algorithm.remove_policy("b")
    ids = algorithm.workers.foreach_worker(lambda worker: sorted(worker.policy_map.keys()))
    assert ids == [["a", "c"]] * 2


def test_names_are_known_in_workers(coin, build):
    registry.named("test.things")["x"] = 5
    tune.register_env("corridor of mine", coin.env)
    try:
        algorithm = build(coin.environment("corridor of mine").rollouts(num_rollout_workers=1))
        found = algorithm.workers.foreach_worker(
            lambda worker: registry.named("test.things").get("x"), local_worker=False
        )
        assert found == [5] and algorithm.train()["episodes_this_iter"] == 4
    finally:
        registry._named.pop("test.things")
        registry._envs.pop("corridor of mine")


# -- Tune ------------------------------------------------------------------------------------------


@pytest.fixture
def registered(coin):
    tune.register_trainable("Coin", coin.algo_class, warn=False)
    tune.register_env("corridor of mine", coin.env)
    yield "Coin"
    registry.unregister_trainable("Coin")
    registry._envs.pop("corridor of mine")


def test_run_by_name_with_a_dictionary(registered, tmp_path):
    analysis = tune.run(
        registered,
        config={
            "env": "corridor of mine",
            "heads": tune.grid_search([1, 2]),
            "num_workers": 1,
            "num_cpus_per_worker": 0.5,
        },
        stop={"num_env_steps_sampled": 40, "sampler_results/episode_reward_mean": 100},
        local_dir=str(tmp_path),
        checkpoint_at_end=True,
        metric="episode_reward_mean",
        mode="max",
        verbose=0,
    )
    assert sorted(trial.config["heads"] for trial in analysis.trials) == [1, 2]
    assert [trial.last_result["num_env_steps_sampled"] for trial in analysis.trials] == [40, 40]
    assert analysis.trials[0].placement_group_factory.bundles == [{"CPU": 1}, {"CPU": 0.5}]
    restored = Algorithm.from_checkpoint(analysis.best_checkpoint, config_overrides={"num_workers": 0})
    assert restored.iteration == 2 and restored.train()["num_env_steps_sampled"] == 60
    restored.stop()


def test_tuner_with_a_configuration_that_has_search_spaces(coin, tmp_path):
    coin.training(heads=tune.grid_search([3, 4]), model={"fcnet_hiddens": [tune.choice([8, 16])]})
    coin.environment(env_config={"length": tune.choice([4])})
    tuner = tune.Tuner(
        coin.algo_class,
        param_space=coin,
        run_config=RunConfig(
            stop={"training_iteration": 2},
            local_dir=str(tmp_path),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=1),
            verbose=0,
        ),
    )
    results = tuner.fit()
    assert not results.errors
    assert sorted(result.config["heads"] for result in results) == [3, 4]
    assert {result.config["env_config"]["length"] for result in results} == {4}
    assert {result.config["model"]["fcnet_hiddens"][0] for result in results} <= {8, 16}
    assert {result.metrics["episode_len_mean"] for result in results} == {4}
    made = Algorithm.from_checkpoint(results[0].checkpoint)
    assert made.iteration == 2
    made.stop()


def test_error_in_the_configuration_of_a_trial_names_the_setting(registered, tmp_path):
    config = {"env": "corridor of mine", "haeds": 1}
    with pytest.raises(Exception, match="did you mean 'heads'"):
        tune.run(registered, config=config, local_dir=str(tmp_path), verbose=0, stop={"training_iteration": 1})
