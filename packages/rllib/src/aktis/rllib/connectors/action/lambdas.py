"""Action connectors out of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tree

from aktis.rllib.connectors.connector import ActionConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import ActionConnectorDataType

__all__ = ["ConvertToNumpyConnector", "register_lambda_action_connector"]


def register_lambda_action_connector(
    name: str, fn: Callable[[Any, list[Any], dict[str, Any]], tuple[Any, list[Any], dict[str, Any]]]
) -> type[ActionConnector]:
    """A connector's class out of a function of what a policy decided.

    Args:
        name: Under which it is written down.
        fn: ``fn(action, states, fetches)`` returns the three that go on instead.
    """

    class LambdaActionConnector(ActionConnector):
        """Calls a function."""

        def transform(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
            if not isinstance(ac_data.output, tuple):
                raise TypeError(f"{name} needs (action, states, fetches), not {ac_data.output!r:.100}")
            return ActionConnectorDataType(ac_data.env_id, ac_data.agent_id, ac_data.input_dict, fn(*ac_data.output))

        def to_state(self) -> tuple[str, Any]:
            return name, None

        @staticmethod
        def from_state(ctx: ConnectorContext, params: Any) -> ActionConnector:
            return LambdaActionConnector(ctx)

    LambdaActionConnector.__name__ = LambdaActionConnector.__qualname__ = name
    register_connector(name, LambdaActionConnector)
    return LambdaActionConnector


def _to_numpy(action: Any, states: list[Any], fetches: dict[str, Any]) -> tuple[Any, list[Any], dict[str, Any]]:
    def convert(value: Any) -> Any:
        if hasattr(value, "detach"):  # a tensor of torch
            return value.detach().cpu().numpy()
        return value.numpy() if hasattr(value, "numpy") else np.asarray(value)

    return tree.map_structure(convert, action), tree.map_structure(convert, states), fetches


ConvertToNumpyConnector = register_lambda_action_connector("ConvertToNumpyConnector", _to_numpy)
