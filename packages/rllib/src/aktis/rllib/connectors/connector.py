"""The interfaces of connectors, and of pipelines of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType

__all__ = [
    "ActionConnector",
    "AgentConnector",
    "Connector",
    "ConnectorContext",
    "ConnectorPipeline",
]


class ConnectorContext:
    """What connectors have to know of a policy.

    Args:
        config: Its configuration.
        initial_states: Its initial recurrent states.
        observation_space: What it observes, after preprocessing (with ``original_space``).
        action_space: What it does.
        view_requirements: What it wants to see.
        is_policy_recurrent: Whether it has states.
    """

    def __init__(
        self,
        config: Any = None,
        initial_states: list[Any] | None = None,
        observation_space: Any = None,
        action_space: Any = None,
        view_requirements: dict[str, Any] | None = None,
        is_policy_recurrent: bool = False,
    ) -> None:
        self.config = config if config is not None else {}
        self.initial_states = initial_states or []
        self.observation_space = observation_space
        self.action_space = action_space
        self.view_requirements = view_requirements or {}
        self.is_policy_recurrent = is_policy_recurrent

    @staticmethod
    def from_policy(policy: Any) -> ConnectorContext:
        """The context of a policy."""
        return ConnectorContext(
            config=policy.config,
            initial_states=policy.get_initial_state(),
            observation_space=policy.observation_space,
            action_space=policy.action_space,
            view_requirements=policy.view_requirements,
            is_policy_recurrent=policy.is_recurrent(),
        )


class Connector:
    """One step on the way between environment and policy.

    Args:
        ctx: What it has to know of the policy.
    """

    def __init__(self, ctx: ConnectorContext) -> None:
        self._is_training = True

    def in_training(self) -> None:
        """What passes is for training: statistics are kept, batches filled."""
        self._is_training = True

    def in_eval(self) -> None:
        """What passes is only acted on."""
        self._is_training = False

    def to_state(self) -> tuple[str, Any]:
        """Its name and parameters (numbers, strings, lists and dicts), from which it can be made again."""
        raise NotImplementedError(f"{type(self).__name__} must define to_state()")

    @staticmethod
    def from_state(ctx: ConnectorContext, params: Any) -> Connector:
        """What :meth:`to_state` wrote down."""
        raise NotImplementedError("a connector must define from_state()")

    def __str__(self) -> str:
        return type(self).__name__


class AgentConnector(Connector):
    """On the way from environment to policy."""

    def reset(self, env_id: Any) -> None:
        """An episode of that environment has ended."""

    def on_policy_output(self, output: ActionConnectorDataType) -> None:
        """The policy has decided."""

    def __call__(self, acd_list: list[AgentConnectorDataType]) -> list[AgentConnectorDataType]:
        """What several agents have experienced, each transformed."""
        if not isinstance(acd_list, (list, tuple)):
            raise TypeError(f"{self} takes a list of AgentConnectorDataType, not {type(acd_list).__name__}")
        return [self.transform(item) for item in acd_list]

    def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
        """What one agent has experienced, transformed (in place or not)."""
        raise NotImplementedError(f"{type(self).__name__} must define transform() or __call__()")


class ActionConnector(Connector):
    """On the way from policy to environment."""

    def reset(self, env_id: Any) -> None:
        """An episode of that environment has ended."""

    def __call__(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
        """What a policy has decided, transformed."""
        return self.transform(ac_data)

    def transform(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
        """What a policy has decided, transformed."""
        raise NotImplementedError(f"{type(self).__name__} must define transform()")


class ConnectorPipeline:
    """Connectors one after the other.

    Args:
        ctx: What they have to know of the policy.
        connectors: They themselves.

    Attributes:
        changed: Whether somebody added or removed connectors after it was made.
    """

    def __init__(self, ctx: ConnectorContext, connectors: Sequence[Connector]) -> None:
        self.connectors: list[Connector] = list(connectors)
        self.changed = False

    def in_training(self) -> None:
        """See :meth:`Connector.in_training`."""
        for connector in self.connectors:
            connector.in_training()

    def in_eval(self) -> None:
        """See :meth:`Connector.in_eval`."""
        for connector in self.connectors:
            connector.in_eval()

    def remove(self, name: str) -> None:
        """Take the connector of a class's name out."""
        del self.connectors[self._index(name)]
        self.changed = True

    def insert_before(self, name: str, connector: Connector) -> None:
        """Put a connector before the one of a class's name."""
        self.connectors.insert(self._index(name), connector)
        self.changed = True

    def insert_after(self, name: str, connector: Connector) -> None:
        """Put a connector behind the one of a class's name."""
        self.connectors.insert(self._index(name) + 1, connector)
        self.changed = True

    def prepend(self, connector: Connector) -> None:
        """Put a connector first."""
        self.connectors.insert(0, connector)
        self.changed = True

    def append(self, connector: Connector) -> None:
        """Put a connector last."""
        self.connectors.append(connector)
        self.changed = True

    def __getitem__(self, key: str | int | type) -> list[Connector]:
        """The connectors of a class, of a class's name, or at an index."""
        if isinstance(key, int):
            return [self.connectors[key]]
        if isinstance(key, str):
            return [connector for connector in self.connectors if type(connector).__name__ == key]
        return [connector for connector in self.connectors if isinstance(connector, key)]

    def _index(self, name: str) -> int:
        names = [type(connector).__name__ for connector in self.connectors]
        if name not in names:
            raise ValueError(f"there is no connector {name!r} in this pipeline: there are {', '.join(names)}")
        return names.index(name)

    def __str__(self) -> str:
        return "\n".join([type(self).__name__, *(f"    {connector}" for connector in self.connectors)])
