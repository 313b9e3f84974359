"""Algorithms that learn from replay, and evolution strategies, with workers in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import aktis
from aktis.rllib.algorithms.dqn import DQNConfig
from aktis.rllib.algorithms.es import ESConfig

pytestmark = [pytest.mark.torch, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=4, log_to_driver=False)
    yield
    aktis.shutdown()


@pytest.mark.parametrize("prioritized_by_workers", [False, True])
def test_workers_act_with_what_was_learned_each_to_its_own_degree(prioritized_by_workers: bool) -> None:
    config = DQNConfig().environment("CartPole-v1").debugging(seed=0).framework("torch")
    config.rollouts(num_rollout_workers=2, rollout_fragment_length=8, num_envs_per_worker=2)
    config.exploration(exploration_config={"type": "PerWorkerEpsilonGreedy"})
    buffer = {
        "type": "MultiAgentPrioritizedReplayBuffer",
        "capacity": 1000,
        "worker_side_prioritization": prioritized_by_workers,
    }
    config.training(
        hiddens=[8],
        model={"fcnet_hiddens": [8]},
        n_step=3,
        num_steps_sampled_before_learning_starts=64,
        replay_buffer_config=buffer,
    )
    algorithm = config.reporting(min_sample_timesteps_per_iteration=200).build()
    try:
        result = algorithm.train()
        weights = algorithm.get_policy().get_weights()
        remote = algorithm.workers.foreach_worker(lambda worker: worker.get_policy().get_weights(), local_worker=False)
        epsilons = algorithm.workers.foreach_worker(lambda worker: worker.get_policy().exploration.epsilon())
        leaves = algorithm.local_replay_buffer.replay_buffers["default_policy"]._tree.leaves()[:200]
    finally:
        algorithm.stop()
    assert result["num_env_steps_trained"] > 0
    assert len(remote) == 2 and all(np.array_equal(one[name], weights[name]) for one in remote for name in weights)
    assert epsilons == pytest.approx([0.0, 0.4, 0.4**8])
    if prioritized_by_workers:  # rows that were never learned from have priorities of their own, too
        assert len(np.unique(leaves)) > 150


def test_evolution_repeats_bit_for_bit_and_a_worker_that_dies_is_no_end() -> None:
    def run() -> list[Any]:
        config = ESConfig().environment("CartPole-v1").debugging(seed=0).framework("torch")
        config.rollouts(num_rollout_workers=2, recreate_failed_workers=True)
        config.training(
            model={"fcnet_hiddens": [8]}, episodes_per_batch=8, train_batch_size=1, noise_size=100_000, eval_prob=0.5
        )
        algorithm = config.build()
        try:
            found = [algorithm.train()["info"]["learner"]["default_policy"]["learner_stats"] for _ in range(2)]
            aktis.kill(algorithm.workers.remote_workers()[0])
            later = algorithm.train()
            assert later["info"]["learner"]["default_policy"]["learner_stats"]["episodes_this_iter"] >= 8
            return found
        finally:
            algorithm.stop()

    assert run() == run()
