"""Actions as likely as the policy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.rllib.utils.exploration.exploration import Exploration
from aktis.rllib.utils.exploration.random import Random

if TYPE_CHECKING:
    import gymnasium as gym


class StochasticSampling(Exploration):
    """Samples from the policy's distribution; without `explore`, takes its most likely action.

    Args:
        action_space: What the policy does.
        framework: "torch" or "tf2".
        model: The policy's model.
        random_timesteps: So many steps in the beginning are entirely random.
        **kwargs: For Exploration.
    """

    def __init__(
        self, action_space: gym.Space[Any], *, framework: str, model: Any, random_timesteps: int = 0, **kwargs: Any
    ) -> None:
        if framework is None:
            raise ValueError('StochasticSampling needs to know the framework: "torch" or "tf2".')
        super().__init__(action_space, framework=framework, model=model, **kwargs)
        self.random_timesteps = random_timesteps
        self.random_exploration = Random(action_space, model=model, framework=framework, **kwargs)
        self.last_timestep = 0

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any = None, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration. The logarithm of the probability of an action that was not sampled is 0."""
        self.last_timestep = self.last_timestep + 1 if timestep is None else int(timestep)
        if not explore:
            actions = action_distribution.deterministic_sample()
            return actions, self.ops.zeros_like(action_distribution.sampled_action_logp())
        if self.last_timestep < self.random_timesteps:
            return self.random_exploration.get_exploration_action(
                action_distribution=action_distribution, timestep=timestep, explore=True
            )
        actions = action_distribution.sample()
        return actions, action_distribution.sampled_action_logp()
