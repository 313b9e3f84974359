"""PPO with two rollout workers: an iteration, a checkpoint, and the policy again from it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import aktis
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.ppo import PPOConfig


def main(folder: Path) -> None:
    config = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=2, rollout_fragment_length=100)
    config.training(train_batch_size=400, sgd_minibatch_size=100, num_sgd_iter=2).debugging(seed=0)
    algorithm = config.build()
    result = algorithm.train()
    assert result["timesteps_total"] >= 400, result
    assert np.isfinite(result["episode_reward_mean"]), result
    path = algorithm.save(str(folder))
    observation = np.zeros(4, np.float32)
    action = algorithm.compute_single_action(observation, explore=False)
    algorithm.stop()
    restored = Algorithm.from_checkpoint(path)
    assert restored.compute_single_action(observation, explore=False) == action
    restored.stop()


if __name__ == "__main__":
    with aktis.init():
        main(Path(sys.argv[1]))
    print("done")
