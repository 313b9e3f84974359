"""The groups that this process is in, and how it gets into them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.util.collective._store import KeyValues, meet
from aktis.util.collective.types import Backend

if TYPE_CHECKING:
    from aktis.util.collective._gloo import GlooGroup

_DEFAULT_TIMEOUT_MS = 30_000

_groups: dict[str, GlooGroup] = {}
_lock = threading.Lock()


def gloo_available() -> bool:
    """Whether torch with gloo can be imported."""
    from aktis.util.collective._gloo import import_torch

    try:
        import_torch()
    except (ModuleNotFoundError, RuntimeError):
        return False
    return True


def nccl_available() -> bool:
    """Always False: groups run over gloo."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether groups can be made with this backend here."""
    return backend.lower().removeprefix("torch_") == Backend.GLOO and gloo_available()


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.GLOO,
    group_name: str = "default",
    gloo_timeout: int = _DEFAULT_TIMEOUT_MS,
) -> None:
    """Join a group; returns when all ``world_size`` members have called this. Called in each of the members.

    ``gloo_timeout``, in milliseconds, bounds this and every operation of the group.
    """
    Backend(backend)
    _check_name(group_name)
    _check_place(world_size, rank)
    if group_name in _groups:
        raise RuntimeError(f"this process is in collective group {group_name!r} already; destroy it first")
    _join(group_name, world_size, rank, gloo_timeout / 1000)


def create_collective_group(
    actors: Sequence[Any],
    world_size: int,
    ranks: Sequence[int],
    backend: str = Backend.GLOO,
    group_name: str = "default",
    gloo_timeout: int = _DEFAULT_TIMEOUT_MS,
) -> None:
    """Declare, from outside, that ``actors`` are a group. Each of them joins at its first operation in it."""
    Backend(backend)
    _check_name(group_name)
    if len(ranks) != len(actors) or len(actors) != world_size:
        raise RuntimeError(
            f"a group of world_size={world_size} needs as many actors and ranks, got {len(actors)} and {len(ranks)}"
        )
    if sorted(ranks) != list(range(world_size)):
        raise RuntimeError(f"ranks must be 0 to {world_size - 1} in any order, each once, got {list(ranks)}")
    declaration = {
        "world_size": world_size,
        "timeout": gloo_timeout / 1000,
        "ranks": {actor._actor_id.hex(): rank for actor, rank in zip(actors, ranks)},
    }
    declarations = KeyValues("declared")
    if declarations.get(group_name) is not None:
        raise RuntimeError(f"collective group {group_name!r} exists already; destroy it first")
    declarations.put(group_name, json.dumps(declaration).encode())


def is_group_initialized(group_name: str = "default") -> bool:
    """Whether this process has joined the group."""
    return group_name in _groups


def get_rank(group_name: str = "default") -> int:
    """The rank of this process in a group; -1 when it is not in it."""
    group = _find(group_name)
    return group.rank if group else -1


def get_collective_group_size(group_name: str = "default") -> int:
    """The number of members of a group that this process is in; -1 when it is not in it."""
    group = _find(group_name)
    return group.world_size if group else -1


def get_group_handle(group_name: str = "default") -> GlooGroup:
    """This process's membership; joins a group that was declared for this actor. RuntimeError when there is none."""
    group = _find(group_name)
    if group is None:
        raise RuntimeError(
            f"this process is not in collective group {group_name!r}: call init_collective_group in it, "
            "or create_collective_group with its actor"
        )
    return group


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group, or, where it was declared from, withdraw the declaration. Does nothing if there is none."""
    _check_name(group_name)
    with _lock:
        group = _groups.pop(group_name, None)
    if group is not None:
        group.close()
    if group is None or group.rank == 0:
        KeyValues("declared").delete(group_name)


def _find(group_name: str) -> GlooGroup | None:
    _check_name(group_name)
    group = _groups.get(group_name)
    if group is not None:
        return group
    actor_id = _facts().get("actor_id")
    found = KeyValues("declared").get(group_name) if actor_id else None
    if found is None:
        return None
    declaration = json.loads(found)
    rank = declaration["ranks"].get(actor_id)
    if rank is None:
        return None
    return _join(group_name, declaration["world_size"], rank, declaration["timeout"])


def _join(group_name: str, world_size: int, rank: int, timeout: float) -> GlooGroup:
    from aktis.util.collective._gloo import GlooGroup, import_torch

    import_torch()  # before others wait for us
    facts = _facts()
    if world_size > 1 and facts.get("engine") == "inline":
        raise RuntimeError(
            "in inline mode members of a collective group can't run at the same time, so a group has one member only"
        )
    with _lock:
        group = _groups.get(group_name)
        if group is None:
            values = meet(group_name, world_size, rank, timeout)
            group = _groups[group_name] = GlooGroup(group_name, world_size, rank, values, timeout, _hostname())
    return group


def _facts() -> dict[str, Any]:
    from aktis import _session

    engine = _session.require_engine()
    return {**engine.context(), "engine": engine.mode}


def _hostname() -> str:
    """The address that the other members reach us at. On one machine nothing but the loopback interface listens."""
    from aktis import _session
    from aktis.util.naming import get_node_ip_address

    alive = [node for node in _session.require_engine().request("nodes") if node.get("Alive", True)]
    return "127.0.0.1" if len(alive) <= 1 else get_node_ip_address()


def _check_name(group_name: Any) -> None:
    if not isinstance(group_name, str) or not group_name:
        raise ValueError(f"the name of a collective group must be a non-empty str, got {group_name!r}")


def _check_place(world_size: Any, rank: Any) -> None:
    if isinstance(world_size, bool) or not isinstance(world_size, int) or world_size < 1:
        raise ValueError(f"world_size must be at least 1, got {world_size!r}")
    if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < world_size:
        raise ValueError(f"rank must be between 0 and {world_size - 1}, got {rank!r}")
