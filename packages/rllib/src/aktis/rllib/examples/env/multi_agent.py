"""Environments of several agents: copies of classic ones, and small ones in which agents come, go and take turns."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv, make_multi_agent
from aktis.rllib.examples.env.stateless_cartpole import StatelessCartPole

__all__ = [
    "BasicMultiAgent",
    "EarlyDoneMultiAgent",
    "FlexAgentsMultiAgent",
    "GuessTheNumberGame",
    "MultiAgentCartPole",
    "MultiAgentMountainCar",
    "MultiAgentPendulum",
    "MultiAgentStatelessCartPole",
    "RoundRobinMultiAgent",
    "SometimesZeroAgentsMultiAgent",
]

MultiAgentCartPole = make_multi_agent("CartPole-v1")
MultiAgentMountainCar = make_multi_agent("MountainCarContinuous-v0")
MultiAgentPendulum = make_multi_agent("Pendulum-v1")
MultiAgentStatelessCartPole = make_multi_agent(lambda config: StatelessCartPole(config))

Step = tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]


class _Counter:
    """One agent's own little episode: observes 0 or the number of its step, is rewarded at each, ends after `length` steps."""

    def __init__(self, length: int, reward: float = 1.0, counts: bool = False) -> None:
        self.length = length
        self.reward = reward
        self.counts = counts
        self.steps = 0

    def observation(self) -> int:
        return self.steps if self.counts else 0

    def step(self) -> bool:
        self.steps += 1
        return self.steps >= self.length


class BasicMultiAgent(MultiAgentEnv):
    """`num` agents that act at every step, for 25 steps."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, num: int = 2) -> None:
        super().__init__()
        self.num = num
        self._agent_ids = set(range(num))
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)
        self.render_mode = "rgb_array"
        self.agents = [_Counter(25) for _ in range(num)]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.agents = [_Counter(25) for _ in range(self.num)]
        return dict.fromkeys(range(self.num), 0), {agent: {} for agent in range(self.num)}

    def step(self, action_dict: MultiAgentDict) -> Step:
        dones = {agent: self.agents[agent].step() for agent in action_dict}
        over = all(counter.steps >= counter.length for counter in self.agents)
        none = {**dict.fromkeys(action_dict, False), "__all__": False}
        return (
            dict.fromkeys(action_dict, 0),
            dict.fromkeys(action_dict, 1.0),
            {**dones, "__all__": over},
            none,
            {agent: {} for agent in action_dict},
        )

    def render(self) -> Any:
        return np.random.default_rng(self.agents[0].steps).integers(0, 256, (64, 64, 3)).astype(np.uint8)


class _TakingTurns(MultiAgentEnv):
    """Agents act one after the other; each is told of its reward when it is its turn again."""

    def __init__(self, counters: list[_Counter], max_observation: int = 10) -> None:
        super().__init__()
        self.agents = counters
        self._agent_ids = set(range(len(counters)))
        self.observation_space = gym.spaces.Discrete(max_observation)
        self.action_space = gym.spaces.Discrete(2)
        self.over: set[int] = set()
        self.results: dict[int, tuple[int, float, bool]] = {}
        self.i = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        for counter in self.agents:
            counter.steps = 0
        self.over = set()
        self.results = {agent: (counter.observation(), 0.0, False) for agent, counter in enumerate(self.agents)}
        self.i = 0
        return {0: self.results[0][0]}, {0: {}}

    def step(self, action_dict: MultiAgentDict) -> Step:
        expected = [] if self.i in self.over else [self.i]  # who has just heard of its end does not act
        if list(action_dict) != expected:
            raise ValueError(f"it is the turn of {expected or 'nobody'}; actions came from {sorted(action_dict)}")
        for agent in action_dict:
            counter = self.agents[agent]
            done = counter.step()
            self.results[agent] = (counter.observation(), counter.reward, done)
        self.i = (self.i + 1) % len(self.agents)
        obs, reward, terminated = self.results[self.i]
        if terminated:
            self.over.add(self.i)
        all_over = len(self.over) == len(self.agents)
        return (
            {self.i: obs},
            {self.i: reward},
            {self.i: terminated, "__all__": all_over or self._is_over()},
            {self.i: False, "__all__": False},
            {self.i: {}},
        )

    def _is_over(self) -> bool:
        return False


class EarlyDoneMultiAgent(_TakingTurns):
    """Two agents that take turns; one is done before the other (after 3 and 5 steps), and then the game is over."""

    def __init__(self) -> None:
        super().__init__([_Counter(3), _Counter(5)])

    def _is_over(self) -> bool:
        return bool(self.over)


class RoundRobinMultiAgent(_TakingTurns):
    """`num` agents that take turns, five steps each.

    Args:
        num: How many agents.
        increment_obs: They observe the number of their step (and are rewarded with 100) instead of 0 (and 1).
    """

    def __init__(self, num: int, increment_obs: bool = False) -> None:
        super().__init__([_Counter(5, 100.0 if increment_obs else 1.0, counts=increment_obs) for _ in range(num)])


class FlexAgentsMultiAgent(MultiAgentEnv):
    """Agents come and go: one at the beginning, and another with a chance of 0.75 at each step; each stays up to 25 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.agents: dict[int, _Counter] = {}
        self.next_id = 0
        self.over: set[int] = set()
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)

    def _spawn(self) -> int:
        agent = self.next_id
        self.next_id += 1
        self.agents[agent] = _Counter(25)
        return agent

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.agents, self.over, self.next_id = {}, set(), 0
        agent = self._spawn()
        return {agent: 0}, {agent: {}}

    def step(self, action_dict: MultiAgentDict) -> Step:
        obs: MultiAgentDict = {}
        rewards: MultiAgentDict = {}
        terminateds: MultiAgentDict = {}
        for agent in action_dict:
            terminateds[agent] = self.agents[agent].step()
            obs[agent], rewards[agent] = 0, 1.0
            if terminateds[agent]:
                self.over.add(agent)
        if len(self.agents) < 30 and self.np_random.random() < 0.75:
            obs[self._spawn()] = 0
        terminateds["__all__"] = len(self.over) == len(self.agents)
        return obs, rewards, terminateds, {"__all__": False}, {agent: {} for agent in obs}


class SometimesZeroAgentsMultiAgent(MultiAgentEnv):
    """Each of `num` agents is observed with a chance of one half; sometimes nobody is, and rewards come to anybody.

    Args:
        num: How many agents.
    """

    def __init__(self, num: int = 3) -> None:
        super().__init__()
        self.num_agents = num
        self._agent_ids = set(range(num))
        self.observation_space = gym.spaces.Discrete(2)
        self.action_space = gym.spaces.Discrete(2)
        self.steps = 0

    def _ready(self) -> MultiAgentDict:
        return {
            agent: int(self.np_random.integers(2)) for agent in range(self.num_agents) if self.np_random.random() < 0.5
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.steps = 0
        obs = self._ready()
        return obs, {agent: {} for agent in obs}

    def step(self, action_dict: MultiAgentDict) -> Step:
        self.steps += 1
        obs = self._ready()
        rewards = {
            agent: float(self.np_random.random()) for agent in range(self.num_agents) if self.np_random.random() < 0.5
        }
        over = self.steps >= 50
        return obs, rewards, {"__all__": over}, {"__all__": False}, {agent: {} for agent in obs}


class GuessTheNumberGame(MultiAgentEnv):
    """Agent 0 thinks of a number, agent 1 guesses it, and agent 0 says whether its number is lower, higher or that.

    Actions are `(answer, number)`: agent 0's first number is the one it thinks of, its answers are 0 (lower), 1 (it is) and 2
    (higher); agent 1's numbers are its guesses. Agent 1 wins with a right guess, and both lose with a wrong answer.

    Args:
        config: `max_number` (3): numbers are 0 to `max_number - 1`; `max_steps` (20): guesses until agent 0 has won.
    """

    LOWER, EQUAL, HIGHER = 0, 1, 2

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        config = config or {}
        self.max_number = int(config.get("max_number", 3))
        self.max_steps = int(config.get("max_steps", 20))
        self._agent_ids = {0, 1}
        # Agent 0 observes a guess (or max_number: think of a number), agent 1 an answer (or 3: none yet).
        self.observation_space = gym.spaces.Discrete(max(self.max_number, 3) + 1)
        self.action_space = gym.spaces.MultiDiscrete([3, self.max_number])
        self._number: int | None = None
        self._guess = 0
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self._number, self._steps = None, 0
        return {0: self.max_number}, {0: {}}

    def step(self, action_dict: MultiAgentDict) -> Step:
        (agent,) = action_dict
        answer, number = (int(part) for part in action_dict[agent])
        going_on = {"__all__": False}
        if agent == 1:
            self._guess = number
            self._steps += 1
            if number == self._number:
                return {}, {0: -1.0, 1: 1.0}, {"__all__": True}, going_on, {}
            if self._steps >= self.max_steps:
                return {}, {0: 1.0, 1: -1.0}, {"__all__": True}, going_on, {}
            return {0: number}, {}, going_on, going_on, {}
        if self._number is None:
            self._number = number
            return {1: 3}, {}, going_on, going_on, {}
        truth = self.LOWER if self._number < self._guess else self.HIGHER
        if answer != truth:
            return {}, {0: -1.0, 1: -1.0}, {"__all__": True}, going_on, {}
        return {1: answer}, {}, going_on, going_on, {}
