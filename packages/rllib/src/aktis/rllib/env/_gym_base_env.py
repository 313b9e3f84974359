"""Single-agent environments as a BaseEnv: Gymnasium environments, and a VectorEnv."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from aktis.rllib.env._multi_agent_base_env import MultiAgentEnvWrapper, accepts_seed
from aktis.rllib.env.base_env import _DUMMY_AGENT_ID, BaseEnv, Poll, one_agent
from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv, MultiEnvDict
from aktis.rllib.env.utils import close_envs

_NOT_DONE: MultiAgentDict = {"__all__": False}


class OneAgent(MultiAgentEnv):
    """A Gymnasium environment as one of a single agent."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self._agent_ids = {_DUMMY_AGENT_ID}
        self._accepts_seed = accepts_seed(env.reset)

    @property
    def observation_space(self) -> Any:
        return self.env.observation_space

    @property
    def action_space(self) -> Any:
        return self.env.action_space

    def get_observation_space(self, agent_id: Any) -> gym.Space[Any]:
        return self.observation_space

    def get_action_space(self, agent_id: Any) -> gym.Space[Any]:
        return self.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiAgentDict, MultiAgentDict]:
        result = self.env.reset(seed=seed, options=options) if self._accepts_seed else self.env.reset()
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            raise ValueError(
                f"{type(self.env).__name__}.reset() must return (observation, info); it returned {result!r:.200}"
            )
        return {_DUMMY_AGENT_ID: result[0]}, {_DUMMY_AGENT_ID: result[1]}

    def step(self, action_dict: MultiAgentDict) -> tuple[MultiAgentDict, ...]:
        result = self.env.step(one_agent(action_dict))
        if not (isinstance(result, tuple) and len(result) == 5):
            raise ValueError(
                f"{type(self.env).__name__}.step() must return (observation, reward, terminated, truncated, info); "
                f"it returned {result!r:.200}"
            )
        obs, reward, terminated, truncated, info = result
        return (
            {_DUMMY_AGENT_ID: obs},
            {_DUMMY_AGENT_ID: reward},
            {_DUMMY_AGENT_ID: terminated, "__all__": terminated},
            {_DUMMY_AGENT_ID: truncated, "__all__": truncated},
            {_DUMMY_AGENT_ID: info},
        )

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


class GymEnvsWrapper(MultiAgentEnvWrapper):
    """Gymnasium environments, stepped one after the other."""

    def __init__(
        self,
        make_env: Callable[[int], Any] | None,
        existing_envs: Sequence[Any],
        num_envs: int,
        restart_failed_sub_environments: bool = False,
    ) -> None:
        make = None if make_env is None else (lambda index: OneAgent(make_env(index)))
        super().__init__(make, [OneAgent(env) for env in existing_envs], num_envs, restart_failed_sub_environments)

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        envs = [env.env for env in self.envs]
        return dict(enumerate(envs)) if as_dict else envs


class VectorEnvWrapper(BaseEnv):
    """A VectorEnv (`vector_reset`, `reset_at`, `vector_step`), all of whose environments step together."""

    def __init__(self, vector_env: Any) -> None:
        self.vector_env = vector_env
        self.num_envs: int = vector_env.num_envs
        self._seeds: list[int | None] = [None] * self.num_envs
        self._news: dict[int, Any] = {}
        self._begun = False

    def seed_first_resets(self, seeds: Sequence[int | None]) -> None:
        self._seeds = [*seeds, *[None] * self.num_envs][: self.num_envs]

    def poll(self) -> Poll:
        if not self._begun:
            self._begun = True
            obs, infos = self.vector_env.vector_reset(seeds=self._seeds, options=[None] * self.num_envs)
            self._news = {i: (obs[i], 0.0, False, False, infos[i], False) for i in range(self.num_envs)}
        news, self._news = self._news, {}
        polled: tuple[MultiEnvDict, ...] = ({}, {}, {}, {}, {})
        for index, (obs_, reward, terminated, truncated, info, stepped) in sorted(
            news.items(), key=lambda item: item[0]
        ):
            if isinstance(obs_, Exception):
                polled[0][index] = obs_  # type: ignore[assignment]
                values: tuple[Any, ...] = ({}, {"__all__": True}, {"__all__": False}, {})
            else:
                polled[0][index] = {_DUMMY_AGENT_ID: obs_}
                values = (
                    {_DUMMY_AGENT_ID: reward} if stepped else {},
                    {_DUMMY_AGENT_ID: terminated, "__all__": terminated},
                    {_DUMMY_AGENT_ID: truncated, "__all__": truncated},
                    {_DUMMY_AGENT_ID: info},
                )
            for target, value in zip(polled[1:], values, strict=True):
                target[index] = value
        return (*polled, {})  # type: ignore[return-value]

    def send_actions(self, action_dict: MultiEnvDict) -> None:
        if len(action_dict) != self.num_envs:
            missing = sorted(set(range(self.num_envs)) - set(action_dict))
            raise ValueError(
                f"all {self.num_envs} environments of a VectorEnv step together; there are no actions for {missing}"
            )
        actions = [one_agent(action_dict[index]) for index in range(self.num_envs)]
        obs, rewards, terminateds, truncateds, infos = self.vector_env.vector_step(actions)
        for i in range(self.num_envs):
            self._news[i] = (obs[i], rewards[i], terminateds[i], truncateds[i], infos[i], True)

    def try_reset(
        self, env_id: Any = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiEnvDict | None, MultiEnvDict | None]:
        self._begun = True
        obs: MultiEnvDict = {}
        infos: MultiEnvDict = {}
        for index in range(self.num_envs) if env_id is None else [env_id]:
            self._news.pop(index, None)
            first, info = self.vector_env.reset_at(index, seed=seed, options=options)
            obs[index] = first if isinstance(first, Exception) else {_DUMMY_AGENT_ID: first}  # type: ignore[assignment]
            infos[index] = {_DUMMY_AGENT_ID: info}
        return obs, infos

    def try_restart(self, env_id: Any = None) -> None:
        for index in range(self.num_envs) if env_id is None else [env_id]:
            self._news.pop(index, None)
            self.vector_env.restart_at(index)

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        envs = list(self.vector_env.get_sub_environments())
        return dict(enumerate(envs)) if as_dict else envs

    def try_render(self, env_id: Any = None) -> Any:
        return self.vector_env.try_render_at(env_id)

    def stop(self) -> None:
        close_envs(self.vector_env.get_sub_environments())

    @property
    def observation_space(self) -> gym.Space[Any]:
        return self.vector_env.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        return self.vector_env.action_space
