"""The on-policy algorithms with workers in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import aktis
from aktis.rllib.algorithms.a3c import A3CConfig
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.appo import APPOConfig
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.ppo import PPOConfig

pytestmark = [pytest.mark.torch, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=4, log_to_driver=False)
    yield
    aktis.shutdown()


def small(config: AlgorithmConfig, **training: Any) -> AlgorithmConfig:
    config.environment("CartPole-v1").rollouts(num_rollout_workers=2, num_envs_per_worker=2)
    config.training(model={"fcnet_hiddens": [8]}, **training)
    config.debugging(seed=4).reporting(min_time_s_per_iteration=0)
    return config


def test_ppo_with_two_workers_repeats_bit_for_bit() -> None:
    found = []
    for _ in range(2):
        algorithm = small(PPOConfig(), train_batch_size=256, sgd_minibatch_size=64, num_sgd_iter=2).build()
        try:
            curve = [algorithm.train()["episode_reward_mean"] for _ in range(4)]
            weights = {name: array.copy() for name, array in algorithm.get_policy().get_weights().items()}
            of_worker = algorithm.workers.foreach_worker(
                lambda worker: worker.get_policy().get_weights(), local_worker=False
            )
        finally:
            algorithm.stop()
        found.append((curve, weights))
        for remote in of_worker:  # they act with what was learned
            assert all(np.array_equal(remote[name], weights[name]) for name in weights)
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[0][1][name], found[1][1][name]) for name in found[0][1])


@pytest.mark.parametrize(
    ("make", "training"),
    [
        (ImpalaConfig, {"train_batch_size": 80, "minibatch_buffer_size": 2, "num_sgd_iter": 2}),
        (
            ImpalaConfig,
            {"train_batch_size": 80, "num_aggregation_workers": 1, "replay_proportion": 0.5, "replay_buffer_num_slots": 4},
        ),
        (APPOConfig, {"train_batch_size": 80, "use_kl_loss": True}),
        (A3CConfig, {}),
    ],
    ids=["impala", "impala-aggregation", "appo", "a3c"],
)  # fmt: skip
def test_asynchronous_algorithms_learn_while_workers_sample(make: Any, training: dict[str, Any]) -> None:
    config = small(make(), **training).rollouts(rollout_fragment_length=20)
    algorithm = config.build()
    try:
        before = {name: array.copy() for name, array in algorithm.get_policy().get_weights().items()}
        result: dict[str, Any] = {}
        while result.get("num_env_steps_trained", 0) < 800:
            result = algorithm.train()
        after = algorithm.get_policy().get_weights()
        assert any(not np.array_equal(before[name], after[name]) for name in before)
        assert result["num_env_steps_sampled"] >= 400
        learner = getattr(algorithm, "_learner", None)
        if learner is None:
            assert result["num_env_steps_trained"] == result["num_env_steps_sampled"]
        of_worker = algorithm.workers.foreach_worker(
            lambda worker: worker.get_policy().get_weights(), local_worker=False
        )
        for remote in of_worker:
            assert any(not np.array_equal(before[name], remote[name]) for name in before), "no new weights came"
    finally:
        algorithm.stop()
    assert learner is None or not learner.is_alive()


def test_a_learner_that_fails_ends_the_training() -> None:
    from aktis.rllib.algorithms.impala import Impala, ImpalaTorchPolicy

    class Broken(ImpalaTorchPolicy):
        def learn_on_batch(self, samples: Any) -> Any:
            raise FloatingPointError("the loss is NaN")

    class BrokenImpala(Impala):
        @classmethod
        def get_default_policy_class(cls, config: Any) -> Any:
            return Broken

    algorithm = (
        small(ImpalaConfig(algo_class=BrokenImpala), train_batch_size=40).rollouts(rollout_fragment_length=20).build()
    )
    try:
        with pytest.raises(Exception, match="the learner failed: FloatingPointError: the loss is NaN"):
            while True:
                algorithm.train()
    finally:
        algorithm.stop()
