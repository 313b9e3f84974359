"""Who and where: named actors and the address of this node."""

from __future__ import annotations

from typing import Any

__all__ = ["get_node_ip_address", "list_named_actors"]


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of the living named actors of this namespace, as strings.

    With ``all_namespaces``, dicts ``{"name": ..., "namespace": ...}`` of all of them.
    """
    from aktis import _session

    actors = _session.require_engine().list_named_actors(all_namespaces)
    return list(actors) if all_namespaces else [actor["name"] for actor in actors]


def get_node_ip_address() -> str:
    """The address of the node that this process runs on."""
    from aktis import _session

    engine = _session.require_engine()
    own = engine.context().get("node_id")
    for node in engine.request("nodes"):
        if own in (node.get("NodeID"), node.get("node_id")):
            return str(node.get("NodeManagerAddress") or node.get("address") or "127.0.0.1")
    return "127.0.0.1"
