"""The two-step game of QMIX (Rashid et al. 2018, section 5.1): a cooperative matrix game that greedy agents get wrong."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv


class TwoStepGame(MultiAgentEnv):
    """Agent 0's first action chooses the second state. In one of them both get 7 together, whatever they do; in the other
    one 8, if both choose action 1, else 0 or 1. The best they can do together is 8, the safe way brings 7.

    Observations: `state + 3 * agent` (Discrete); one-hot with the agent's number, if `one_hot_state_encoding`; and beside
    it the state, if `separate_state_space`.

    Args:
        env_config: `one_hot_state_encoding`, `separate_state_space`, `actions_are_logits`.
    """

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        super().__init__()
        config = env_config or {}
        self.state = 0
        self._agent_ids = {0, 1}
        self.actions_are_logits = bool(config.get("actions_are_logits", False))
        self.one_hot_state_encoding = bool(config.get("one_hot_state_encoding", False))
        self.with_state = bool(config.get("separate_state_space", False))
        self.action_space: Any = (
            gym.spaces.Box(0, 1, (2,), np.float32) if self.actions_are_logits else gym.spaces.Discrete(2)
        )
        if not self.one_hot_state_encoding:
            self.observation_space: Any = gym.spaces.Discrete(6)
            self.with_state = False
        elif self.with_state:
            state = gym.spaces.MultiDiscrete([2, 2, 2])
            self.observation_space = gym.spaces.Dict({"obs": gym.spaces.MultiDiscrete([2, 2, 2, 3]), "state": state})
        else:
            self.observation_space = gym.spaces.MultiDiscrete([2, 2, 2, 3])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        gym.Env.reset(self, seed=seed)
        self.state = 0
        return self._observations(), {}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        actions = [action_dict[0], action_dict[1]]
        if self.actions_are_logits:
            actions = [int(self.np_random.choice(2, p=_softmax(logits))) for logits in actions]
        if self.state == 0:
            self.state = 1 if int(actions[0]) == 0 else 2
            reward, over = 0.0, False
        elif self.state == 1:
            reward, over = 7.0, True
        else:
            reward, over = (0.0, 1.0, 8.0)[int(actions[0]) + int(actions[1])], True
        rewards = {0: reward / 2.0, 1: reward / 2.0}
        infos = {agent: {"done": over} for agent in (0, 1)}
        return self._observations(), rewards, {"__all__": over}, {"__all__": False}, infos

    def _observations(self) -> MultiAgentDict:
        return {agent: self._observation(agent) for agent in (0, 1)}

    def _observation(self, agent: int) -> Any:
        if not self.one_hot_state_encoding:
            return self.state + 3 * agent
        state: Any = np.eye(3, dtype=np.int64)[self.state]
        obs = (
            np.concatenate([state, [agent + 1]]).astype(np.int64)
            if not self.with_state
            else np.append(state, agent + 1)
        )
        return {"obs": obs, "state": state} if self.with_state else obs


class TwoStepGameWithGroupedAgents(MultiAgentEnv):
    """The same with both agents in one group, `"agents"`: for algorithms that learn values of joint actions."""

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        super().__init__()
        env = TwoStepGame(env_config)
        self.observation_space = gym.spaces.Tuple([env.observation_space, env.observation_space])
        self.action_space = gym.spaces.Tuple([env.action_space, env.action_space])
        self.env = env.with_agent_groups(
            {"agents": [0, 1]}, obs_space=self.observation_space, act_space=self.action_space
        )
        self._agent_ids = {"agents"}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        return self.env.reset(seed=seed, options=options)

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        return self.env.step(action_dict)


def _softmax(logits: Any) -> Any:
    exponentials = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return exponentials / exponentials.sum()
