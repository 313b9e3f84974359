"""The interface behind which samplers see every environment: many at once, agents by environment, asynchronous.

sampler ── send_actions({env: {agent: action}}) ──► BaseEnv ──► environments (here, in actors, in a thread, over HTTP)
        ◄──── poll(): what is new, by environment and agent ────
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiEnvDict

ASYNC_RESET_RETURN = "async_reset_return"
"""What `try_reset` returns for an environment whose first observation comes with a later `poll`."""

_DUMMY_AGENT_ID = "agent0"

Poll = tuple["MultiEnvDict", "MultiEnvDict", "MultiEnvDict", "MultiEnvDict", "MultiEnvDict", "MultiEnvDict"]

__all__ = ["ASYNC_RESET_RETURN", "BaseEnv", "convert_to_base_env", "with_dummy_agent_id"]


class BaseEnv:
    """Several environments of possibly several agents, which answer when they are ready.

    `poll` and `send_actions` take turns. An environment that raised is in `poll`'s observations with the exception in
    place of a dict, where `restart_failed_sub_environments` is on; `try_restart` and `try_reset` bring it back.
    """

    def poll(self) -> Poll:
        """What is new since the last call.

        Returns:
            Observations, rewards, terminateds, truncateds, infos and off-policy actions, each `{env_id: {agent_id: value}}`.
            Environments without news are left out. An agent in the observations expects an action; off-policy actions are
            what was done already, for agents that only log.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define poll()")

    def send_actions(self, action_dict: MultiEnvDict) -> None:
        """Actions for the agents that `poll` observed; an environment without ready agents gets an empty dict."""
        raise NotImplementedError(f"{type(self).__name__} does not define send_actions()")

    def try_reset(
        self, env_id: Any = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[MultiEnvDict | None, MultiEnvDict | None]:
        """Begin an episode in one environment (in all).

        Returns:
            First observations and infos by environment; ASYNC_RESET_RETURN in place of an environment's dict if they come
            with `poll`; `(None, None)` if episodes begin by themselves.
        """
        return None, None

    def try_restart(self, env_id: Any = None) -> None:
        """Make one environment (all) anew, after it failed. `try_reset` comes next."""

    def seed_first_resets(self, seeds: Sequence[int | None]) -> None:
        """Seeds for the environments' first resets, in order; before the first `poll`."""

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        """The environments themselves (or actors), a list or by env_id. Empty if there are none to reach."""
        return {} if as_dict else []

    def get_agent_ids(self) -> set[Any]:
        """The agents of one environment."""
        return {_DUMMY_AGENT_ID}

    def try_render(self, env_id: Any = None) -> Any:
        """Render one environment (the first); the image, if there is one."""
        return None

    def stop(self) -> None:
        """Close everything. Nothing is polled afterwards."""

    def get_unwrapped(self) -> list[Any]:
        """As `get_sub_environments`."""
        return list(self.get_sub_environments())

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Of one agent, or a Dict by agent."""
        raise NotImplementedError(f"{type(self).__name__} does not define observation_space")

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one agent, or a Dict by agent."""
        raise NotImplementedError(f"{type(self).__name__} does not define action_space")

    def action_space_sample(self, agent_id: Sequence[Any] | None = None) -> MultiEnvDict:
        """Random actions of every environment's agents."""
        return self._sample(self.action_space, agent_id)

    def observation_space_sample(self, agent_id: Sequence[Any] | None = None) -> MultiEnvDict:
        """Random observations of every environment's agents."""
        return self._sample(self.observation_space, agent_id)

    def _sample(self, space: gym.Space[Any], agents: Sequence[Any] | None) -> MultiEnvDict:
        envs = self.get_sub_environments(as_dict=True) or {0: None}
        return {env_id: {agent: space.sample() for agent in (agents or self.get_agent_ids())} for env_id in envs}

    def observation_space_contains(self, x: MultiEnvDict) -> bool:
        """Whether all observations are in the space."""
        return all(self.observation_space.contains(value) for agents in x.values() for value in agents.values())

    def action_space_contains(self, x: MultiEnvDict) -> bool:
        """Whether all actions are in the space."""
        return all(self.action_space.contains(value) for agents in x.values() for value in agents.values())

    def to_base_env(self, *args: Any, **kwargs: Any) -> BaseEnv:
        """It is one."""
        return self


def with_dummy_agent_id(env_id_to_values: dict[Any, Any], dummy_id: Any = _DUMMY_AGENT_ID) -> MultiEnvDict:
    """Values of single-agent environments as those of one agent each (exceptions stay what they are)."""
    out: dict[Any, Any] = {}
    for env_id, value in env_id_to_values.items():
        out[env_id] = value if isinstance(value, Exception) else {dummy_id: value}
    return out


def convert_to_base_env(
    env: Any,
    make_env: Callable[[int], Any] | None = None,
    num_envs: int = 1,
    remote_envs: bool = False,
    remote_env_batch_wait_ms: int = 0,
    worker: Any = None,
    restart_failed_sub_environments: bool = False,
) -> BaseEnv:
    """Any environment behind the interface of BaseEnv.

    Args:
        env: A BaseEnv, MultiAgentEnv, ExternalEnv, VectorEnv or Gymnasium environment (or an actor of one, with `remote_envs`).
        make_env: Makes the sub-environment of an index, for `num_envs` > 1 and for those that failed.
        num_envs: How many.
        remote_envs: Each in an actor of its own.
        remote_env_batch_wait_ms: How long `poll` waits for more than the first ready environment.
        worker: The rollout worker.
        restart_failed_sub_environments: Report failures, so that the environment can be made anew, instead of raising them.

    Raises:
        ValueError: The environment is of no known kind, or cannot be had several times or in actors.
    """
    from aktis.rllib.env._gym_base_env import GymEnvsWrapper, VectorEnvWrapper
    from aktis.rllib.env._multi_agent_base_env import MultiAgentEnvWrapper
    from aktis.rllib.env.external_env import ExternalEnv, ExternalEnvWrapper
    from aktis.rllib.env.multi_agent_env import MultiAgentEnv

    if isinstance(env, BaseEnv):
        return env
    if isinstance(env, ExternalEnv):
        if num_envs != 1 or remote_envs:
            raise ValueError(
                f"an external environment drives itself: num_envs_per_worker={num_envs}, remote_worker_envs={remote_envs} "
                "do not go with it (1 and False do)"
            )
        return ExternalEnvWrapper(env)
    multi_agent = isinstance(env, MultiAgentEnv)
    if remote_envs:
        from aktis.rllib.env.remote_base_env import RemoteBaseEnv

        if make_env is None:
            raise ValueError("environments in actors need make_env, which makes the environment of an index")
        existing = [env] if type(env).__name__ == "ActorHandle" else None
        if existing is None and hasattr(env, "close"):
            env.close()
        return RemoteBaseEnv(
            make_env, num_envs, multi_agent, remote_env_batch_wait_ms, existing, worker, restart_failed_sub_environments
        )
    if multi_agent:
        return MultiAgentEnvWrapper(make_env, [env], num_envs, restart_failed_sub_environments)
    if hasattr(env, "vector_step") and hasattr(env, "vector_reset"):
        return VectorEnvWrapper(env)
    if hasattr(env, "step") and hasattr(env, "reset"):
        return GymEnvsWrapper(make_env, [env], num_envs, restart_failed_sub_environments)
    raise ValueError(
        f"{env!r} is no environment that can be sampled: it must be a gymnasium.Env, a VectorEnv, a MultiAgentEnv, "
        "an ExternalEnv or a BaseEnv"
    )


def one_agent(values: MultiAgentDict) -> Any:
    """The value of the single agent."""
    return values[_DUMMY_AGENT_ID]
