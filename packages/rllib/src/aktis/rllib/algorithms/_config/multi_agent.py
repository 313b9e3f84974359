"""Section multi_agent(), and what follows from it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided, from_config

if TYPE_CHECKING:
    from typing_extensions import Self

    from aktis.rllib.policy.policy import Policy, PolicySpec

__all__ = ["MultiAgentSection", "default_policy_mapping_fn"]

DEFAULT_POLICY_ID = "default_policy"
COUNTED = ("env_steps", "agent_steps")
_KEYS = (
    "policies",
    "policy_mapping_fn",
    "policies_to_train",
    "policy_map_capacity",
    "count_steps_by",
    "observation_fn",
)


def default_policy_mapping_fn(agent_id: Any, episode: Any = None, worker: Any = None, **kwargs: Any) -> str:
    """Every agent has the same policy."""
    return DEFAULT_POLICY_ID


class _OnlyAgent:
    """A policy_mapping_fn of the first releases, which takes the agent alone."""

    def __init__(self, function: Callable[[Any], str]) -> None:
        self.function = function

    def __call__(self, agent_id: Any, episode: Any = None, worker: Any = None, **kwargs: Any) -> str:
        return self.function(agent_id)


class MultiAgentSection(ConfigBase):
    """Which policies there are, and which agents they act for."""

    def __init__(self) -> None:
        super().__init__()
        self.policies: Any = {DEFAULT_POLICY_ID: None}
        self.policy_map_capacity: int = 100
        self.policy_mapping_fn: Callable[..., str] = default_policy_mapping_fn
        self.policies_to_train: Collection[str] | Callable[..., bool] | None = None
        self.policy_states_are_swappable: bool = False
        self.observation_fn: Callable[..., Any] | None = None
        self.count_steps_by: str = "env_steps"

    @section
    def multi_agent(
        self,
        *,
        policies: Any = NotProvided,
        policy_map_capacity: int = NotProvided,
        policy_mapping_fn: Callable[..., str] | Mapping[str, Any] | None = NotProvided,
        policies_to_train: Collection[str] | Callable[..., bool] | None = NotProvided,
        policy_states_are_swappable: bool = NotProvided,
        observation_fn: Callable[..., Any] | None = NotProvided,
        count_steps_by: str = NotProvided,
        replay_mode: Any = NotProvided,
        policy_map_cache: Any = NotProvided,
    ) -> Self:
        """Which policies there are, and which agents they act for.

        Args:
            policies: Their ids; or a dict of id to ``PolicySpec`` (or to None, where all is as in this configuration;
                or to a tuple of class, observation space, action space and a dict of settings that are different).
            policy_map_capacity: How many policies are in memory at a time; further ones are on the disk until they are needed.
            policy_mapping_fn: ``f(agent_id, episode, worker, **kwargs)`` returns the id of the policy of an agent, for
                one episode; or, in files of YAML, ``{"type": path of a class, ...}``, whose objects can be called like this.
            policies_to_train: Ids of those that learn, or ``f(policy_id, batch)`` that returns whether; None: all.
            policy_states_are_swappable: The states of policies fit each other, so that one object can serve as many.
            observation_fn: ``f(agent_obs, worker, base_env, policies, episode)`` returns the observations that agents
                get instead.
            count_steps_by: What ``train_batch_size`` and ``rollout_fragment_length`` count: "env_steps" or "agent_steps".
            replay_mode: No more: see ``replay_buffer_config``.
            policy_map_cache: No more.
        """
        if policy_mapping_fn is not NotProvided:
            policy_mapping_fn = self._normalised("policy_mapping_fn", policy_mapping_fn)
        if policies is not NotProvided:
            policies = self._normalised("policies", policies)
        if policies_to_train is not NotProvided:
            policies_to_train = self._normalised("policies_to_train", policies_to_train)
        return self._update(
            policies=policies,
            policy_map_capacity=policy_map_capacity,
            policy_mapping_fn=policy_mapping_fn,
            policies_to_train=policies_to_train,
            policy_states_are_swappable=policy_states_are_swappable,
            observation_fn=observation_fn,
            count_steps_by=count_steps_by,
        )

    @property
    def multiagent(self) -> dict[str, Any]:
        """The settings of this section as the dictionary of that name."""
        return {key: getattr(self, key) for key in _KEYS}

    def to_dict(self) -> dict[str, Any]:
        """All settings by name; those of :meth:`multi_agent` in ``multiagent``, too."""
        made = super().to_dict()
        if type(self).multiagent is MultiAgentSection.multiagent:
            made["multiagent"] = {key: made.pop(key) for key in _KEYS}
            made["policies"] = made["multiagent"]["policies"]
        return made

    def _normalised(self, name: str, value: Any) -> Any:
        if name == "policy_mapping_fn":
            return _mapping_fn(value)
        if name == "policies" and value is not None and not isinstance(value, (Mapping, Collection)):
            raise TypeError(f"policies must be a dict of id to PolicySpec, or a collection of ids, not {value!r}")
        if name == "policies" and not value:
            return {DEFAULT_POLICY_ID: None}
        if name == "policies_to_train" and isinstance(value, str):
            raise TypeError(
                f"policies_to_train must be a collection of ids, not the string {value!r}: write [{value!r}]"
            )
        return super()._normalised(name, value)

    def is_multi_agent(self) -> bool:
        """Whether there are several policies, or another one than the default one."""
        return len(self.policies) != 1 or DEFAULT_POLICY_ID not in self.policies

    def is_policy_to_train(self, policy_id: str, batch: Any = None) -> bool:
        """Whether a policy learns.

        Args:
            policy_id: Its id.
            batch: What it would learn from, for a ``policies_to_train`` that looks at it.
        """
        which = self.policies_to_train
        if which is None:
            return True
        return bool(which(policy_id, batch)) if callable(which) else policy_id in which

    def get_multi_agent_setup(
        self,
        *,
        policies: Any = None,
        env: Any = None,
        spaces: Mapping[str, tuple[Any, Any]] | None = None,
        default_policy_class: type[Policy] | None = None,
    ) -> tuple[dict[str, PolicySpec], Callable[[str, Any], bool]]:
        """All policies with class, spaces and settings.

        Args:
            policies: Instead of those of this configuration.
            env: What is asked for spaces that nobody gave: an environment of any kind.
            spaces: Observation and action space by id of policy; ``"__env__"`` has those of the environment.
            default_policy_class: Of policies without a class of their own.

        Returns:
            A complete PolicySpec for each id, and whether one learns, ``f(policy_id, batch)``.

        Raises:
            ValueError: nothing says what the spaces of a policy are.
        """
        from aktis.rllib.algorithms._config.policies import complete_specs

        made = complete_specs(
            self, policies if policies is not None else self.policies, env, spaces, default_policy_class
        )
        return made, self.is_policy_to_train

    def _validate_multi_agent(self) -> None:
        if self.count_steps_by not in COUNTED:
            raise ValueError(f"count_steps_by must be 'env_steps' or 'agent_steps', not {self.count_steps_by!r}")
        if not callable(self.policy_mapping_fn):
            raise ValueError(f"policy_mapping_fn must be a function, not {self.policy_mapping_fn!r}")
        if (
            isinstance(self.policy_map_capacity, bool)
            or not isinstance(self.policy_map_capacity, int)
            or self.policy_map_capacity < 1
        ):
            raise ValueError(f"policy_map_capacity must be a whole number, 1 or more, not {self.policy_map_capacity!r}")
        ids = list(self.policies)
        for policy_id in ids:
            if (
                not isinstance(policy_id, str)
                or not policy_id
                or policy_id.strip("./\\") != policy_id
                or "/" in policy_id
            ):
                raise ValueError(
                    f"the id of a policy must be a string that can be the name of a directory, not {policy_id!r}: "
                    "checkpoints have one for each"
                )
        which = self.policies_to_train
        if which is not None and not callable(which):
            for policy_id in which:
                if policy_id not in ids:
                    raise ValueError(
                        f"policies_to_train has {policy_id!r}, which is not among the policies: {', '.join(sorted(ids))}"
                    )
        if (
            ids
            and ids != [DEFAULT_POLICY_ID]
            and self.policy_mapping_fn is default_policy_mapping_fn
            and DEFAULT_POLICY_ID not in ids
        ):
            raise ValueError(
                f"policies are {', '.join(sorted(ids))}, and nothing says which agent has which: give "
                "policy_mapping_fn=lambda agent_id, episode, worker, **kwargs: ..."
            )


def _mapping_fn(function: Any) -> Callable[..., str]:
    if function is None:
        return default_policy_mapping_fn
    if isinstance(function, Mapping):
        function = from_config(None, function)
    if not callable(function):
        raise TypeError(
            f"policy_mapping_fn must be a function f(agent_id, episode, worker, **kwargs), not {function!r}"
        )
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C
        return function  # type: ignore[no-any-return]
    several = len(parameters) > 1 or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    return function if several else _OnlyAgent(function)
