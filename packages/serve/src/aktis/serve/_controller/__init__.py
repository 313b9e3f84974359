"""The controller: which replicas there should be, and that there are."""

from __future__ import annotations

from typing import Any

from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE

MAX_CONCURRENCY = 1_000_000  # one listen() of each process waits in it all the time


def get_or_create_controller() -> Any:
    """A handle of this session's controller, which is started if there is none. Several may call at the same time."""
    import aktis
    from aktis.serve._controller.controller_host import ControllerHost
    from aktis.serve._controller.nodes import alive_nodes

    options: dict[str, Any] = {
        "name": CONTROLLER_NAME,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": MAX_CONCURRENCY,
        "num_cpus": 0,
        "get_if_exists": True,
    }
    nodes = alive_nodes()
    if len(nodes) > 1:
        from aktis.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # The journal is in the head node's session folder; and without that node there is no cluster.
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(nodes[0], soft=False)
    actor_class: Any = aktis.remote(ControllerHost)
    return actor_class.options(**options).remote()
