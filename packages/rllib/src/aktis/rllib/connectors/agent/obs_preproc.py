"""Observations flattened."""

from __future__ import annotations

from typing import Any

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import AgentConnectorDataType

__all__ = ["ObsPreprocessorConnector"]


class ObsPreprocessorConnector(AgentConnector):
    """Observations go through the preprocessor of their space.

    Args:
        ctx: Of the policy; its observation space knows the environment's own as ``original_space``.
    """

    def __init__(self, ctx: ConnectorContext) -> None:
        super().__init__(ctx)
        from aktis.rllib.models.catalog import ModelCatalog

        space = getattr(ctx.observation_space, "original_space", ctx.observation_space)
        self._preprocessor = ModelCatalog.get_preprocessor_for_space(space, ctx.config.get("model", {}))

    def is_identity(self) -> bool:
        """Whether it leaves observations as they are."""
        return type(self._preprocessor).__name__ == "NoPreprocessor"

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """Flatten what is there of ``obs`` and ``new_obs``."""
        data = ac_data.data
        for key in ("obs", "new_obs"):
            if key in data:
                data[key] = self._preprocessor.transform(data[key])
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters."""
        return type(self).__name__, None

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> ObsPreprocessorConnector:
        """What :meth:`to_state` wrote down."""
        return ObsPreprocessorConnector(ctx)


register_connector(ObsPreprocessorConnector.__name__, ObsPreprocessorConnector)
