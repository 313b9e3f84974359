"""Agent connectors one after the other."""

from __future__ import annotations

from typing import Any

from aktis.rllib.connectors.connector import AgentConnector, Connector, ConnectorContext, ConnectorPipeline
from aktis.rllib.connectors.registry import get_connector, register_connector
from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType

__all__ = ["AgentConnectorPipeline"]


class AgentConnectorPipeline(ConnectorPipeline, AgentConnector):
    """A connector made of connectors."""

    def __init__(self, ctx: ConnectorContext, connectors: list[Connector]) -> None:
        AgentConnector.__init__(self, ctx)
        ConnectorPipeline.__init__(self, ctx, connectors)

    def reset(self, env_id: Any) -> None:
        """An episode of that environment has ended."""
        for connector in self.connectors:
            if isinstance(connector, AgentConnector):
                connector.reset(env_id)

    def on_policy_output(self, output: ActionConnectorDataType) -> None:
        """The policy has decided."""
        for connector in self.connectors:
            if isinstance(connector, AgentConnector):
                connector.on_policy_output(output)

    def __call__(self, acd_list: list[AgentConnectorDataType]) -> list[AgentConnectorDataType]:
        """Through all of them."""
        for connector in self.connectors:
            acd_list = connector(acd_list)  # type: ignore[operator]
        return acd_list

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters of each."""
        return type(self).__name__, [list(connector.to_state()) for connector in self.connectors]

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> AgentConnectorPipeline:
        """What :meth:`to_state` wrote down."""
        return AgentConnectorPipeline(ctx, [get_connector(name, ctx, own) for name, own in params])


register_connector(AgentConnectorPipeline.__name__, AgentConnectorPipeline)
