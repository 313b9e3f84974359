"""A connector with statistics that are brought together over workers."""

from __future__ import annotations

from typing import Any

from aktis.rllib.connectors.connector import AgentConnector
from aktis.rllib.utils.filter import Filter

__all__ = ["SyncedFilterAgentConnector"]


class SyncedFilterAgentConnector(AgentConnector):
    """The interface of filters, as a connector; ``self.filter`` does the work."""

    filter: Filter

    def apply_changes(self, other: Any, *args: Any, **kwargs: Any) -> None:
        """Add what is in the buffer of another one (or of a filter)."""
        self.filter.apply_changes(getattr(other, "filter", other), *args, **kwargs)

    def copy(self) -> Filter:
        """A copy of the filter."""
        return self.filter.copy()

    def sync(self, other: Any) -> None:
        """Be as another one (or a filter) is."""
        self.filter.sync(getattr(other, "filter", other))

    def reset_state(self) -> None:
        """Forget what is in the buffer."""
        self.filter.reset_buffer()

    reset_buffer = reset_state

    def as_serializable(self) -> Filter:
        """A copy of the filter that can be sent to another process."""
        return self.filter.as_serializable()
