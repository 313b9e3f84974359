"""Every algorithm learns the same from compressed observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gymnasium as gym

from aktis.rllib.algorithms.a2c import A2CConfig
from aktis.rllib.algorithms.dqn import DQNConfig
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.algorithms.sac import SACConfig

pytestmark = pytest.mark.torch

SMALL = {"fcnet_hiddens": [8]}


class Dots(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, config: Any = None) -> None:
        self.action_space = config.get("action_space") or gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.step_ = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.step_ += 1
        return self._obs(), 1.0, self.step_ == 5, False, {}

    def _obs(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


REPLAY = {"capacity": 100}
ALGORITHMS = {
    "PPO": PPOConfig().training(train_batch_size=32, sgd_minibatch_size=16, num_sgd_iter=2, model=SMALL),
    "PPO, recurrent": PPOConfig().training(
        train_batch_size=32,
        sgd_minibatch_size=16,
        num_sgd_iter=2,
        model={**SMALL, "use_lstm": True, "lstm_cell_size": 4},
    ),
    "A2C": A2CConfig().training(train_batch_size=32, microbatch_size=16, model=SMALL),
    "IMPALA": ImpalaConfig().training(train_batch_size=16, model=SMALL),
    "DQN": DQNConfig().training(
        train_batch_size=8,
        hiddens=[8],
        model=SMALL,
        num_steps_sampled_before_learning_starts=8,
        replay_buffer_config=REPLAY,
    ),
    "SAC": SACConfig()
    .environment(env_config={"action_space": gym.spaces.Box(-1, 1, (1,), np.float32)})
    .training(train_batch_size=8, num_steps_sampled_before_learning_starts=8, replay_buffer_config=REPLAY),
}


def weights(config: Any, compress: bool) -> Any:
    config = config.copy(copy_frozen=False).environment(Dots).debugging(seed=3)
    config = config.rollouts(num_rollout_workers=0, compress_observations=compress, rollout_fragment_length=8)
    config = config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=16)
    algorithm = config.build()
    try:
        algorithm.train()
        algorithm.train()
        return algorithm.get_policy().get_weights()
    finally:
        algorithm.stop()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_learning_from_compressed_observations(name: str) -> None:
    packed = weights(ALGORITHMS[name], True)
    if name == "IMPALA":  # its learner runs beside the sampler: no two runs are the same
        return
    plain = weights(ALGORITHMS[name], False)
    for key, value in plain.items():
        np.testing.assert_array_equal(np.asarray(packed[key]), np.asarray(value))
