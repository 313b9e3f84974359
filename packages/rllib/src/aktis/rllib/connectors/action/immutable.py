"""Actions that nobody can change by mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree

from aktis.rllib.connectors.connector import ActionConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import ActionConnectorDataType

__all__ = ["ImmutableActionsConnector"]


class ImmutableActionsConnector(ActionConnector):
    """Makes the arrays of an action read-only: an environment that writes to them would change the training batch."""

    def transform(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
        """The same action, read-only."""
        for leaf in tree.flatten(ac_data.output[0]):
            if isinstance(leaf, np.ndarray) and leaf.flags.writeable:
                leaf.setflags(write=False)
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters."""
        return type(self).__name__, None

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> ImmutableActionsConnector:
        """What :meth:`to_state` wrote down."""
        return ImmutableActionsConnector(ctx)


register_connector(ImmutableActionsConnector.__name__, ImmutableActionsConnector)
