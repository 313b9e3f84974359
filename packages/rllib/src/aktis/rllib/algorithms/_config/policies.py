"""What policies there are, completely: class, spaces and settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms._config.multi_agent import MultiAgentSection
    from aktis.rllib.policy.policy import PolicySpec

__all__ = ["as_spec", "complete_specs"]

ENV_SPACES = "__env__"


def as_spec(value: Any) -> PolicySpec:
    """A PolicySpec of what a user gave: one, None, a class, a dict of settings, or a tuple of class, spaces and settings.

    Raises:
        TypeError: it is something else.
    """
    from aktis.rllib.policy.policy import PolicySpec

    if value is None:
        return PolicySpec()
    if isinstance(value, PolicySpec):
        return PolicySpec(value.policy_class, value.observation_space, value.action_space, value.config)
    if isinstance(value, (tuple, list)) and len(value) == 4:
        return PolicySpec(*value)
    if isinstance(value, type):
        return PolicySpec(policy_class=value)
    raise TypeError(
        f"a policy must be a PolicySpec, None, or (class, observation space, action space, settings), not {value!r}"
    )


def complete_specs(
    config: MultiAgentSection,
    policies: Any,
    env: Any,
    spaces: Mapping[str, tuple[Any, Any]] | None,
    default_policy_class: Any,
) -> dict[str, PolicySpec]:
    """See :meth:`MultiAgentSection.get_multi_agent_setup`."""
    given = dict(policies) if isinstance(policies, Mapping) else dict.fromkeys(_in_order(policies))
    made = {}
    for policy_id, value in given.items():
        spec = as_spec(value)
        if spec.policy_class is None:
            spec.policy_class = default_policy_class
        observation_space, action_space = _spaces(config, policy_id, env, spaces)
        spec.observation_space = _first(spec.observation_space, observation_space)
        spec.action_space = _first(spec.action_space, action_space)
        for name in ("observation_space", "action_space"):
            if getattr(spec, name) is None:
                raise ValueError(
                    f"nothing says what the {name} of the policy {policy_id!r} is: give an environment (config.environment(env)), "
                    f"config.environment({name}=...), or PolicySpec({name}=...)"
                )
        spec.config = _settings(config, policy_id, spec.config)
        made[policy_id] = spec
    return made


def _in_order(policies: Any) -> list[str]:
    """Sets have no order that would be the same in each process; seeds go by it."""
    return sorted(policies) if isinstance(policies, (set, frozenset)) else list(policies)


def _first(one: Any, other: Any) -> Any:
    return other if one is None else one


def _settings(config: Any, policy_id: str, own: Any) -> Any:
    """The configuration of one policy: the algorithm's, with what is different."""
    if own is None or (isinstance(own, Mapping) and not own):
        return config.copy(copy_frozen=False)
    if not isinstance(own, Mapping):
        return own
    made = config.copy(copy_frozen=False)
    try:
        return made.update_from_dict(own)
    except KeyError as error:
        raise KeyError(f"the settings of the policy {policy_id!r}: {error.args[0]}") from None


def _spaces(config: Any, policy_id: str, env: Any, spaces: Mapping[str, tuple[Any, Any]] | None) -> tuple[Any, Any]:
    """Spaces for a policy that has none of its own: those given, the configuration's, the environment's."""
    mine = (spaces or {}).get(policy_id, (None, None))
    whole = (spaces or {}).get(ENV_SPACES, (None, None))
    observation = _first(mine[0], config.observation_space)
    action = _first(mine[1], config.action_space)
    if observation is None or action is None:
        of_env = _of_agent(config, policy_id, env) if env is not None else (None, None)
        observation = _first(observation, _first(of_env[0], whole[0]))
        action = _first(action, _first(of_env[1], whole[1]))
    return _of_mapping(config, policy_id, observation, env), _of_mapping(config, policy_id, action, env)


def _of_agent(config: Any, policy_id: str, env: Any) -> tuple[Any, Any]:
    """Spaces of an environment: of an agent that this policy acts for, where each has its own."""
    observation = _first(getattr(env, "observation_space", None), getattr(env, "single_observation_space", None))
    action = _first(getattr(env, "action_space", None), getattr(env, "single_action_space", None))
    per_agent_obs = getattr(env, "observation_spaces", None)
    per_agent_act = getattr(env, "action_spaces", None)
    if isinstance(per_agent_obs, Mapping) and isinstance(per_agent_act, Mapping):
        agent = _agent_of(config, policy_id, per_agent_obs)
        if agent is not None:
            return per_agent_obs[agent], per_agent_act.get(agent)
    return observation, action


def _of_mapping(config: Any, policy_id: str, space: Any, env: Any) -> Any:
    """The space of one agent, where the environment's is a Dict by agent."""
    agents = getattr(env, "get_agent_ids", None)
    inner = getattr(space, "spaces", None)
    if agents is None or not isinstance(inner, Mapping) or not inner or set(inner) != set(agents()):
        return space
    agent = _agent_of(config, policy_id, inner)
    return space if agent is None else inner[agent]


def _agent_of(config: Any, policy_id: str, agents: Any) -> Any:
    for agent in agents:
        try:
            if config.policy_mapping_fn(agent, None, worker=None) == policy_id:
                return agent
        except Exception:  # it needs the episode: another agent's spaces cannot be told from it
            return None
    return None
