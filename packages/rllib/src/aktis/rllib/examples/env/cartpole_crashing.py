"""CartPole that raises now and then: to try what happens when environments fail."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv

from aktis.rllib.env.multi_agent_env import make_multi_agent

__all__ = ["CartPoleCrashing", "MultiAgentCartPoleCrashing"]


class EnvCrash(RuntimeError):
    """What the environment raises."""


class CartPoleCrashing(CartPoleEnv):  # type: ignore[misc]
    """CartPole that crashes.

    Args:
        config: `p_crash` (0.005: the chance in each step), `crash_after_n_steps` (None), `p_crash_reset` (0), `init_time_s`
            (0: how long it takes to make one), `crash_on_worker_indices` (None: on all).
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        config = config if config is not None else {}
        time.sleep(float(config.get("init_time_s", 0)))
        workers = config.get("crash_on_worker_indices")
        self.crashes = workers is None or getattr(config, "worker_index", 0) in workers
        self.p_crash = float(config.get("p_crash", 0.005))
        self.p_crash_reset = float(config.get("p_crash_reset", 0.0))
        self.crash_after_n_steps = config.get("crash_after_n_steps")
        self.timesteps = 0
        # Not the environment's own randomness: the same seed must not crash at the same step for ever.
        self._chance = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.timesteps = 0
        if self.crashes and self._chance.random() < self.p_crash_reset:
            raise EnvCrash("crashed on purpose in reset()")
        return super().reset(seed=seed, options=options)  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.timesteps += 1
        now = self.crash_after_n_steps is not None and self.timesteps >= self.crash_after_n_steps
        if self.crashes and (now or (self.crash_after_n_steps is None and self._chance.random() < self.p_crash)):
            raise EnvCrash(f"crashed on purpose in step {self.timesteps}")
        obs, reward, terminated, _, info = super().step(action)
        return obs, reward, terminated, self.timesteps >= 500, info


MultiAgentCartPoleCrashing = make_multi_agent(lambda config: CartPoleCrashing(config))


def register() -> None:
    """Make it known to Gymnasium as `CartPoleCrashing-v0`."""
    if "CartPoleCrashing-v0" not in gym.registry:
        gym.register("CartPoleCrashing-v0", entry_point=CartPoleCrashing)
