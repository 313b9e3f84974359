"""An environment of one's own: a warehouse robot that has to fetch a parcel and bring it to the door.

The environment takes settings (``env_config``), gives a ``Dict`` as the observation, ends by itself when the parcel is there,
and is truncated when it takes too long.

Run: python examples/rllib_custom_env.py
Needs: pip install "aktis-rllib[torch]"
Prints: the mean return while it learns, and a delivery.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.algorithms.ppo import PPOConfig

MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0))


class Warehouse(gym.Env[dict[str, Any], int]):
    """A square floor. The robot walks; over the parcel it takes it, at the door it leaves it.

    Args:
        env_config: ``size`` of the floor (5), ``limit`` of steps (40).
    """

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.size = int(env_config.get("size", 5))
        self.limit = int(env_config.get("limit", 40))
        place = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gym.spaces.Dict(
            {"to_parcel": place, "to_door": place, "carries": gym.spaces.Discrete(2)}
        )
        self.action_space = gym.spaces.Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.robot, self.parcel, self.door = self.np_random.integers(0, self.size, (3, 2))
        self.carries, self.steps = False, 0
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.robot = np.clip(self.robot + MOVES[int(action)], 0, self.size - 1)
        reward = -0.05
        if not self.carries and np.array_equal(self.robot, self.parcel):
            self.carries, reward = True, 1.0
        delivered = self.carries and np.array_equal(self.robot, self.door)
        if delivered:
            reward += 1.0
        return self._observation(), reward, delivered, self.steps >= self.limit, {}

    def _observation(self) -> dict[str, Any]:
        return {
            "to_parcel": ((self.parcel - self.robot) / self.size).astype(np.float32),
            "to_door": ((self.door - self.robot) / self.size).astype(np.float32),
            "carries": int(self.carries),
        }


def main() -> None:
    config = (
        PPOConfig()
        .environment(Warehouse, env_config={"size": 5, "limit": 40})
        .rollouts(num_rollout_workers=0, num_envs_per_worker=16)
        .training(
            train_batch_size=1024,
            sgd_minibatch_size=256,
            num_sgd_iter=8,
            lr=0.003,
            lambda_=0.95,
            entropy_coeff=0.01,
            model={"fcnet_hiddens": [64, 64], "fcnet_weights_initializer": "orthogonal"},
        )
        .debugging(seed=0)
    )
    algorithm = config.build()
    try:
        for iteration in range(1, 41):
            result = algorithm.train()
            if iteration % 8 == 0 or iteration == 1:
                print(
                    f"{result['timesteps_total']:6,} steps: return {result['episode_reward_mean']:5.2f}, "
                    f"{result['episode_len_mean']:4.1f} steps for an episode"
                )
    finally:
        algorithm.stop()
    assert result["episode_reward_mean"] > 1.2, result["episode_reward_mean"]
    print("the robot delivers")


if __name__ == "__main__":
    main()
