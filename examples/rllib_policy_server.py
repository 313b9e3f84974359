"""A policy as a server: a simulator that cannot be stepped asks it for actions over HTTP, and the policy learns from what it hears.

Server and simulator are one program here; usually they are two, on two machines, with a token in AKTIS_RLLIB_TOKEN. The
simulator is a heater that has to keep a room warm.

Run: python examples/rllib_policy_server.py
Needs: pip install "aktis-rllib[torch]"
Prints: steps at ease while it learns, and what the simulator says, at first and in the end.
"""

from __future__ import annotations

import threading
from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.env.policy_client import PolicyClient
from aktis.rllib.env.policy_server_input import PolicyServerInput

TEMPERATURES = gym.spaces.Box(-5.0, 5.0, (2,), np.float32)  # too warm by so much, and the weather
SWITCH = gym.spaces.Discrete(2)
EPISODE = 30

servers: list[PolicyServerInput] = []


def serve(ioctx: Any) -> PolicyServerInput:
    """The input of the algorithm: a server at a port that is free, for this machine only."""
    servers.append(PolicyServerInput(ioctx, "127.0.0.1", 0))
    return servers[-1]


def simulate(address: str, stop: threading.Event, returns: list[float]) -> None:
    """The simulator has its own clock; it asks for actions, and says what came of them."""
    rng = np.random.default_rng(0)
    with PolicyClient(address, inference_mode="local", update_interval=0.2) as client:
        while not stop.is_set():
            episode = client.start_episode()
            room, weather = rng.uniform(-3, 3, 2)
            total = 0.0
            for _ in range(EPISODE):
                observation = np.clip([room, weather], -5, 5).astype(np.float32)
                heats = client.get_action(episode, observation)
                room += (1.0 if heats else -1.0) + 0.2 * weather
                reward = 1.0 if abs(room) < 1.5 else 0.0
                client.log_returns(episode, reward)
                total += reward
            client.end_episode(episode, np.clip([room, weather], -5, 5).astype(np.float32))
            returns.append(total)


def main() -> None:
    config = (
        PPOConfig()
        .environment(None, observation_space=TEMPERATURES, action_space=SWITCH)
        .offline_data(input_=serve)
        .rollouts(num_rollout_workers=0)
        .training(
            train_batch_size=600,
            sgd_minibatch_size=150,
            num_sgd_iter=8,
            lr=0.005,
            lambda_=0.9,
            gamma=0.9,
            model={"fcnet_hiddens": [32]},
        )
        .debugging(seed=0)
    )
    algorithm = config.build()
    stop = threading.Event()
    returns: list[float] = []
    client = threading.Thread(target=simulate, args=(f"http://127.0.0.1:{servers[0].port}", stop, returns))
    client.start()
    try:
        for _ in range(8):
            result = algorithm.train()
            print(f"{result['timesteps_total']:6,} steps: {result['episode_reward_mean']:4.1f} of {EPISODE} at ease")
    finally:
        stop.set()
        client.join()
        algorithm.stop()
    began, ended = np.mean(returns[:10]), np.mean(returns[-10:])
    print(f"what the simulator says: {began:.1f} at first, {ended:.1f} in the end")
    assert ended > began + 5, (began, ended)


if __name__ == "__main__":
    main()
