"""Games of OpenSpiel (https://github.com/google-deepmind/open_spiel)."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv

__all__ = ["OpenSpielEnv"]


class OpenSpielEnv(MultiAgentEnv):
    """A game: players 0, 1, ... are the agents. Chance (dice, cards) is drawn from the environment's own generator.

    An action that the rules do not allow is an error; `infos[player]["legal_actions"]` says which they allow.

    Args:
        env: A game of `pyspiel.load_game(...)`, or its name.

    Raises:
        ImportError: A name was given, and `open_spiel` is not installed.
    """

    def __init__(self, env: Any) -> None:
        super().__init__()
        self.env = _load(env) if isinstance(env, str) else env
        self.num_players = int(self.env.num_players())
        self._agent_ids = set(range(self.num_players))
        dynamics = str(self.env.get_type().dynamics).rsplit(".", 1)[-1]
        self.simultaneous = dynamics == "SIMULTANEOUS"
        provides = self.env.get_type()
        self._tensor = "observation_tensor" if provides.provides_observation_tensor else "information_state_tensor"
        size = int(np.prod(getattr(self.env, f"{self._tensor}_shape")()))
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gym.spaces.Discrete(int(self.env.num_distinct_actions()))
        self.state: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.state = self.env.new_initial_state()
        self._draw_chance()
        return self._seen()

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        before = np.asarray(self.state.returns())
        if self.state.is_simultaneous_node():
            actions = [int(action_dict[player]) for player in range(self.num_players)]
            for player, action in enumerate(actions):
                self._check(player, action)
            self.state.apply_actions(actions)
        else:
            player = int(self.state.current_player())
            self._check(player, int(action_dict[player]))
            self.state.apply_action(int(action_dict[player]))
        self._draw_chance()
        gained = np.asarray(self.state.returns()) - before
        over = bool(self.state.is_terminal())
        obs, infos = self._seen()
        rewards = {player: float(gained[player]) for player in range(self.num_players)}
        return obs, rewards, {"__all__": over}, {"__all__": False}, infos

    def _check(self, player: int, action: int) -> None:
        legal = self.state.legal_actions(player)
        if action not in legal:
            raise ValueError(f"player {player} may not do {action} here; legal actions are {legal}")

    def _draw_chance(self) -> None:
        while self.state.is_chance_node():
            outcomes, chances = zip(*self.state.chance_outcomes(), strict=True)
            self.state.apply_action(int(self.np_random.choice(outcomes, p=np.asarray(chances) / np.sum(chances))))

    def _seen(self) -> tuple[MultiAgentDict, MultiAgentDict]:
        if self.state.is_terminal():
            return {}, {}
        players = range(self.num_players) if self.state.is_simultaneous_node() else [int(self.state.current_player())]
        obs = {player: np.asarray(getattr(self.state, self._tensor)(player), np.float32) for player in players}
        return obs, {player: {"legal_actions": self.state.legal_actions(player)} for player in players}

    def render(self) -> Any:
        print(self.state)


def _load(name: str) -> Any:
    try:
        import pyspiel
    except ImportError:
        raise ImportError(f"the game {name!r} needs OpenSpiel: pip install open_spiel") from None
    return pyspiel.load_game(name)
