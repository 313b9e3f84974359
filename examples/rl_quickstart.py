"""The tour of reinforcement learning: PPO learns to balance a pole, is evaluated, and plays as a service behind HTTP.

    hatch run rl-quickstart

Two actors play, each in four environments at once, and the policy learns from what they have seen.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import gymnasium as gym
import numpy as np
import requests
from rich.console import Console
from starlette.requests import Request

import aktis
from aktis import serve
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.ppo import PPOConfig

ENV = "CartPole-v1"  # a reward of 1 for each step that the pole stands, and 500 steps at most
ENOUGH, MOST_STEPS, EPISODES = 400.0, 120_000, 3


def settings() -> PPOConfig:
    """A high learning rate that falls, and a short view ahead: made for a task that is this simple."""
    config = PPOConfig().environment(ENV).rollouts(num_rollout_workers=2, num_envs_per_worker=4)
    config.training(
        train_batch_size=256,
        sgd_minibatch_size=256,
        num_sgd_iter=8,
        lr_schedule=[[0, 0.0025], [80_000, 0.0002]],
        gamma=0.98,
        lambda_=0.8,
        kl_coeff=0.0,
        vf_loss_type="mse",
        grad_clip=0.5,
        model={"fcnet_hiddens": [64, 64], "fcnet_weights_initializer": "orthogonal"},
    )
    config.evaluation(evaluation_duration=5, evaluation_config={"explore": False}, evaluation_interval=None)
    return config.reporting(min_sample_timesteps_per_iteration=8_000).debugging(seed=0)


def train(algorithm: Algorithm) -> None:
    """Until the pole stands for most of the time."""
    result: dict[str, Any] = {"episode_reward_mean": 0.0, "timesteps_total": 0}
    while result["episode_reward_mean"] < ENOUGH and result["timesteps_total"] < MOST_STEPS:
        result = algorithm.train()
        reward = result["episode_reward_mean"]
        print(f"{result['timesteps_total']:7,} steps  return {reward:5.1f}  {'━' * round(reward / 10)}", flush=True)
    assert result["episode_reward_mean"] >= ENOUGH, f"it did not learn enough in {MOST_STEPS:,} steps"


@serve.deployment
class Player:
    """The policy behind HTTP: observations come as JSON, actions go."""

    def __init__(self, checkpoint: str) -> None:
        self.algorithm = Algorithm.from_checkpoint(checkpoint, config_overrides={"num_rollout_workers": 0})

    async def __call__(self, request: Request) -> int:
        observation = np.array(await request.json(), dtype=np.float32)
        return int(self.algorithm.compute_single_action(observation, explore=False))


def play(address: str, algorithm: Algorithm, seed: int) -> float:
    """One episode in an environment of our own, with actions from the service: the return."""
    total, over = 0.0, False
    with gym.make(ENV) as env, requests.Session() as session:
        observation, _ = env.reset(seed=seed)
        while not over:
            reply = session.post(address, json=observation.tolist(), timeout=30)
            reply.raise_for_status()
            action = reply.json()
            assert action == algorithm.compute_single_action(observation, explore=False), (
                "not what the policy says here"
            )
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            over = terminated or truncated
    return total


def main() -> None:
    began, console = time.perf_counter(), Console()
    with tempfile.TemporaryDirectory() as folder, aktis.init():
        console.rule(f"PPO learns {ENV}")
        algorithm = settings().build()
        train(algorithm)
        evaluation = algorithm.evaluate()["evaluation"]
        print(
            f"without exploration, {evaluation['episodes_this_iter']} episodes: {evaluation['episode_reward_mean']:.0f}"
        )

        console.rule("The policy plays over HTTP")
        address = serve.start(http_options={"port": 0}).root_url  # any port that is free
        serve.run(Player.bind(algorithm.save(folder)))
        returns = [play(address, algorithm, seed) for seed in range(EPISODES)]
        route = serve.traffic().routes[0]
        print(f"returns of {EPISODES} episodes: {', '.join(f'{each:.0f}' for each in returns)}")
        median = route.percentile_s(0.5) * 1000
        print(f"{route.requests:,} actions, each the same as without the service; half of them within {median:.1f} ms")
        assert np.mean(returns) > 0.75 * ENOUGH, returns
        serve.shutdown()
        algorithm.stop()
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
