"""Acts by a sample of what the model believes (Thompson 1933): the model draws it."""

from __future__ import annotations

from typing import Any

from aktis.rllib.utils.exploration.exploration import Exploration
from aktis.rllib.utils.exploration.random import batch_size


class ThompsonSampling(Exploration):
    """For models whose outputs are scores of arms drawn from a posterior: takes the best of them.

    Without `explore`, takes the arm whose expected score is the best: `model.predict(model.current_obs())`
    where the model has these.
    """

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration. The logarithm of the probability is 0."""
        ops = self.ops
        scores = action_distribution.inputs
        if not explore and hasattr(self.model, "predict"):
            scores = self.model.predict(self.model.current_obs())
        return ops.argmax(scores, axis=-1), ops.zeros((batch_size(action_distribution),), device=self.device)
