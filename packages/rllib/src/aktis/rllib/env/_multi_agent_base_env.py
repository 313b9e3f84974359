"""Many MultiAgentEnvs of this process as one BaseEnv."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from aktis.rllib.env.base_env import BaseEnv, Poll
from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiAgentEnv, MultiEnvDict
from aktis.rllib.env.utils import close_envs

Step = tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]

_NOT_DONE: MultiAgentDict = {"__all__": False}


def reset_multi_agent(
    env: Any, seed: int | None = None, options: dict[str, Any] | None = None
) -> tuple[MultiAgentDict, MultiAgentDict]:
    """`env.reset`, of the new API or of the old one (which returns observations only and knows no seed).

    Raises:
        ValueError: What it returns is neither.
    """
    if accepts_seed(env.reset):
        result = env.reset(seed=seed, options=options)
    else:
        if seed is not None and callable(getattr(env, "seed", None)):
            env.seed(seed)
        result = env.reset()
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict) and isinstance(result[1], dict):
        return result
    if isinstance(result, dict):
        return result, {}
    raise ValueError(
        f"{type(env).__name__}.reset() must return (observations, infos), two dicts by agent; it returned {result!r:.200}"
    )


def step_multi_agent(env: Any, actions: MultiAgentDict) -> Step:
    """`env.step`, of the new API or of the old one (four dicts).

    Raises:
        ValueError: What it returns breaks the rules of MultiAgentEnv; the message says which.
    """
    result = env.step(actions)
    if not isinstance(result, tuple) or len(result) not in (4, 5) or not all(isinstance(part, dict) for part in result):
        raise ValueError(
            f"{type(env).__name__}.step() must return five dicts by agent (observations, rewards, terminateds, truncateds, infos); "
            f"it returned {result!r:.200}"
        )
    if len(result) == 4:
        obs, rewards, dones, infos = result
        result = (obs, rewards, *split_dones(dones, infos), infos)
    for which, dones in (("terminateds", result[2]), ("truncateds", result[3])):
        if "__all__" not in dones:
            raise ValueError(
                f"{type(env).__name__}.step() returned {which}={dones!r:.200} without the key '__all__', "
                "which says whether the episode is over for everybody"
            )
    infos = result[4]
    if len(infos) > len(result[0]) or not infos.keys() <= result[0].keys():
        unknown = [agent for agent in infos if agent not in result[0] and agent != "__common__"]
        if unknown:
            raise ValueError(
                f"{type(env).__name__}.step() returned infos for agents without an observation: {unknown}; "
                "what is not for one of the observed agents goes under the key '__common__'"
            )
    obs, rewards, terminateds, truncateds, infos = result
    return obs, rewards, terminateds, truncateds, infos


def split_dones(dones: MultiAgentDict, infos: MultiAgentDict) -> tuple[MultiAgentDict, MultiAgentDict]:
    """Terminateds and truncateds of the old API, whose infos may say that a time limit ended an episode."""
    cut = {agent for agent, done in dones.items() if done and (infos.get(agent) or {}).get("TimeLimit.truncated")}
    over = bool(dones.get("__all__"))
    all_cut = over and bool(cut) and all(agent in cut for agent, done in dones.items() if done and agent != "__all__")
    terminateds = {agent: bool(done) and agent not in cut for agent, done in dones.items() if agent != "__all__"}
    truncateds = {agent: agent in cut for agent in dones if agent != "__all__"}
    return {**terminateds, "__all__": over and not all_cut}, {**truncateds, "__all__": all_cut}


def accepts_seed(reset: Callable[..., Any]) -> bool:
    """Whether a reset method takes `seed=`."""
    try:
        parameters = inspect.signature(reset).parameters
    except (TypeError, ValueError):
        return True
    return "seed" in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


class MultiAgentEnvWrapper(BaseEnv):
    """MultiAgentEnvs, stepped one after the other in `send_actions`.

    Args:
        make_env: Makes the environment of an index.
        existing_envs: Those that are there already.
        num_envs: How many there shall be.
        restart_failed_sub_environments: Report an exception as an environment's observation instead of raising it.
    """

    def __init__(
        self,
        make_env: Callable[[int], Any] | None,
        existing_envs: Sequence[Any],
        num_envs: int,
        restart_failed_sub_environments: bool = False,
    ) -> None:
        self.make_env = make_env
        self.envs = list(existing_envs)
        self.num_envs = max(num_envs, len(self.envs))
        self.restart_failed_sub_environments = restart_failed_sub_environments
        while len(self.envs) < self.num_envs:
            if make_env is None:
                raise ValueError(
                    f"{self.num_envs} environments were asked for and {len(self.envs)} given, without make_env"
                )
            self.envs.append(make_env(len(self.envs)))
        for env in self.envs:
            if not isinstance(env, MultiAgentEnv):
                raise ValueError(f"{env!r} is no MultiAgentEnv")
        self._seeds: list[int | None] = [None] * self.num_envs
        self._news: dict[int, Any] = {}
        self._begun = False

    def seed_first_resets(self, seeds: Sequence[int | None]) -> None:
        self._seeds = [*seeds, *[None] * self.num_envs][: self.num_envs]

    def poll(self) -> Poll:
        if not self._begun:
            self._begun = True
            for index in range(self.num_envs):
                self._begin(index)
        news, self._news = self._news, {}
        obs: MultiEnvDict = {}
        rewards: MultiEnvDict = {}
        terminateds: MultiEnvDict = {}
        truncateds: MultiEnvDict = {}
        infos: MultiEnvDict = {}
        for index in sorted(news):  # always in the same order, so that runs repeat
            step = news[index]
            obs[index], rewards[index], terminateds[index], truncateds[index], infos[index] = step
        return obs, rewards, terminateds, truncateds, infos, {}

    def send_actions(self, action_dict: MultiEnvDict) -> None:
        for index, actions in action_dict.items():
            if index not in range(self.num_envs):
                raise ValueError(f"there is no environment {index!r}; there are {self.num_envs}")
            try:
                self._news[index] = step_multi_agent(self.envs[index], actions)
            except Exception as error:
                self._fail(index, error)

    def _begin(self, index: int) -> None:
        seed, self._seeds[index] = self._seeds[index], None
        try:
            obs, infos = reset_multi_agent(self.envs[index], seed)
        except Exception as error:
            self._fail(index, error)
        else:
            self._news[index] = (obs, {}, _NOT_DONE, _NOT_DONE, infos)

    def _fail(self, index: int, error: Exception) -> None:
        if not self.restart_failed_sub_environments:
            raise error
        self._news[index] = (error, {}, {"__all__": True}, {"__all__": False}, {})

    def try_reset(
        self, env_id: Any = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiEnvDict | None, MultiEnvDict | None]:
        obs: MultiEnvDict = {}
        infos: MultiEnvDict = {}
        self._begun = True
        for index in range(self.num_envs) if env_id is None else [env_id]:
            self._news.pop(index, None)
            try:
                obs[index], infos[index] = reset_multi_agent(self.envs[index], seed, options)
            except Exception as error:
                if not self.restart_failed_sub_environments:
                    raise
                obs[index], infos[index] = error, {}  # type: ignore[assignment]
        return obs, infos

    def try_restart(self, env_id: Any = None) -> None:
        for index in range(self.num_envs) if env_id is None else [env_id]:
            self._news.pop(index, None)
            try:
                self.envs[index].close()
            except Exception:  # it failed before; what it does now does not count
                pass
            if self.make_env is None:
                raise ValueError(f"environment {index} failed and cannot be made anew without make_env")
            self.envs[index] = self.make_env(index)

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        return dict(enumerate(self.envs)) if as_dict else list(self.envs)

    def get_agent_ids(self) -> set[Any]:
        return set(self.envs[0].get_agent_ids())

    def try_render(self, env_id: Any = None) -> Any:
        return self.envs[env_id or 0].render()

    def stop(self) -> None:
        close_envs(self.envs)

    @property
    def observation_space(self) -> gym.Space[Any]:
        return self.envs[0].observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        return self.envs[0].action_space

    def observation_space_contains(self, x: MultiEnvDict) -> bool:
        return all(self.envs[0].observation_space_contains(agents) for agents in x.values())

    def action_space_contains(self, x: MultiEnvDict) -> bool:
        return all(self.envs[0].action_space_contains(agents) for agents in x.values())

    def observation_space_sample(self, agent_id: Sequence[Any] | None = None) -> MultiEnvDict:
        return {index: env.observation_space_sample(agent_id) for index, env in enumerate(self.envs)}

    def action_space_sample(self, agent_id: Sequence[Any] | None = None) -> MultiEnvDict:
        return {index: env.action_space_sample(agent_id) for index, env in enumerate(self.envs)}
