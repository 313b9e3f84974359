"""Connectors that a user has put into a policy's pipelines, in the loop of the episode sampler.

The default pipelines do what the sampler does by itself, for whole batches; they are not called. As soon as a pipeline holds other
connectors than the default ones, all of it is called, agent by agent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["OwnConnectors"]


class OwnConnectors:
    """The pipelines of one policy.

    Args:
        policy: Has `agent_connectors` and `action_connectors` (or None).
    """

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._defaults: tuple[list[str], list[str]] | None = None
        self.agent: Any = None
        self.action: Any = None
        self.refresh()

    def refresh(self) -> None:
        """Look again whether somebody has changed them."""
        policy = self._policy
        agent, action = getattr(policy, "agent_connectors", None), getattr(policy, "action_connectors", None)
        if agent is None and action is None:
            self.agent = self.action = None
            return
        if self._defaults is None:
            self._defaults = _defaults_of(policy)
        self.agent = agent if agent is not None and _names(agent) != self._defaults[0] else None
        self.action = action if action is not None and _names(action) != self._defaults[1] else None

    def any(self) -> bool:
        """Whether one of them is not the default one, or was changed after it was made."""
        pipelines = (getattr(self._policy, "agent_connectors", None), getattr(self._policy, "action_connectors", None))
        changed = any(getattr(pipeline, "changed", False) for pipeline in pipelines)
        return changed or self.agent is not None or self.action is not None

    def observe(self, env_id: Any, agent_id: Any, data: dict[str, Any]) -> tuple[Any, float] | None:
        """What an agent observed, and its reward, as connectors have it; None if they keep it back."""
        from aktis.rllib.utils.typing import AgentConnectorDataType

        reward = float(data["rewards"])
        out = self.agent([AgentConnectorDataType(env_id, agent_id, data)])
        if not out:
            return None
        result = out[0].data
        if hasattr(result, "sample_batch"):
            row, kept = result.sample_batch["obs"][0], result.raw_dict
        else:
            row, kept = result.get("new_obs", result.get("obs")), result
        changed = kept.get("rewards") if isinstance(kept, dict) else None
        return np.array(row), reward if changed is None else float(changed)

    def act(
        self,
        env_id: Any,
        agent_id: Any,
        given: dict[str, Any],
        output: tuple[Any, list[Any], dict[str, Any]],
        for_env: Any,
    ) -> Any:
        """The action for the environment; and agent connectors are told what the policy decided."""
        from aktis.rllib.utils.typing import ActionConnectorDataType

        decided = ActionConnectorDataType(env_id, agent_id, given, output)
        if self.action is not None:
            for_env = self.action(decided).output[0]
        if self.agent is not None:
            self.agent.on_policy_output(ActionConnectorDataType(env_id, agent_id, given, output))
        return for_env

    def reset(self, env_id: Any) -> None:
        """An episode of that environment has ended."""
        for pipeline in (self.agent, self.action):
            if pipeline is not None:
                pipeline.reset(env_id)


def _names(pipeline: Any) -> list[str]:
    return [type(connector).__name__ for connector in getattr(pipeline, "connectors", [pipeline])]


def _defaults_of(policy: Any) -> tuple[list[str], list[str]]:
    from aktis.rllib.connectors.connector import ConnectorContext
    from aktis.rllib.connectors.util import get_action_connectors_from_config, get_agent_connectors_from_config

    context = ConnectorContext.from_policy(policy)
    agent = get_agent_connectors_from_config(context, policy.config)
    return _names(agent), _names(get_action_connectors_from_config(context, policy.config))
