"""On which nodes blocks and actors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import aktis

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle


def nodes_of_blocks(handles: Sequence[BlockHandle]) -> list[list[str]]:
    """Hexadecimal ids of the nodes that have each block."""
    from aktis.experimental import get_object_locations

    refs = [handle.where for handle in handles if not isinstance(handle.where, pa.Table)]
    found: Any = get_object_locations(refs) if refs else {}
    return [
        [] if isinstance(handle.where, pa.Table) else list((found.get(handle.where) or {}).get("node_ids", []))
        for handle in handles
    ]


def nodes_of_actors(actors: Sequence[Any]) -> list[str | None]:
    """Hexadecimal ids of the nodes that actors run on; None where that is not known. An id may be given for an actor."""
    from aktis.util.state import get_actor

    nodes: list[str | None] = []
    for actor in actors:
        if isinstance(actor, str):
            nodes.append(actor)
            continue
        id = getattr(actor, "_actor_id", None)
        state: Any = get_actor(id.hex()) if id is not None and aktis.is_initialized() else None
        nodes.append(None if state is None else state.get("node_id"))
    return nodes
