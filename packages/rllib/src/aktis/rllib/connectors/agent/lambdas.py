"""Agent connectors out of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tree

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import AgentConnectorDataType, AgentConnectorsOutput

__all__ = ["FlattenDataAgentConnector", "flatten_data", "register_lambda_agent_connector"]


def register_lambda_agent_connector(name: str, fn: Callable[[Any], Any]) -> type[AgentConnector]:
    """A connector's class out of a function of an agent's data.

    Args:
        name: Under which it is written down.
        fn: ``fn(data)`` returns what goes on instead of ``data``.
    """

    class LambdaAgentConnector(AgentConnector):
        """Calls a function."""

        def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
            return AgentConnectorDataType(ac_data.env_id, ac_data.agent_id, fn(ac_data.data))

        def to_state(self) -> tuple[str, Any]:
            return name, None

        @staticmethod
        def from_state(ctx: ConnectorContext, params: Any) -> AgentConnector:
            return LambdaAgentConnector(ctx)

    LambdaAgentConnector.__name__ = LambdaAgentConnector.__qualname__ = name
    register_connector(name, LambdaAgentConnector)
    return LambdaAgentConnector


def flatten_data(data: AgentConnectorsOutput) -> AgentConnectorsOutput:
    """Structured columns of the training data as one array each (not ``infos``, ``actions`` and states)."""
    raw = data.raw_dict
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if key in ("infos", "actions") or key.startswith("state_out_") or not isinstance(value, (dict, tuple)):
            flat[key] = value
        else:
            flat[key] = np.concatenate([np.asarray(leaf).reshape(-1) for leaf in tree.flatten(value)])
    return AgentConnectorsOutput(flat, data.sample_batch)


FlattenDataAgentConnector = register_lambda_agent_connector("FlattenDataAgentConnector", flatten_data)
