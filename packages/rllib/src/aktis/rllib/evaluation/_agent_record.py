"""What is known of one agent in one episode, until it is in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aktis.rllib.evaluation.episode import Episode

__all__ = ["AgentRecord", "Trajectory"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Trajectory:
    """Steps of one agent that follow one another: a whole episode, or a piece of it.

    Attributes:
        record: Of the agent.
        rows: Of the policy's log.
        rewards: Of each step.
        infos: Of each step.
        times: In the episode: how many steps the environment had done before each.
        first: How many steps the agent itself had done before.
        terminated: Whether the agent's episode ended for good with the last step.
        truncated: Whether it was cut off there.
        next_obs: What was observed after the last step.
        states: The recurrent state after the last step.
        before: What views look back on: the rows before the first, by column.
    """

    record: AgentRecord
    rows: list[int]
    rewards: list[float]
    infos: list[dict[str, Any]]
    times: list[int]
    first: int
    terminated: bool
    truncated: bool
    next_obs: Array
    states: list[Array]
    before: dict[str, Array]

    def __len__(self) -> int:
        return len(self.rows)


class AgentRecord:
    """One agent in one episode.

    A step begins when its action is computed (`act`) and is complete when the agent observes again or is done
    (`complete`). Rewards in between are added up, whenever they come.

    Args:
        agent_id: The agent.
        policy_id: Its policy, for the whole episode.
        episode: The episode.
        index: Number of the agent in the episode.
        states: Initial recurrent state.
    """

    __slots__ = (
        "acted",
        "acted_at",
        "agent_id",
        "before",
        "current",
        "done",
        "episode",
        "first",
        "index",
        "infos",
        "next_obs",
        "pending",
        "policy_id",
        "recent",
        "reward",
        "rewards",
        "rows",
        "states",
        "states_in",
        "terminated",
        "times",
        "truncated",
    )

    def __init__(self, agent_id: Any, policy_id: str, episode: Episode, index: int, states: list[Array]) -> None:
        self.agent_id = agent_id
        self.policy_id = policy_id
        self.episode = episode
        self.index = index
        self.states = states
        self.states_in = states  # what the step that is going on began with
        self.acted: dict[str, Array] = {}  # of that step: what views will look back on
        self.current = -1  # the row of the step that is going on; -1: none
        self.acted_at = 0
        self.reward = 0.0  # since the action of that step
        self.pending = False  # an observation waits for an action
        self.rows: list[int] = []
        self.rewards: list[float] = []
        self.infos: list[dict[str, Any]] = []
        self.times: list[int] = []
        self.first = 0
        self.next_obs: Array = np.zeros(0)
        self.done = self.terminated = self.truncated = False
        self.recent: dict[str, Array] = {}  # [depth, ...] of the latest rows, for views
        self.before: dict[str, Array] = {}  # the same, as it was at the first of `rows`

    def act(self, row: int, time: int, states: list[Array]) -> None:
        """A step begins: its action is in a row of the policy's log."""
        self.current = row
        self.acted_at = time
        self.pending = False
        self.states_in, self.states = self.states, states

    def complete(self, reward: float, info: dict[str, Any]) -> None:
        """The step that is going on is over."""
        self.rows.append(self.current)
        self.rewards.append(reward)
        self.infos.append(info)
        self.times.append(self.acted_at)
        self.current = -1
        self.reward = 0.0

    def remember(self, reward: float) -> None:
        """The step that was completed is what views look back on now."""
        for data, history in self.recent.items():
            value = reward if data == "rewards" else self.acted.get(data)
            if value is not None:
                self.recent[data] = np.concatenate([history[1:], np.asarray(value, history.dtype)[None]])

    def add_late(self, reward: float) -> bool:
        """A reward for an agent that is done: it belongs to its last step, if that is here still."""
        if not self.rewards:
            return False
        self.rewards[-1] += reward
        return True

    def cut(self) -> Trajectory | None:
        """What is complete, taken out of here; None if nothing is."""
        if not self.rows:
            return None
        trajectory = Trajectory(
            self, self.rows, self.rewards, self.infos, self.times, self.first, self.terminated, self.truncated,
            self.next_obs, self.states if self.current < 0 else self.states_in, self.before,
        )  # fmt: skip
        self.first += len(self.rows)
        self.rows, self.rewards, self.infos, self.times = [], [], [], []
        self.before = dict(self.recent)
        return trajectory
