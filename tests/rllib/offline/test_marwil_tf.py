"""MARWIL and BC with TensorFlow: the same numbers as with PyTorch are tested by hand there; here, that they learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.tensorflow

from aktis.rllib.algorithms.bc import BCConfig  # noqa: E402
from aktis.rllib.algorithms.marwil import MARWILConfig  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402


@pytest.mark.parametrize("config", [BCConfig(), MARWILConfig()])
def test_learning_from_a_file(config: Any) -> None:
    config.framework("tf2").environment("CartPole-v1").rollouts(num_rollout_workers=0).debugging(seed=1)
    config.training(train_batch_size=300, lr=0.005, model={"fcnet_hiddens": [16]}).reporting(min_time_s_per_iteration=0)
    algorithm = config.offline_data(input_="tuned_examples/data/cartpole.json").build()
    try:
        losses = [
            algorithm.train()["info"]["learner"]["default_policy"]["learner_stats"]["policy_loss"] for _ in range(4)
        ]
        assert np.isfinite(losses).all() and losses[-1] != losses[0]
        policy = algorithm.get_policy()
        rng = np.random.default_rng(1)
        obs, actions = rng.uniform(-1, 1, (6, 4)).astype(np.float32), rng.integers(0, 2, 6)
        returns = rng.normal(0, 3, 6).astype(np.float32)
        logp = np.asarray(policy.compute_log_likelihoods(actions, obs))
        square = policy.get_scalar("mean_square_advantage")
        advantages = returns - policy.compute_values({"obs": obs})
        stats = policy.learn_on_batch(SampleBatch(obs=obs, actions=actions, advantages=returns))["learner_stats"]
        weights = np.exp(config.beta * advantages / np.sqrt(square))
        assert stats["policy_loss"] == pytest.approx(-np.mean(weights * logp), rel=1e-3)
    finally:
        algorithm.stop()
