"""Connectors by name, for those that are written down and made again."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.connectors.connector import Connector, ConnectorContext

__all__ = ["get_connector", "register_connector"]

_connectors: dict[str, type[Connector]] = {}

# Modules that register connectors when they are imported.
_OURS = (
    "aktis.rllib.connectors.agent.clip_reward",
    "aktis.rllib.connectors.agent.env_sampling",
    "aktis.rllib.connectors.agent.lambdas",
    "aktis.rllib.connectors.agent.mean_std_filter",
    "aktis.rllib.connectors.agent.obs_preproc",
    "aktis.rllib.connectors.agent.pipeline",
    "aktis.rllib.connectors.agent.state_buffer",
    "aktis.rllib.connectors.agent.view_requirement",
    "aktis.rllib.connectors.action.clip",
    "aktis.rllib.connectors.action.immutable",
    "aktis.rllib.connectors.action.lambdas",
    "aktis.rllib.connectors.action.normalize",
    "aktis.rllib.connectors.action.pipeline",
)


def register_connector(name: str, cls: type[Connector]) -> None:
    """Give a connector's class the name under which it is written down.

    Raises:
        TypeError: it is no subclass of Connector.
    """
    from aktis.rllib.connectors.connector import Connector

    if not (isinstance(cls, type) and issubclass(cls, Connector)):
        raise TypeError(f"register_connector({name!r}, ...) needs a subclass of Connector, not {cls!r}")
    _connectors[name] = cls


def get_connector(name: str, ctx: ConnectorContext, params: Any = None) -> Connector:
    """The connector that was written down as ``(name, params)``.

    Raises:
        NameError: nobody registered that name.
    """
    if name not in _connectors:
        for module in _OURS:
            importlib.import_module(module)
    cls = _connectors.get(name)
    if cls is None:
        import difflib

        close = difflib.get_close_matches(name, list(_connectors), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise NameError(
            f"there is no connector {name!r}{hint} Register its class with register_connector({name!r}, cls) before it is used"
        )
    return cls.from_state(ctx, params)
