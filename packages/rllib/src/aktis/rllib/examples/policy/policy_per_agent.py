"""Which agent has which policy, as an object that files of YAML can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PolicyPerAgent"]


class PolicyPerAgent:
    """A ``policy_mapping_fn``: each agent has a policy of its own, or that which a table says.

    In YAML::

        multiagent:
          policies: [policy_0, policy_1]
          policy_mapping_fn:
            type: aktis.rllib.examples.policy.policy_per_agent.PolicyPerAgent

    Args:
        prefix: Comes before the agent's id in the id of its policy.
        policies: The policies of agents whose policy is called otherwise, by ``str(agent_id)``.
    """

    def __init__(self, prefix: str = "policy_", policies: Mapping[str, str] | None = None) -> None:
        self.prefix = prefix
        self.policies = dict(policies or {})

    def __call__(self, agent_id: Any, episode: Any = None, worker: Any = None, **kwargs: Any) -> str:
        return self.policies.get(str(agent_id), f"{self.prefix}{agent_id}")
