"""What the connectors that fit actions into their space have in common."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tree

from aktis.rllib.connectors.connector import ActionConnector, ConnectorContext
from aktis.rllib.evaluation._action_transform import ActionTransform
from aktis.rllib.utils.typing import ActionConnectorDataType

__all__ = ["SpaceConnector"]


class SpaceConnector(ActionConnector):
    """One action through what samplers do with batches of them.

    Args:
        ctx: Of the policy.
    """

    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, ctx: ConnectorContext) -> None:
        super().__init__(ctx)
        self._transform = ActionTransform(ctx.action_space, **self.settings)

    def transform(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
        """The action, inside of its space."""
        action, states, fetches = ac_data.output
        batch = self._transform.batch(tree.map_structure(lambda leaf: np.asarray(leaf)[None], action))
        inside = tree.map_structure(lambda leaf: leaf[0], batch)
        return ActionConnectorDataType(ac_data.env_id, ac_data.agent_id, ac_data.input_dict, (inside, states, fetches))

    def to_state(self) -> tuple[str, Any]:
        """Name and parameters."""
        return type(self).__name__, None

    @classmethod
    def from_state(cls, ctx: ConnectorContext, params: Any) -> ActionConnector:
        """What :meth:`to_state` wrote down."""
        return cls(ctx)
