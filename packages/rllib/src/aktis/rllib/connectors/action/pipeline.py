"""Action connectors one after the other."""

from __future__ import annotations

from typing import Any

from aktis.rllib.connectors.connector import ActionConnector, Connector, ConnectorContext, ConnectorPipeline
from aktis.rllib.connectors.registry import get_connector, register_connector
from aktis.rllib.utils.typing import ActionConnectorDataType

__all__ = ["ActionConnectorPipeline"]


class ActionConnectorPipeline(ConnectorPipeline, ActionConnector):
    """A connector made of connectors."""

    def __init__(self, ctx: ConnectorContext, connectors: list[Connector]) -> None:
        ActionConnector.__init__(self, ctx)
        ConnectorPipeline.__init__(self, ctx, connectors)

    def reset(self, env_id: Any) -> None:
        """An episode of that environment has ended."""
        for connector in self.connectors:
            if isinstance(connector, ActionConnector):
                connector.reset(env_id)

    def __call__(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
        """Through all of them."""
        for connector in self.connectors:
            ac_data = connector(ac_data)  # type: ignore[operator]
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters of each."""
        return type(self).__name__, [list(connector.to_state()) for connector in self.connectors]

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> ActionConnectorPipeline:
        """What :meth:`to_state` wrote down."""
        return ActionConnectorPipeline(ctx, [get_connector(name, ctx, own) for name, own in params])


register_connector(ActionConnectorPipeline.__name__, ActionConnectorPipeline)
