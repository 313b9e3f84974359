"""A maze in which the wind decides where one can go; flat, and as a hierarchy of two agents."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv

# S is the start, F the end, # a wall.
MAP_DATA = """
#########
#S      #
####### #
      # #
      # #
####### #
#F      #
#########"""

_DIRECTIONS = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left: (row, column)


class WindyMazeEnv(gym.Env):  # type: ignore[misc]
    """Action 1 goes where the wind blows (unless there is a wall), action 0 stays. The wind turns at random at every step.

    Observes the position and the wind. 100 for the end, within 200 steps.
    """

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        self.map = [line for line in MAP_DATA.split("\n") if line]
        cells = {cell: (row, column) for row, line in enumerate(self.map) for column, cell in enumerate(line)}
        self.start_pos, self.end_pos = cells["S"], cells["F"]
        self.observation_space = gym.spaces.Tuple([gym.spaces.Box(0, 100, (2,), np.float32), gym.spaces.Discrete(4)])
        self.action_space = gym.spaces.Discrete(2)
        self.pos = self.start_pos
        self.wind_direction = 0
        self.num_steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.wind_direction = int(self.np_random.integers(4))
        self.pos = self.start_pos
        self.num_steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 1:
            self.pos = self.go(self.wind_direction)
        self.num_steps += 1
        self.wind_direction = int(self.np_random.integers(4))
        there = self.pos == self.end_pos
        return self._obs(), 100.0 if there else 0.0, there, self.num_steps >= 200, {}

    def go(self, direction: int) -> tuple[int, int]:
        """Where one gets to in a direction."""
        row, column = self.pos[0] + _DIRECTIONS[direction][0], self.pos[1] + _DIRECTIONS[direction][1]
        inside = 0 <= row < len(self.map) and 0 <= column < len(self.map[row])
        return (row, column) if inside and self.map[row][column] != "#" else self.pos

    def _obs(self) -> tuple[Any, int]:
        return np.array(self.pos, np.float32), self.wind_direction


class HierarchicalWindyMazeEnv(MultiAgentEnv):
    """A high-level agent says where to go, a new low-level agent goes there for 25 steps.

    The low-level agent (`"low_level_1"`, `"low_level_2"`, ...) is rewarded with 1 for a step in the wanted direction and
    punished with 1 for another one; the high-level agent gets the reward of the maze.
    """

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.flat_env = WindyMazeEnv(env_config)
        self._agent_ids = {"high_level_agent"}
        self.low_level_obs_space = gym.spaces.Tuple([self.flat_env.observation_space, gym.spaces.Discrete(4)])
        self.high_level_act_space = gym.spaces.Discrete(4)
        self.observation_space = None
        self.action_space = None
        self.goal = 0
        self.steps_left = 0
        self.level = 0
        self.num_high_level_steps = 0
        self.obs: Any = None

    @property
    def low_level_agent_id(self) -> str:
        """The low-level agent that goes now."""
        return f"low_level_{self.num_high_level_steps}"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        self.obs, _ = self.flat_env.reset(seed=seed)
        self.num_high_level_steps = self.steps_left = 0
        return {"high_level_agent": self.obs}, {"high_level_agent": {}}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        going_on = {"__all__": False}
        if "high_level_agent" in action_dict:
            self.goal = int(action_dict["high_level_agent"])
            self.steps_left = 25
            self.num_high_level_steps += 1
            return (
                {self.low_level_agent_id: (self.obs, self.goal)},
                {self.low_level_agent_id: 0.0},
                going_on,
                going_on,
                {},
            )
        (agent,) = action_dict
        before, wanted = self.flat_env.pos, self.flat_env.go(self.goal)
        self.obs, reward, terminated, truncated, _ = self.flat_env.step(action_dict[agent])
        after = self.flat_env.pos
        moved = 0.0 if after == before else (1.0 if after == wanted else -1.0)
        self.steps_left -= 1
        rewards = {agent: moved}
        terminateds: MultiAgentDict = {"__all__": terminated}
        obs: MultiAgentDict = {agent: (self.obs, self.goal)}
        if terminated or truncated or self.steps_left == 0:
            terminateds[agent] = True
            rewards["high_level_agent"] = reward
            obs["high_level_agent"] = self.obs
        return obs, rewards, terminateds, {"__all__": truncated}, {}
