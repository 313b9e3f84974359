"""Whether an environment keeps the rules: one reset and one step are tried, and the first rule that is broken is named."""

from __future__ import annotations

import copy
import logging
from typing import Any

import gymnasium
import numpy as np

from aktis.rllib.utils.spaces.explain import explain_mismatch

__all__ = [
    "check_base_env",
    "check_env",
    "check_gym_environments",
    "check_multiagent_environments",
    "check_vector_env",
]

logger = logging.getLogger(__name__)

_OFF = "(config.environment(disable_env_checking=True) switches these checks off.)"


def check_env(env: Any) -> None:
    """Check an environment of any kind.

    Raises:
        ValueError: it breaks a rule; the message says which, with the offending value.
    """
    from aktis.rllib.env.base_env import BaseEnv
    from aktis.rllib.env.external_env import ExternalEnv
    from aktis.rllib.env.multi_agent_env import MultiAgentEnv
    from aktis.rllib.env.vector_env import VectorEnv

    if isinstance(env, ExternalEnv) or _is_actor(env):
        return  # it drives itself; what it sends is checked when it comes
    if isinstance(env, MultiAgentEnv):
        check_multiagent_environments(env)
    elif isinstance(env, VectorEnv):
        check_vector_env(env)
    elif isinstance(env, BaseEnv):
        check_base_env(env)
    elif isinstance(env, gymnasium.Env) or (hasattr(env, "step") and hasattr(env, "reset")):
        check_gym_environments(env)
    else:
        raise ValueError(
            f"{_name(env)} is no environment: it must be a gymnasium.Env, MultiAgentEnv, VectorEnv, ExternalEnv or BaseEnv, and is "
            f"a {type(env).__mro__[0].__module__}.{type(env).__name__}"
        )


def check_gym_environments(env: Any) -> None:
    """Check a Gymnasium environment: its spaces, one reset, one step."""
    _check_spaces(env)
    obs, _ = _reset_result(env, env.reset())
    _check_inside(env, "reset()", obs, env.observation_space)
    action = _allowed_action(env.action_space, obs)
    obs, reward, terminated, truncated, info = _step_result(env, env.step(action), action)
    _check_inside(env, f"step({_short(action)})", obs, env.observation_space)
    _check_number(env, "reward", reward)
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        _check_bool(env, name, value)
    if not isinstance(info, dict):
        _broken(env, "step()", f"the info must be a dictionary, not {_short(info)}")


def _allowed_action(space: Any, obs: Any) -> Any:
    """A random action; one that the observation's ``action_mask`` allows, if it has such a mask."""
    mask = obs.get("action_mask") if isinstance(obs, dict) else None
    if not isinstance(space, gymnasium.spaces.Discrete) or mask is None or np.shape(mask) != (space.n,):
        return space.sample()
    return space.sample(mask=(np.asarray(mask) > 0).astype(np.int8))


def check_multiagent_environments(env: Any) -> None:
    """Check a MultiAgentEnv: which agents appear where, and what each of them gets."""
    if not hasattr(env, "_agent_ids") and not hasattr(env, "get_agent_ids"):
        _broken(
            env,
            "__init__()",
            "get_agent_ids() must say which agents there are (call super().__init__() and set self._agent_ids)",
        )
    obs, infos = _reset_result(env, env.reset())
    _check_agents(env, "reset()", "observations", obs)
    _check_agent_obs(env, "reset()", obs)
    _check_infos(env, "reset()", infos, obs)
    actions = {agent: _agent_action(env, agent) for agent in obs}
    if any(action is None for action in actions.values()):
        return  # the environment does not say what its agents can do: nothing more can be tried
    result = _step_result(env, env.step(actions), actions)
    obs, rewards, terminateds, truncateds, infos = result
    for what, part in (
        ("observations", obs),
        ("rewards", rewards),
        ("terminateds", terminateds),
        ("truncateds", truncateds),
    ):
        _check_agents(env, "step()", what, part, allow_all=what in ("terminateds", "truncateds"))
    _check_agent_obs(env, "step()", obs)
    for agent, reward in rewards.items():
        _check_number(env, f"reward of agent {agent!r}", reward)
    for what, part in (("terminateds", terminateds), ("truncateds", truncateds)):
        if "__all__" not in part:
            _broken(
                env,
                "step()",
                f"{what} must have the key '__all__' (whether the episode of all agents is over); it has {sorted(map(str, part))}",
            )
        for agent, value in part.items():
            _check_bool(env, f"{what}[{agent!r}]", value)
    _check_infos(env, "step()", infos, obs)


def check_vector_env(env: Any) -> None:
    """Check a VectorEnv: lists with one entry for each sub-environment."""
    _check_spaces(env)
    count = int(env.num_envs)
    result = env.vector_reset()
    if not (isinstance(result, tuple) and len(result) == 2):
        _broken(env, "vector_reset()", f"it must return (observations, infos), two lists; it returned {_short(result)}")
    for what, part in zip(("observations", "infos"), result, strict=True):
        _check_list(env, "vector_reset()", what, part, count)
    for obs in result[0]:
        _check_inside(env, "vector_reset()", obs, env.observation_space)
    single = env.reset_at(0)
    if isinstance(single, tuple) and len(single) == 2:
        _check_inside(env, "reset_at(0)", single[0], env.observation_space)
    else:
        _broken(env, "reset_at(0)", f"it must return (observation, info); it returned {_short(single)}")
    result = env.vector_step([env.action_space.sample() for _ in range(count)])
    if not (isinstance(result, tuple) and len(result) == 5):
        _broken(
            env,
            "vector_step()",
            f"it must return five lists (observations, rewards, terminateds, truncateds, infos), not {_short(result)}",
        )
    names = ("observations", "rewards", "terminateds", "truncateds", "infos")
    for what, part in zip(names, result, strict=True):
        _check_list(env, "vector_step()", what, part, count)
    for obs, reward, terminated, truncated in zip(*result[:4], strict=True):
        _check_inside(env, "vector_step()", obs, env.observation_space)
        _check_number(env, "reward", reward)
        _check_bool(env, "terminated", terminated)
        _check_bool(env, "truncated", truncated)


def check_base_env(env: Any) -> None:
    """Check a BaseEnv: what ``try_reset`` gives, if it can reset, is observations and infos by environment and agent."""
    result = env.try_reset()
    if result is None or result == (None, None):
        return
    if not (isinstance(result, tuple) and len(result) == 2):
        _broken(
            env,
            "try_reset()",
            f"it must return (observations, infos), dictionaries by environment and agent; it returned {_short(result)}",
        )
    for env_id, agents in result[0].items():
        if isinstance(agents, Exception):
            raise agents
        if not isinstance(agents, dict):
            _broken(
                env,
                "try_reset()",
                f"observations of environment {env_id!r} must be a dictionary by agent, not {_short(agents)}",
            )


# Parts -----------------------------------------------------------------------------------------------------------------


def _check_spaces(env: Any) -> None:
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if space is None:
            _broken(env, "__init__()", f"it must have an attribute {name}")
        if not isinstance(space, gymnasium.Space):
            _broken(
                env,
                "__init__()",
                f"{name} must be a gymnasium.Space, and is a {type(space).__module__}.{type(space).__name__}",
            )


def _reset_result(env: Any, result: Any) -> tuple[Any, Any]:
    if not (isinstance(result, tuple) and len(result) == 2):
        _broken(env, "reset()", f"it must return a tuple of two, (observation, info); it returned {_short(result)}")
    if not isinstance(result[1], dict):
        _broken(
            env,
            "reset()",
            f"it must return (observation, info) with info a dictionary; the second value is {_short(result[1])}",
        )
    return result[0], result[1]


def _step_result(env: Any, result: Any, action: Any) -> Any:
    if not (isinstance(result, tuple) and len(result) == 5):
        count = f"{len(result)} values" if isinstance(result, (tuple, list)) else _short(result)
        _broken(
            env,
            "step()",
            f"it must return five values, (observation, reward, terminated, truncated, info); it returned {count}. "
            "Environments of the "
            "old Gym API (four values) are wrapped if config.environment(auto_wrap_old_gym_envs=True)",
        )
    return result


def _check_inside(env: Any, where: str, value: Any, space: Any) -> None:
    reason = explain_mismatch(space, value)
    if reason:
        _broken(env, where, f"the observation must be in observation_space; it is not: {reason}")


def _check_number(env: Any, what: str, value: Any) -> None:
    number = isinstance(value, (int, float, np.number)) or (
        isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu"
    )
    if not number:
        _broken(env, "step()", f"the {what} must be a number, not {_short(value)}")
    if np.isnan(np.asarray(value, np.float64)).any():
        _broken(env, "step()", f"the {what} must be a number, and is nan")


def _check_bool(env: Any, what: str, value: Any) -> None:
    if not isinstance(value, (bool, np.bool_)):
        _broken(env, "step()", f"{what} must be True or False, not {_short(value)}")


def _check_list(env: Any, where: str, what: str, part: Any, count: int) -> None:
    if not hasattr(part, "__len__") or isinstance(part, dict) or len(part) != count:
        _broken(
            env,
            where,
            f"{what} must be a list with one entry for each of the {count} sub-environments, not {_short(part)}",
        )


def _check_agents(env: Any, where: str, what: str, part: Any, *, allow_all: bool = False) -> None:
    if not isinstance(part, dict):
        _broken(env, where, f"{what} must be a dictionary by agent, not {_short(part)}")
    known = set(env.get_agent_ids())
    strange = [agent for agent in part if agent not in known and not (allow_all and agent == "__all__")]
    if known and strange:
        _broken(
            env,
            where,
            f"{what} has the agent {strange[0]!r}, which is not among get_agent_ids(): {sorted(map(str, known))}",
        )


def _check_infos(env: Any, where: str, infos: Any, obs: Any) -> None:
    if not isinstance(infos, dict):
        _broken(env, where, f"infos must be a dictionary by agent, not {_short(infos)}")
    strange = [agent for agent in infos if agent not in obs and agent != "__common__"]
    if strange:
        _broken(
            env,
            where,
            f"infos has the agent {strange[0]!r}, which observes nothing in this step: infos' keys are those of the "
            "observations (and '__common__')",
        )


def _check_agent_obs(env: Any, where: str, obs: dict[Any, Any]) -> None:
    for agent, value in obs.items():
        space = _agent_space(env, "observation_space", agent)
        reason = explain_mismatch(space, value) if space is not None else None
        if reason:
            _broken(
                env, where, f"the observation of agent {agent!r} must be in its observation space; it is not: {reason}"
            )


def _agent_space(env: Any, name: str, agent: Any) -> Any:
    by_agent = getattr(env, f"{name}s", None)
    if isinstance(by_agent, dict) and agent in by_agent:
        return by_agent[agent]
    space = getattr(env, name, None)
    inner = getattr(space, "spaces", None)
    agents = set(env.get_agent_ids())
    if isinstance(inner, dict) and agents and set(inner) == agents:
        return inner.get(agent)
    return space


def _agent_action(env: Any, agent: Any) -> Any:
    space = _agent_space(env, "action_space", agent)
    return None if space is None else space.sample()


def _is_actor(env: Any) -> bool:
    from aktis.actor import ActorHandle

    return isinstance(env, ActorHandle)


def _broken(env: Any, where: str, rule: str) -> None:
    raise ValueError(f"the environment {_name(env)} breaks a rule in {where}: {rule}. {_OFF}")


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return str(getattr(spec, "id", None) or type(getattr(env, "unwrapped", env)).__name__)


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {value.shape} and type {value.dtype}"
    text = repr(copy.copy(value))
    return f"{text if len(text) <= 120 else text[:117] + '...'} ({type(value).__name__})"
