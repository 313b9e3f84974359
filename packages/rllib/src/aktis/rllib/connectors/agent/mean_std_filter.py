"""Observations brought to mean 0 and deviation 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.connectors.agent.synced_filter import SyncedFilterAgentConnector
from aktis.rllib.connectors.connector import ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.filter import ConcurrentMeanStdFilter, Filter, MeanStdFilter
from aktis.rllib.utils.typing import AgentConnectorDataType

__all__ = ["ConcurrentMeanStdObservationFilterAgentConnector", "MeanStdObservationFilterAgentConnector"]


class MeanStdObservationFilterAgentConnector(SyncedFilterAgentConnector):
    """A :class:`MeanStdFilter`, as a connector. Its statistics go on only in training.

    Args:
        ctx: Of the policy.
        demean: Whether the mean is taken away.
        destd: Whether it is divided by the deviation.
        clip: The result is kept in [-clip, clip].
    """

    _filter_class: type[MeanStdFilter] = MeanStdFilter

    def __init__(
        self, ctx: ConnectorContext, demean: bool = True, destd: bool = True, clip: float | None = 10.0
    ) -> None:
        super().__init__(ctx)
        self.filter: Filter = self._filter_class(ctx.observation_space.shape, demean, destd, clip)

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """Filter what is there of ``obs`` and ``new_obs``."""
        data = ac_data.data
        for key in ("obs", "new_obs"):
            if key in data:
                data[key] = self.filter(data[key], update=self._is_training)
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name, parameters and statistics, in lists of numbers."""
        return type(self).__name__, _listed(self.filter.to_state())

    @classmethod
    def from_state(cls, ctx: ConnectorContext, params: Any) -> MeanStdObservationFilterAgentConnector:
        """What :meth:`to_state` wrote down."""
        made = cls(ctx)
        made.filter = Filter.from_state(params)
        return made


class ConcurrentMeanStdObservationFilterAgentConnector(MeanStdObservationFilterAgentConnector):
    """The same, for several threads at a time."""

    _filter_class = ConcurrentMeanStdFilter


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


for _cls in (MeanStdObservationFilterAgentConnector, ConcurrentMeanStdObservationFilterAgentConnector):
    register_connector(_cls.__name__, _cls)
