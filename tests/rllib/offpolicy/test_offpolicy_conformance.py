"""The algorithms that learn from replay do what every algorithm does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


from tests.rllib.algorithms.conformance import AlgorithmConformance  # noqa: E402

from aktis.rllib.algorithms.algorithm import Algorithm  # noqa: E402
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig  # noqa: E402
from aktis.rllib.algorithms.dqn import DQNConfig  # noqa: E402
from aktis.rllib.algorithms.es import ESConfig  # noqa: E402
from aktis.rllib.algorithms.sac import SACConfig  # noqa: E402
from aktis.rllib.algorithms.simple_q import SimpleQConfig  # noqa: E402

SMALL: dict[str, Any] = {"train_batch_size": 16, "num_steps_sampled_before_learning_starts": 16}
# Two small convolutions for the images of the tests, in the place of a million weights.
SMALL_MODEL: dict[str, Any] = {"conv_filters": [[2, [6, 6], 6], [8, [7, 7], 7]]}
Q_STATS = ("mean_q", "min_q", "max_q", "mean_td_error", "cur_lr", "grad_gnorm")


class TestSimpleQ(AlgorithmConformance):
    action_spaces = ("discrete",)
    recurrent = False
    learner_keys = Q_STATS

    def config(self) -> AlgorithmConfig:
        return SimpleQConfig().training(model=SMALL_MODEL, **SMALL).reporting(min_sample_timesteps_per_iteration=32)


class TestDQN(AlgorithmConformance):
    action_spaces = ("discrete",)
    recurrent = False
    learner_keys = Q_STATS

    def config(self) -> AlgorithmConfig:
        return (
            DQNConfig()
            .training(model=SMALL_MODEL, hiddens=[8], n_step=2, **SMALL)
            .reporting(min_sample_timesteps_per_iteration=32)
        )


def test_a_replay_buffer_is_in_checkpoints_that_are_to_have_it(tmp_path: Path) -> None:
    config = TestDQN().made()
    config.training(store_buffer_in_checkpoints=True)  # type: ignore[call-arg]
    algorithm = config.build()
    try:
        algorithm.train()
        path = algorithm.save(str(tmp_path))
        ours = algorithm.local_replay_buffer
    finally:
        algorithm.stop()
    other = Algorithm.from_checkpoint(path)
    try:
        theirs = other.local_replay_buffer
        assert len(theirs) == len(ours) > 0
        for _ in range(2):
            one, two = ours.sample(8)["default_policy"], theirs.sample(8)["default_policy"]
            assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)
    finally:
        other.stop()


class TestRainbow(TestDQN):
    """All improvements at once."""

    observation_spaces = ("box",)

    def config(self) -> AlgorithmConfig:
        return (
            DQNConfig()
            .training(hiddens=[8], n_step=3, num_atoms=5, noisy=True, **SMALL)
            .reporting(min_sample_timesteps_per_iteration=32)
        )


class TestSAC(AlgorithmConformance):
    action_spaces = ("box", "discrete")
    recurrent = False
    learner_keys = ("actor_loss", "critic_loss", "alpha_loss", "alpha_value", "mean_q", "target_entropy")

    def config(self) -> AlgorithmConfig:
        net = {"fcnet_hiddens": [8], **SMALL_MODEL}
        config = SACConfig().training(policy_model_config=net, q_model_config=net, **SMALL)
        return config.reporting(min_sample_timesteps_per_iteration=32)


class TestES(AlgorithmConformance):
    recurrent = False
    multi_agent = False
    learner_keys = ("weights_norm", "grad_norm", "update_ratio", "episodes_this_iter", "eval_reward_mean")

    def config(self) -> AlgorithmConfig:
        return ESConfig().training(
            model=SMALL_MODEL, episodes_per_batch=4, train_batch_size=1, noise_size=100_000, eval_prob=1.0
        )
