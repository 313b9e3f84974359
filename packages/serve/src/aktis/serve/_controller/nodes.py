"""The machines of the session."""

from __future__ import annotations

import aktis


def alive_nodes() -> list[str]:
    """Ids of the nodes that live; the head node first."""
    nodes = [node for node in aktis.nodes() if node.get("Alive", True)]
    nodes.sort(key=lambda node: "node:__internal_head__" not in (node.get("Resources") or {}))
    return [str(node["NodeID"]) for node in nodes]
