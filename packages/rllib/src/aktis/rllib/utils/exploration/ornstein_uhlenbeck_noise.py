"""Noise that remembers (Lillicrap et al. 2016, section 7; Uhlenbeck and Ornstein 1930)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.utils.exploration.gaussian_noise import GaussianNoise


class OrnsteinUhlenbeckNoise(GaussianNoise):
    """x <- x - theta x + sigma N(0, 1), with a state of its own for each environment; the noise is scale *
    base_scale * x * (high - low).

    Args:
        action_space: A Box.
        framework: "torch" or "tf2".
        ou_theta: How fast the noise returns to 0.
        ou_sigma: Standard deviation of each change.
        ou_base_scale: Factor of all noise.
        random_timesteps, initial_scale, final_scale, scale_timesteps, scale_schedule: As for GaussianNoise.
        **kwargs: For Exploration.
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        ou_theta: float = 0.15,
        ou_sigma: float = 0.2,
        ou_base_scale: float = 0.1,
        random_timesteps: int = 1000,
        initial_scale: float = 1.0,
        final_scale: float = 0.02,
        scale_timesteps: int = 10000,
        scale_schedule: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            action_space,
            framework=framework,
            random_timesteps=random_timesteps,
            initial_scale=initial_scale,
            final_scale=final_scale,
            scale_timesteps=scale_timesteps,
            scale_schedule=scale_schedule,
            stddev=1.0,
            **kwargs,
        )
        self.ou_theta = ou_theta
        self.ou_sigma = ou_sigma
        self.ou_base_scale = ou_base_scale
        self.ou_state: NDArray[np.float32] = np.zeros((0, *action_space.shape), np.float32)  # [B, ...]

    def noise(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The next noise, without its scale."""
        if self.ou_state.shape != shape:
            self.ou_state = np.zeros(shape, np.float32)
        self.ou_state += -self.ou_theta * self.ou_state + self.ou_sigma * self.rng.standard_normal(shape, np.float32)
        width = np.where(np.isfinite(self._high - self._low), self._high - self._low, 1.0)
        return self.ou_base_scale * self.ou_state * width

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """As GaussianNoise's, with the state of the noise."""
        return super().get_state() | {"ou_state": self.ou_state.copy()}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        super().set_state(state)
        self.ou_state = np.array(state["ou_state"], np.float32)
