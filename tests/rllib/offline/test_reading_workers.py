"""Workers that read beside each other. Their policy needs no framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import aktis
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.evaluation.worker_set import WorkerSet
from aktis.rllib.offline import JsonWriter
from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.sample_batch import SampleBatch


class Still(Policy):
    """Does nothing."""

    def compute_actions(self, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return np.zeros(len(obs_batch), np.int64), [], {}

    def get_weights(self) -> dict[str, Any]:
        return {}

    def set_weights(self, weights: Any) -> None:
        pass


def config_of(path: Any) -> AlgorithmConfig:
    config = AlgorithmConfig().rollouts(rollout_fragment_length=3).offline_data(input_=str(path))
    config.environment(observation_space=gym.spaces.Box(0, 1, (2,), np.float32), action_space=gym.spaces.Discrete(2))
    config.framework_str = None
    config.exploration_config = {}
    return config


def first_reward(worker: Any) -> float:
    return float(worker.sample()["rewards"][0])


def test_each_has_its_share_and_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for number in range(4):
        with JsonWriter(tmp_path) as writer:
            columns = {
                "obs": np.zeros((3, 2), np.float32),
                "new_obs": np.ones((3, 2), np.float32),
                "actions": np.zeros(3, int),
            }
            writer.write(SampleBatch(**columns, rewards=np.full(3, number, np.float32), terminateds=np.zeros(3, bool)))
    aktis.init(num_cpus=2, log_to_driver=False)
    try:
        workers = WorkerSet(config=config_of(tmp_path), default_policy_class=Still, num_workers=2, local_worker=False)
        found = [workers.foreach_worker(first_reward) for _ in range(4)]
        assert [sorted({pair[i] for pair in found}) for i in (0, 1)] == [[0.0, 2.0], [1.0, 3.0]]
        workers.stop()
        with pytest.raises(Exception, match=r"there is no file or folder .*nothing"):
            WorkerSet(
                config=config_of(tmp_path / "nothing"), default_policy_class=Still, num_workers=1, local_worker=False
            )
    finally:
        aktis.shutdown()
