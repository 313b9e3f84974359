"""PPO on CartPole, from nothing to a policy that balances the pole: train, evaluate, save, restore, act.

Run: python examples/rllib_ppo_cartpole.py
Needs: pip install "aktis-rllib[torch]"
Prints: the mean return while it learns, and that of the restored policy.
"""

from __future__ import annotations

import tempfile
import time

import gymnasium as gym

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.ppo import PPOConfig

ENOUGH = 400.0  # of 500
MOST_STEPS = 100_000


def settings() -> PPOConfig:
    """Those of the tuned example cartpole-ppo: short fragments of eight environments, a high learning rate that falls."""
    config = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0, num_envs_per_worker=8)
    config.training(
        train_batch_size=256,
        sgd_minibatch_size=256,
        num_sgd_iter=8,
        lr_schedule=[[0, 0.0025], [80_000, 0.0002]],
        gamma=0.98,
        lambda_=0.8,
        clip_param=0.2,
        kl_coeff=0.0,
        vf_loss_type="mse",
        vf_loss_coeff=0.5,
        grad_clip=0.5,
        model={"fcnet_hiddens": [64, 64], "fcnet_weights_initializer": "orthogonal"},
    )
    config.reporting(min_sample_timesteps_per_iteration=8_000).debugging(seed=0)
    return config.evaluation(evaluation_duration=5, evaluation_config={"explore": False}, evaluation_interval=None)


def play(algorithm: Algorithm) -> float:
    """The return of one episode, outside of the algorithm."""
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=100)
    total, over = 0.0, False
    while not over:
        action = algorithm.compute_single_action(observation, explore=False)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += float(reward)
        over = terminated or truncated
    env.close()
    return total


def main() -> None:
    began = time.perf_counter()
    algorithm = settings().build()
    try:
        result = {"episode_reward_mean": 0.0, "timesteps_total": 0}
        while result["episode_reward_mean"] < ENOUGH and result["timesteps_total"] < MOST_STEPS:
            result = algorithm.train()
            print(f"{result['timesteps_total']:7,} steps: return {result['episode_reward_mean']:5.1f}")
        print(f"{time.perf_counter() - began:.1f} s, start of PyTorch included")
        with tempfile.TemporaryDirectory() as directory:
            path = algorithm.save(directory)
            restored = Algorithm.from_checkpoint(path)
            total = play(restored)
            restored.stop()
        print(f"the restored policy, without exploration: {total:.0f}")
    finally:
        algorithm.stop()
    assert result["episode_reward_mean"] >= ENOUGH, result["episode_reward_mean"]
    assert total > 300, total


if __name__ == "__main__":
    main()
