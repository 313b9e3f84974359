"""Rewards clipped."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import AgentConnectorDataType

__all__ = ["ClipRewardAgentConnector"]


class ClipRewardAgentConnector(AgentConnector):
    """Rewards become their sign, or are kept in [-limit, limit].

    Args:
        ctx: Of the policy.
        sign: Whether they become their sign.
        limit: The greatest absolute value.
    """

    def __init__(self, ctx: ConnectorContext, sign: bool = False, limit: float | None = None) -> None:
        super().__init__(ctx)
        if sign and limit:
            raise ValueError(f"rewards can become their sign, or be limited (to {limit}), not both")
        self.sign = sign
        self.limit = limit

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """Clip the reward, if there is one (after a reset, there is none)."""
        data = ac_data.data
        if data.get("rewards") is None:
            return ac_data
        if self.sign:
            data["rewards"] = np.sign(data["rewards"])
        elif self.limit:
            data["rewards"] = np.clip(data["rewards"], -self.limit, self.limit)
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters."""
        return type(self).__name__, {"sign": self.sign, "limit": self.limit}

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> ClipRewardAgentConnector:
        """What :meth:`to_state` wrote down."""
        return ClipRewardAgentConnector(ctx, **params)


register_connector(ClipRewardAgentConnector.__name__, ClipRewardAgentConnector)
