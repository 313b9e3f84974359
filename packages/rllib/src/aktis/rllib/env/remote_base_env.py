"""Sub-environments in actors of their own, for environments that are slow or large.

    sampler ── send_actions ──► actor of env 0: step ──┐
                          └───► actor of env 1: step ──┤  poll: waits for the first, then `remote_env_batch_wait_ms` for more
            ◄──────────────────────────────────────────┘

One request at a time is on its way to each actor. An actor that dies, and an environment that raises, are errors, or are
reported in `poll` and made anew where `restart_failed_sub_environments` is on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym

from aktis.rllib.env._gym_base_env import OneAgent
from aktis.rllib.env._multi_agent_base_env import reset_multi_agent, step_multi_agent
from aktis.rllib.env.base_env import _DUMMY_AGENT_ID, ASYNC_RESET_RETURN, BaseEnv, Poll
from aktis.rllib.env.multi_agent_env import MultiEnvDict

__all__ = ["RemoteBaseEnv"]

_NOT_DONE = {"__all__": False}


class _RemoteEnv:
    """The actor: one environment, whose steps are dicts by agent."""

    def __init__(self, make_env: Callable[[int], Any], index: int, multiagent: bool) -> None:
        env = make_env(index)
        self.env: Any = env if multiagent else OneAgent(env)
        self.multiagent = multiagent

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        obs, infos = reset_multi_agent(self.env, seed, options)
        return obs, {}, _NOT_DONE, _NOT_DONE, infos

    def step(self, actions: dict[Any, Any]) -> Any:
        return step_multi_agent(self.env, actions)

    def describe(self) -> tuple[Any, Any, set[Any]]:
        return self.env.observation_space, self.env.action_space, self.env.get_agent_ids()

    def call(self, function: Callable[[Any], Any]) -> Any:
        """`function` of the environment; the way to an environment in an actor."""
        return function(self.env if self.multiagent else self.env.env)

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


class RemoteBaseEnv(BaseEnv):
    """Environments in actors.

    Args:
        make_env: Makes the environment of an index (in its actor).
        num_envs: How many.
        multiagent: Whether they are MultiAgentEnvs.
        remote_env_batch_wait_ms: How long `poll` waits for more environments after the first is ready.
        existing_envs: Actors that are there already.
        worker: The rollout worker (unused).
        restart_failed_sub_environments: Report failures instead of raising them.
    """

    def __init__(
        self,
        make_env: Callable[[int], Any],
        num_envs: int,
        multiagent: bool,
        remote_env_batch_wait_ms: int = 0,
        existing_envs: Sequence[Any] | None = None,
        worker: Any = None,
        restart_failed_sub_environments: bool = False,
    ) -> None:
        self.make_env = make_env
        self.num_envs = num_envs
        self.multiagent = multiagent
        self.poll_timeout = max(0.0, remote_env_batch_wait_ms / 1000)
        self.restart_failed_sub_environments = restart_failed_sub_environments
        self.actors: list[Any] = list(existing_envs or [])
        while len(self.actors) < num_envs:
            self.actors.append(self._make_actor(len(self.actors)))
        self._seeds: list[int | None] = [None] * num_envs
        self._pending: dict[Any, int] = {}
        self._begun = False
        self._description: tuple[Any, Any, set[Any]] | None = None

    def _make_actor(self, index: int) -> Any:
        import aktis as ray

        # The resources of the worker's bundle are for all of its environments together: an environment claims none.
        return ray.remote(_RemoteEnv).options(num_cpus=0).remote(self.make_env, index, self.multiagent)

    def seed_first_resets(self, seeds: Sequence[int | None]) -> None:
        self._seeds = [*seeds, *[None] * self.num_envs][: self.num_envs]

    def poll(self) -> Poll:
        import aktis as ray

        if not self._begun:
            self._begun = True
            for index in range(self.num_envs):
                self._ask_reset(index, self._seeds[index], None)
        polled: tuple[MultiEnvDict, ...] = ({}, {}, {}, {}, {})
        if not self._pending:
            return (*polled, {})  # type: ignore[return-value]
        ready, waiting = ray.wait(list(self._pending), num_returns=1)
        if waiting and (self.poll_timeout or len(ready) < len(self._pending)):
            more, _ = ray.wait(waiting, num_returns=len(waiting), timeout=self.poll_timeout)
            ready = [*ready, *more]
        for index, reference in sorted(
            ((self._pending.pop(reference), reference) for reference in ready), key=lambda pair: pair[0]
        ):
            try:
                step = ray.get(reference)
            except Exception as error:
                if not self.restart_failed_sub_environments:
                    raise
                step = (error, {}, {"__all__": True}, _NOT_DONE, {})
            for target, value in zip(polled, step, strict=True):
                target[index] = value
        return (*polled, {})  # type: ignore[return-value]

    def send_actions(self, action_dict: MultiEnvDict) -> None:
        for index, actions in action_dict.items():
            self._pending[self.actors[index].step.remote(actions)] = index

    def _ask_reset(self, index: int, seed: int | None, options: dict[str, Any] | None) -> None:
        self._pending[self.actors[index].reset.remote(seed, options)] = index

    def try_reset(
        self, env_id: Any = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiEnvDict | None, MultiEnvDict | None]:
        indices = range(self.num_envs) if env_id is None else [env_id]
        self._begun = True
        for index in indices:
            self._forget(index)
            self._ask_reset(index, seed, options)
        waiting: dict[Any, Any] = dict.fromkeys(indices, ASYNC_RESET_RETURN)
        return waiting, {index: {} for index in indices}

    def _forget(self, index: int) -> None:
        for reference in [reference for reference, of in self._pending.items() if of == index]:
            del self._pending[reference]

    def try_restart(self, env_id: Any = None) -> None:
        import aktis as ray

        for index in range(self.num_envs) if env_id is None else [env_id]:
            self._forget(index)
            try:
                ray.kill(self.actors[index])
            except Exception:  # it may be dead: that is why there is a new one
                pass
            self.actors[index] = self._make_actor(index)

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        return dict(enumerate(self.actors)) if as_dict else list(self.actors)

    def try_render(self, env_id: Any = None) -> Any:
        import aktis as ray

        return ray.get(self.actors[env_id or 0].render.remote())

    def stop(self) -> None:
        import aktis as ray

        self._pending = {}
        for actor in self.actors:
            try:
                ray.kill(actor)
            except Exception:  # a dead actor needs no end
                pass
        self.actors = []

    def _describe(self) -> tuple[Any, Any, set[Any]]:
        import aktis as ray

        if self._description is None:
            self._description = ray.get(self.actors[0].describe.remote())
        return self._description

    def get_agent_ids(self) -> set[Any]:
        return self._describe()[2] if self.multiagent else {_DUMMY_AGENT_ID}

    @property
    def observation_space(self) -> gym.Space[Any]:
        return self._describe()[0]

    @property
    def action_space(self) -> gym.Space[Any]:
        return self._describe()[1]
