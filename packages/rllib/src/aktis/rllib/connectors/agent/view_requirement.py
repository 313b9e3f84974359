"""From an agent's data to what its policy wants to see."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.connectors.connector import AgentConnector, ConnectorContext
from aktis.rllib.connectors.registry import register_connector
from aktis.rllib.evaluation._action_transform import flatten_actions
from aktis.rllib.evaluation._views import Views
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.typing import AgentConnectorDataType, AgentConnectorsOutput

__all__ = ["ViewRequirementAgentConnector"]


class ViewRequirementAgentConnector(AgentConnector):
    """Makes a batch of one row for the policy: the observation, recurrent states, and earlier steps where it asks for them.

    Args:
        ctx: Of the policy.
    """

    def __init__(self, ctx: ConnectorContext) -> None:
        super().__init__(ctx)
        self._requirements = ctx.view_requirements
        self._initial_states = [np.asarray(state) for state in ctx.initial_states]
        self._space = ctx.action_space
        self._agents: dict[Any, dict[Any, Views]] = {}

    def reset(self, env_id: Any) -> None:
        """An episode has ended: nothing of it is remembered."""
        self._agents.pop(env_id, None)

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """An :class:`AgentConnectorsOutput` in place of the data."""
        data = dict(ac_data.data)
        obs = np.asarray(data["new_obs"] if "new_obs" in data else data["obs"])[None]
        views, first = self._views_of(ac_data.env_id, ac_data.agent_id, obs, data)
        if not first:
            self._push(views, data)
        row = {"obs": obs, **views.inputs(obs)}
        memories = any(view.data.startswith("state_out_") for view in views.views)
        for index, initial in enumerate(self._initial_states if not memories else []):
            state = initial if first else data.get(f"state_out_{index}", initial)
            row[f"state_in_{index}"] = np.asarray(state)[None]
        if self._initial_states:
            row["seq_lens"] = np.ones(1, np.int32)
        views.push("obs", obs)
        output = AgentConnectorsOutput({key: value for key, value in data.items() if key != "obs"}, SampleBatch(row))
        return AgentConnectorDataType(ac_data.env_id, ac_data.agent_id, output)

    def _views_of(self, env_id: Any, agent_id: Any, obs: Any, data: dict[str, Any]) -> tuple[Views, bool]:
        agents = self._agents.setdefault(env_id, {})
        views = agents.get(agent_id)
        if views is not None:
            return views, False
        views = agents[agent_id] = Views(self._requirements, 1)
        views.prepare("obs", obs)
        views.prepare("rewards", np.zeros(1, np.float32))
        views.prepare("actions", self._flat(data.get("actions")))
        for index, state in enumerate(self._initial_states):
            views.prepare(f"state_out_{index}", state[None])
        views.begin(0, obs[0])
        return views, True

    def _push(self, views: Views, data: dict[str, Any]) -> None:
        """The step that led to what is observed now."""
        views.push("rewards", np.array([data.get("rewards") or 0.0], np.float32))
        views.push("actions", self._flat(data.get("actions")))
        for index in range(len(self._initial_states)):
            if f"state_out_{index}" in data:
                views.push(f"state_out_{index}", np.asarray(data[f"state_out_{index}"])[None])

    def _flat(self, action: Any) -> Any:
        import tree

        if action is None:
            action = tree.map_structure(lambda leaf: np.zeros_like(np.asarray(leaf)), self._space.sample())
        return flatten_actions(self._space, tree.map_structure(lambda leaf: np.asarray(leaf)[None], action))

    def to_state(self) -> tuple[str, Any]:
        """Name; what is remembered is of episodes that run, and not written down."""
        return type(self).__name__, None

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> ViewRequirementAgentConnector:
        """What :meth:`to_state` wrote down."""
        return ViewRequirementAgentConnector(ctx)


register_connector(ViewRequirementAgentConnector.__name__, ViewRequirementAgentConnector)
