"""Players of rock, paper, scissors that do not learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.view_requirement import ViewRequirement

ROCK, PAPER, SCISSORS = 0, 1, 2

__all__ = ["PAPER", "ROCK", "SCISSORS", "AlwaysSameHeuristic", "BeatLastHeuristic"]


class _Player(Policy):
    def learn_on_batch(self, samples: Any) -> dict[str, Any]:
        """Nothing."""
        return {}

    def get_weights(self) -> dict[str, Any]:
        """None."""
        return {}

    def set_weights(self, weights: dict[str, Any]) -> None:
        """None."""


class AlwaysSameHeuristic(_Player):
    """Chooses at random when an episode begins, and then always the same."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exploration = self._create_exploration()
        self._draw = np.random.default_rng(self.config.get("seed", None))

    def get_initial_state(self) -> list[Any]:
        """The move of this episode."""
        return [np.asarray(self._draw.integers(3))]

    def is_recurrent(self) -> bool:
        """Yes: the move is its state."""
        return True

    def compute_actions(
        self, obs_batch: Any, state_batches: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Each one's move."""
        moves = np.asarray(state_batches[0]) if state_batches else np.full(len(obs_batch), ROCK)
        return moves, [moves], {}


class BeatLastHeuristic(_Player):
    """Chooses what would have beaten the other player's last move."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exploration = self._create_exploration()
        self.view_requirements["obs"] = ViewRequirement(space=self.observation_space)
        self._draw = np.random.default_rng(self.config.get("seed", None))

    def compute_actions(
        self, obs_batch: Any, state_batches: Any = None, *args: Any, **kwargs: Any
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """The observation is the other's last move, as a number or one-hot; before the first one, the move is random."""
        obs = np.asarray(obs_batch)
        last = obs.reshape(len(obs), -1).argmax(axis=1) if obs.ndim > 1 else obs
        beats = np.array([PAPER, SCISSORS, ROCK])
        moves = np.where(last < 3, beats[np.minimum(last, 2)], self._draw.integers(3, size=len(obs)))
        return moves, [], {}
