"""Actions as likely as the softmax of their values (Boltzmann exploration)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.utils.exploration._common import is_discrete, require
from aktis.rllib.utils.exploration.exploration import Exploration
from aktis.rllib.utils.exploration.random import batch_size


class SoftQ(Exploration):
    """Samples from softmax(Q / temperature).

    Args:
        action_space: Discrete.
        framework: "torch" or "tf2".
        temperature: Near 0 for the best action only, large for random ones.
        **kwargs: For Exploration.
    """

    def __init__(self, action_space: Any, *, framework: str, temperature: float = 1.0, **kwargs: Any) -> None:
        require(action_space, is_discrete(action_space), "SoftQ", "discrete")
        if not temperature > 0.0:
            raise ValueError(f"The temperature of SoftQ must be above 0, not {temperature!r}.")
        super().__init__(action_space, framework=framework, **kwargs)
        self.temperature = temperature

    def choose(self, q_values: NDArray[Any], timestep: Any, explore: bool) -> NDArray[np.int64]:
        """Actions of Q-values, both in NumPy. [B, A] -> [B]"""
        if not explore:
            return q_values.argmax(axis=1)
        # argmax(logits + Gumbel noise) is a sample of softmax(logits).
        return np.argmax(q_values / self.temperature + self.rng.gumbel(size=q_values.shape), axis=1)

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration."""
        ops = self.ops
        if not explore:
            return action_distribution.deterministic_sample(), ops.zeros(
                (batch_size(action_distribution),), device=self.device
            )
        inputs = action_distribution.inputs
        actions = ops.from_numpy(self.choose(np.asarray(ops.as_numpy(inputs)), timestep, True), device=self.device)
        return actions, ops.gather_rows(ops.log_softmax(inputs / self.temperature), actions)

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The temperature and the generator."""
        return {"temperature": self.temperature, "rng": self.rng.bit_generator.state}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self.temperature = state["temperature"]
        if "rng" in state:
            self.rng.bit_generator.state = state["rng"]
