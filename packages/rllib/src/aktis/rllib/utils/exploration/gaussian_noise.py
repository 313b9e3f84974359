"""Normal noise on the best action (Fujimoto et al. 2018, section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.utils.exploration._common import (
    action_bounds,
    is_box,
    linear_schedule,
    require,
    schedule_of,
    uniform_actions,
)
from aktis.rllib.utils.exploration.exploration import Exploration


class GaussianNoise(Exploration):
    """Random actions in the beginning, then the best action with noise N(0, stddev * scale), whose scale falls with time.

    Args:
        action_space: A Box.
        framework: "torch" or "tf2".
        model: The policy's model.
        random_timesteps: Timesteps of random actions in the beginning.
        stddev: Standard deviation of the noise, in the units of the policy's actions.
        initial_scale: Factor of the noise in the beginning.
        final_scale: Factor of the noise in the end.
        scale_timesteps: Timesteps, after the random ones, in which it falls in a straight line.
        scale_schedule: Another schedule instead.
        **kwargs: For Exploration.
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        model: Any,
        random_timesteps: int = 1000,
        stddev: float = 0.1,
        initial_scale: float = 1.0,
        final_scale: float = 0.02,
        scale_timesteps: int = 10000,
        scale_schedule: Any = None,
        **kwargs: Any,
    ) -> None:
        require(action_space, is_box(action_space), type(self).__name__, "continuous (Box)")
        super().__init__(action_space, framework=framework, model=model, **kwargs)
        self.random_timesteps = random_timesteps
        self.stddev = stddev
        self.scale_schedule = schedule_of(
            scale_schedule, linear_schedule(initial_scale, final_scale, scale_timesteps, random_timesteps)
        )
        self.last_timestep = 0
        self._low, self._high = action_bounds(action_space, self.policy_config)

    def scale(self, timestep: int | None = None) -> float:
        """The factor of the noise at a timestep (the last one by default)."""
        return float(self.scale_schedule(self.last_timestep if timestep is None else timestep))

    def noise(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The next noise, without its scale."""
        return self.rng.standard_normal(shape, np.float32) * self.stddev

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration. The logarithm of the probability is 0."""
        ops = self.ops
        best = action_distribution.deterministic_sample()
        actions = np.asarray(ops.as_numpy(best))
        logp = ops.zeros((len(actions),), device=self.device)
        if not explore:
            return best, logp
        self.last_timestep = self.last_timestep + 1 if timestep is None else int(timestep)
        if self.last_timestep < self.random_timesteps:
            noisy = uniform_actions(self._low, self._high, len(actions), self.rng).reshape(actions.shape)
        else:
            noisy = np.clip(actions + self.scale() * self.noise(actions.shape), self._low, self._high)
        return ops.from_numpy(noisy.astype(actions.dtype), device=self.device), logp

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The time, the scale at it, and the generator."""
        return {"cur_scale": self.scale(), "last_timestep": self.last_timestep, "rng": self.rng.bit_generator.state}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self.last_timestep = int(state["last_timestep"])
        if "rng" in state:
            self.rng.bit_generator.state = state["rng"]
