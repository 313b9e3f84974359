"""A connector that changes nothing: it marks where the data of an environment come in."""

from __future__ import annotations

from typing import Any

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import AgentConnectorDataType

__all__ = ["EnvSamplingAgentConnector"]


class EnvSamplingAgentConnector(AgentConnector):
    """Passes everything on."""

    def __init__(self, ctx: ConnectorContext, sign: bool = False, limit: float | None = None) -> None:
        super().__init__(ctx)

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """The same."""
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters."""
        return type(self).__name__, {}

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> EnvSamplingAgentConnector:
        """What :meth:`to_state` wrote down."""
        return EnvSamplingAgentConnector(ctx)


register_connector(EnvSamplingAgentConnector.__name__, EnvSamplingAgentConnector)
