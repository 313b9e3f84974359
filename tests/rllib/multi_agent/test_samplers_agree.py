"""The sampler of many agents gives what the vectorised one gives, number by number, where there is one agent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.evaluation import _sampler_setup
from aktis.rllib.evaluation._episode_sampler import EpisodeSampler
from aktis.rllib.evaluation._vector_sampler import VectorSampler

pytestmark = pytest.mark.torch

LSTM = {"use_lstm": True, "lstm_use_prev_action": True, "lstm_use_prev_reward": True, "lstm_cell_size": 8}


def batches(env: str, rollouts: dict[str, Any], model: dict[str, Any]) -> tuple[Any, list[Any], list[Any]]:
    config = (
        PPOConfig()
        .environment(env)
        .framework("torch")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=3, rollout_fragment_length=25, **rollouts)
        .training(train_batch_size=75, sgd_minibatch_size=25, model={"fcnet_hiddens": [8], **model})
        .debugging(seed=3)
    )
    algorithm = config.build()
    try:
        worker = algorithm.workers.local_worker()
        return worker.sampler, [worker.sample() for _ in range(3)], worker.get_metrics()
    finally:
        algorithm.stop()


@pytest.mark.parametrize(
    ("env", "rollouts", "model"),
    [
        ("CartPole-v1", {"observation_filter": "MeanStdFilter"}, {}),
        ("Pendulum-v1", {"batch_mode": "complete_episodes"}, {}),
        ("CartPole-v1", {}, LSTM),
    ],
)
def test_samplers_agree(
    env: str, rollouts: dict[str, Any], model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, vectorised, episodes = batches(env, rollouts, model)
    assert isinstance(sampler, VectorSampler)
    monkeypatch.setattr(_sampler_setup, "_vectorises", lambda worker: False)
    sampler, general, same_episodes = batches(env, rollouts, model)
    assert isinstance(sampler, EpisodeSampler)
    for one, other in zip(vectorised, general, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].dtype == other[name].dtype, name
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    lengths = [(episode.episode_length, episode.episode_reward) for episode in episodes]
    assert lengths == [(episode.episode_length, episode.episode_reward) for episode in same_episodes]
