"""The policies of a worker, each with its preprocessor and its filter."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from aktis.rllib.policy.policy import Policy, PolicySpec
from aktis.rllib.policy.policy_map import PolicyMap
from aktis.rllib.utils.filter import Filter, NoFilter, get_filter
from aktis.rllib.utils.policy import validate_policy_id

__all__ = ["PolicyTable"]


class PolicyTable:
    """Makes and keeps policies.

    Args:
        worker: The worker; it has ``config``, ``env``, ``callbacks`` and ``worker_index``.
        spaces: By policy id: observation and action space, where there is no environment to ask.
        default_class: The class of policies for which none is named.

    Attributes:
        map: Policies by id.
        specs: How they were asked for.
        preprocessors: By policy id; None where observations are used as they are.
        filters: By policy id.
    """

    def __init__(
        self, worker: Any, spaces: Mapping[str, tuple[Any, Any]] | None, default_class: type[Policy] | None
    ) -> None:
        config = worker.config
        self._worker = worker
        self._spaces = spaces
        self._default_class = default_class or config.get_default_policy_class()
        self.map: Any = _new_map(config)
        self.specs: dict[str, PolicySpec] = {}
        self.preprocessors: dict[str, Any] = {}
        self._filters: dict[str, Filter] = {}
        self.mapping_fn: Callable[..., str] = config.policy_mapping_fn
        specs, self.is_to_train = config.get_multi_agent_setup(
            env=worker.env, spaces=spaces, default_policy_class=self._default_class
        )
        for policy_id, spec in specs.items():
            self._make(policy_id, spec)

    @property
    def filters(self) -> dict[str, Filter]:
        """By policy id. A policy's filter is that of its connectors, so that it goes into the policy's own checkpoint."""
        if self._worker.config.enable_connectors and not self._worker.config.policy_states_are_swappable:
            for policy_id, filter_ in self._filters.items():
                if type(filter_) is not NoFilter:
                    self._filters[policy_id] = _of_connectors(self.map[policy_id], filter_)
        return self._filters

    def add(
        self,
        policy_id: str,
        policy_cls: type[Policy] | None,
        policy: Policy | None,
        *,
        observation_space: Any,
        action_space: Any,
        config: Any,
        policy_state: dict[str, Any] | None,
    ) -> Policy:
        """See :meth:`RolloutWorker.add_policy`."""
        validate_policy_id(policy_id, error=True)
        if policy_id in self.map:
            raise KeyError(f"there is a policy {policy_id!r} already: remove it first, or choose another id")
        if policy_cls is not None and policy is not None:
            raise ValueError("add_policy() takes policy_cls= or policy=, not both")
        if policy is not None:
            spec = PolicySpec(
                type(policy),
                getattr(policy.observation_space, "original_space", policy.observation_space),
                policy.action_space,
                policy.config,
            )
        else:
            asked = PolicySpec(policy_cls, observation_space, action_space, config or {})
            specs, _ = self._worker.config.get_multi_agent_setup(
                policies={policy_id: asked},
                env=self._worker.env,
                spaces=self._spaces,
                default_policy_class=self._default_class,
            )
            spec = specs[policy_id]
        made = self._make(policy_id, spec, policy)
        if policy_state is not None:
            made.set_state(policy_state)
        return made

    def remove(self, policy_id: str) -> None:
        """See :meth:`RolloutWorker.remove_policy`."""
        if policy_id not in self.map:
            raise KeyError(f"there is no policy {policy_id!r} to remove: there are {sorted(self.map.keys())}")
        for table in (self.map, self.specs, self.preprocessors, self._filters):
            table.pop(policy_id, None)

    def set_mapping_fn(self, function: Callable[..., str] | None) -> None:
        """From the next episodes on."""
        if function is not None:
            if not callable(function):
                raise TypeError(f"policy_mapping_fn must be a function of the agent id, not {function!r}")
            self.mapping_fn = function

    def set_to_train(self, which: Container[str] | Callable[..., bool] | None) -> None:
        """Ids, or a function of id and batch."""
        if which is None:
            return
        self.is_to_train = which if callable(which) else _In(which)

    def get_state(self) -> dict[str, Any]:
        """Policies, filters and the mapping."""
        return {
            "policy_states": {policy_id: self.map[policy_id].get_state() for policy_id in self.map},
            "filters": {policy_id: filter_.as_serializable() for policy_id, filter_ in self.filters.items()},
            "policy_ids": list(self.map.keys()),
            "policy_mapping_fn": self.mapping_fn,
            "is_policy_to_train": self.is_to_train,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`get_state` gave."""
        states = state.get("policy_states") or state.get("state") or {}
        for policy_id, policy_state in states.items():
            if policy_id not in self.map:
                self._from_state(policy_id, policy_state)
            self.map[policy_id].set_state(policy_state)
        for policy_id, filter_ in (state.get("filters") or {}).items():
            if policy_id in self.filters:
                self.filters[policy_id].sync(filter_)
        self.set_mapping_fn(state.get("policy_mapping_fn"))
        if state.get("is_policy_to_train") is not None:
            self.set_to_train(state["is_policy_to_train"])

    def _from_state(self, policy_id: str, state: Mapping[str, Any]) -> None:
        spec = state.get("policy_spec")
        if spec is None:
            raise KeyError(
                f"the state has a policy {policy_id!r} that this worker does not have, and does not say how to make "
                "it (no 'policy_spec')"
            )
        made = PolicySpec.deserialize(dict(spec)) if isinstance(spec, Mapping) else spec
        original = getattr(made.observation_space, "original_space", made.observation_space)
        self.add(
            policy_id,
            made.policy_class,
            None,
            observation_space=original,
            action_space=made.action_space,
            config=made.config,
            policy_state=None,
        )

    def _make(self, policy_id: str, spec: PolicySpec, policy: Policy | None = None) -> Policy:
        worker = self._worker
        settings = own_settings(spec.config, worker.config, worker.worker_index, policy_id)
        preprocessor = None
        space: Any = spec.observation_space
        if not worker.config._disable_preprocessor_api:
            from aktis.rllib.models.catalog import ModelCatalog

            preprocessor = ModelCatalog.get_preprocessor_for_space(space, settings.get("model"))
            space = preprocessor.observation_space
            if type(preprocessor).__name__ == "NoPreprocessor":
                preprocessor = None
        if policy is None:
            if spec.policy_class is None:
                raise ValueError(
                    f"nothing says of which class the policy {policy_id!r} is: give PolicySpec(policy_class=...), or "
                    "build an algorithm "
                    "that has one"
                )
            policy = spec.policy_class(space, spec.action_space, settings)
        if worker.config.output is not None:
            _record_new_obs(policy)
        self.map[policy_id] = policy
        self.specs[policy_id] = spec
        self.preprocessors[policy_id] = preprocessor
        self._filters[policy_id] = get_filter(settings.get("observation_filter", "NoFilter"), space)
        if worker.config.enable_connectors and space.shape is not None and policy.agent_connectors is None:
            from aktis.rllib.connectors.util import create_connectors_for_policy

            create_connectors_for_policy(policy, settings)
        worker.callbacks.on_create_policy(policy_id=policy_id, policy=policy)
        return policy


def _record_new_obs(policy: Policy) -> None:
    """What is written has what was observed after each step: others than this policy may need it to learn."""
    from aktis.rllib.policy.view_requirement import ViewRequirement

    space = policy.observation_space
    view = ViewRequirement("obs", shift=1, space=space, used_for_compute_actions=False, used_for_training=False)
    policy.view_requirements.setdefault("new_obs", view).recorded = True


class _In:
    """Whether a policy is one of those (an object, so that it can be pickled)."""

    def __init__(self, ids: Container[str]) -> None:
        self.ids = ids

    def __call__(self, policy_id: str, batch: Any = None) -> bool:
        return policy_id in self.ids


def own_settings(own: Any, config: Any, worker_index: int, policy_id: str) -> Any:
    """The configuration of one policy in one worker: it knows the worker's number, and its own id, by which its seed goes."""
    if own is None:
        own = {}
    if isinstance(own, Mapping) and not hasattr(own, "copy_frozen") and isinstance(own, dict):
        merged = config.copy(copy_frozen=False)
        merged.update_from_dict({key: value for key, value in own.items() if not key.startswith("__")})
    else:
        merged = own.copy(copy_frozen=False)
    object.__setattr__(merged, "worker_index", worker_index)
    object.__setattr__(merged, "__policy_id", policy_id)
    return merged


def _new_map(config: Any) -> PolicyMap:
    return PolicyMap(
        capacity=config.policy_map_capacity, policy_states_are_swappable=config.policy_states_are_swappable
    )


def _of_connectors(policy: Any, default: Filter) -> Filter:
    """The filter of a policy's connectors."""
    from aktis.rllib.connectors.agent.synced_filter import SyncedFilterAgentConnector

    found = policy.agent_connectors[SyncedFilterAgentConnector] if policy.agent_connectors is not None else []
    return found[0].filter if found else default
