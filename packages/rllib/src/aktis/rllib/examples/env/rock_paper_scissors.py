"""Rock, paper, scissors: two players, who see each other's last move."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv


class RockPaperScissors(MultiAgentEnv):
    """Players `"player_0"` and `"player_1"` move at once. Winning brings 1, losing -1. After 10 moves the game is over.

    Args:
        config: `sheldon_cooper`: with lizard and spock.
    """

    ROCK, PAPER, SCISSORS, LIZARD, SPOCK = range(5)
    BEATS = {  # noqa: RUF012
        ROCK: {SCISSORS, LIZARD},
        PAPER: {ROCK, SPOCK},
        SCISSORS: {PAPER, LIZARD},
        LIZARD: {PAPER, SPOCK},
        SPOCK: {ROCK, SCISSORS},
    }

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.moves = 5 if (config or {}).get("sheldon_cooper") else 3
        self._agent_ids = {"player_0", "player_1"}
        # What the other player did last; `moves`: nothing yet.
        self.observation_space = gym.spaces.Discrete(self.moves + 1)
        self.action_space = gym.spaces.Discrete(self.moves)
        self.num_moves = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.num_moves = 0
        return {"player_0": self.moves, "player_1": self.moves}, {}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        first, second = int(action_dict["player_0"]), int(action_dict["player_1"])
        won = float(second in self.BEATS[first]) - float(first in self.BEATS[second])
        self.num_moves += 1
        over = self.num_moves >= 10
        obs = {"player_0": second, "player_1": first}
        return obs, {"player_0": won, "player_1": -won}, {"__all__": False}, {"__all__": over}, {}
