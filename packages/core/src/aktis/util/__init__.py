"""Tools on top of tasks and actors: queues, pools, placement groups, progress, metrics, state.

Everything here uses the public API only. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

# Eager, because the function must win over the submodule of the same name, whichever is imported first.
from aktis.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

if TYPE_CHECKING:
    from aktis.util import (
        accelerators,
        collective,
        metrics,
        scheduling_strategies,
        state,
    )
    from aktis.util.actor_pool import ActorPool
    from aktis.util.check_serialize import inspect_serializability
    from aktis.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
    from aktis.util.helpers import as_completed, map_unordered
    from aktis.util.naming import get_node_ip_address, list_named_actors
    from aktis.util.serialization import deregister_serializer, register_serializer
    from aktis.util.threads import act_for_main_thread

_HOMES = {
    "act_for_main_thread": ".threads",
    "ActorPool": ".actor_pool",
    "as_completed": ".helpers",
    "deregister_serializer": ".serialization",
    "disable_log_once_globally": ".debug",
    "enable_periodic_logging": ".debug",
    "get_node_ip_address": ".naming",
    "inspect_serializability": ".check_serialize",
    "list_named_actors": ".naming",
    "log_once": ".debug",
    "map_unordered": ".helpers",
    "register_serializer": ".serialization",
}
_SUBMODULES = frozenset({"accelerators", "collective", "metrics", "scheduling_strategies", "state"})

__all__ = [
    "ActorPool",
    "accelerators",
    "act_for_main_thread",
    "as_completed",
    "collective",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "metrics",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
    "scheduling_strategies",
    "state",
]

__getattr__, _ = lazy_names(__name__, _HOMES, submodules=_SUBMODULES)


def __dir__() -> list[str]:
    return __all__
