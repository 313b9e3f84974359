"""The best action most of the time, and a random one otherwise (Sutton and Barto 2018, section 2.2)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tree
from numpy.typing import NDArray

from aktis.rllib.utils.exploration._common import is_discrete, linear_schedule, random_valid, schedule_of
from aktis.rllib.utils.exploration.exploration import Exploration
from aktis.rllib.utils.exploration.random import batch_size, sample_space


def epsilon_greedy(q_values: NDArray[Any], epsilon: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The best action of each row, or with probability epsilon a random one that is not masked out. [B, A] -> [B]"""
    actions: NDArray[np.int64] = q_values.argmax(axis=1)
    if epsilon <= 0.0:
        return actions
    chosen = rng.random(len(actions)) < epsilon
    if chosen.any():
        actions[chosen] = random_valid(q_values[chosen], rng)
    return actions


class EpsilonGreedy(Exploration):
    """Acts at random with probability epsilon, which falls with time.

    Args:
        action_space: Discrete, MultiDiscrete, or a structure of spaces.
        framework: "torch" or "tf2".
        initial_epsilon: Epsilon in the beginning.
        final_epsilon: Epsilon in the end.
        warmup_timesteps: Timesteps with the initial epsilon.
        epsilon_timesteps: Timesteps after that in which it falls in a straight line.
        epsilon_schedule: Another schedule instead: a Schedule, a function of the timestep, or a list of (timestep, epsilon).
        **kwargs: For Exploration.
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        initial_epsilon: float = 1.0,
        final_epsilon: float = 0.05,
        warmup_timesteps: int = 0,
        epsilon_timesteps: int = int(1e5),
        epsilon_schedule: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(action_space, framework=framework, **kwargs)
        # More than 1 in the beginning is for longer 1, before it falls.
        for name, value, highest in (
            ("initial_epsilon", initial_epsilon, math.inf),
            ("final_epsilon", final_epsilon, 1.0),
        ):
            if not 0.0 <= value <= highest:
                raise ValueError(f"{name} of EpsilonGreedy is a probability, not {value!r}.")
        self.epsilon_schedule = schedule_of(
            epsilon_schedule, linear_schedule(initial_epsilon, final_epsilon, epsilon_timesteps, warmup_timesteps)
        )
        self.last_timestep = 0
        self._discrete = is_discrete(action_space)

    def epsilon(self, timestep: int | None = None) -> float:
        """Epsilon at a timestep (the last one by default)."""
        return float(self.epsilon_schedule(self.last_timestep if timestep is None else timestep))

    def _tick(self, timestep: Any) -> None:
        self.last_timestep = self.last_timestep + 1 if timestep is None else int(timestep)

    def choose(self, q_values: NDArray[Any], timestep: Any, explore: bool) -> NDArray[np.int64]:
        """Actions of Q-values, both in NumPy. [B, A] -> [B]"""
        if explore:
            self._tick(timestep)
        return epsilon_greedy(q_values, self.epsilon() if explore else 0.0, self.rng)

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration. The logarithm of the probability is 0."""
        rows = batch_size(action_distribution)
        logp = self.ops.zeros((rows,), device=self.device)
        if not explore:
            return action_distribution.deterministic_sample(), logp
        if self._discrete:
            q_values = np.asarray(self.ops.as_numpy(action_distribution.inputs))
            return self.ops.from_numpy(self.choose(q_values, timestep, True), device=self.device), logp
        self._tick(timestep)
        best = tree.map_structure(np.asarray, self.ops.as_numpy(action_distribution.deterministic_sample()))
        random = sample_space(self.action_space, rows, self.rng)
        chosen = self.rng.random(rows) < self.epsilon()

        def mixed(one: Any, other: Any) -> Any:
            mask = chosen.reshape(-1, *[1] * (np.ndim(one) - 1))
            return self.ops.from_numpy(
                np.where(mask, np.asarray(other).reshape(np.shape(one)), one).astype(one.dtype), device=self.device
            )

        return tree.map_structure(mixed, best, random), logp

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The time, and epsilon at it."""
        return {"cur_epsilon": self.epsilon(), "last_timestep": self.last_timestep, "rng": self.rng.bit_generator.state}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self.last_timestep = int(state["last_timestep"])
        if "rng" in state:
            self.rng.bit_generator.state = state["rng"]
