"""What the policy decided last, remembered for each agent until its next observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType

__all__ = ["StateBufferConnector"]


class StateBufferConnector(AgentConnector):
    """Adds the last action, the recurrent state, and what else the policy computed, to an agent's data.

    Args:
        ctx: Of the policy.
        states: What is remembered at first: by environment and agent, (action, states, fetches).
    """

    def __init__(self, ctx: ConnectorContext, states: Any = None) -> None:
        super().__init__(ctx)
        self._initial_states = ctx.initial_states
        self._zero_action = tree.map_structure(lambda leaf: np.zeros_like(np.asarray(leaf)), ctx.action_space.sample())
        self._states: dict[Any, dict[Any, tuple[Any, list[Any], dict[str, Any]]]] = dict(states or {})

    def reset(self, env_id: Any) -> None:
        """An episode has ended: nothing of it is remembered."""
        self._states.pop(env_id, None)

    def on_policy_output(self, output: ActionConnectorDataType) -> None:
        """Remember."""
        self._states.setdefault(output.env_id, {})[output.agent_id] = output.output

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """Add what is remembered; zeros and initial states at the start of an episode."""
        start: tuple[Any, list[Any], dict[str, Any]] = (self._zero_action, self._initial_states, {})
        action, states, fetches = self._states.get(ac_data.env_id, {}).get(ac_data.agent_id, start)
        data = ac_data.data
        data["actions"] = action
        for index, state in enumerate(states):
            data[f"state_out_{index}"] = state
        data.update({key: value for key, value in fetches.items() if key not in data})
        return ac_data

    def to_state(self) -> tuple[str, Any]:
        """Name; what is remembered is of episodes that run, and not written down."""
        return type(self).__name__, None

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> StateBufferConnector:
        """What :meth:`to_state` wrote down."""
        return StateBufferConnector(ctx, params)


register_connector(StateBufferConnector.__name__, StateBufferConnector)
