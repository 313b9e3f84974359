"""A cluster of Ray on this machine, for tests of the Ray engine: one at a time, kept while its capacity is the wanted one."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

GIVEN = "AKTIS_TEST_RAY_ADDRESS"
"""Variable with the address of a cluster that runs already, and has ``GIVEN_CAPACITY`` on its nodes together."""
GIVEN_CAPACITY = {"num_cpus": 4, "resources": {"widget": 2}}
LEAST = {"num_cpus": 1}
"""What tests ask for to whom it is all the same."""
_STORE = 200 << 20
_running: list[tuple[dict[str, Any], Any]] = []


def address_of(capacity: dict[str, Any]) -> str:
    """The address, for ``aktis.init``, of a cluster whose only node has this capacity."""
    if GIVEN in os.environ:
        if capacity not in (GIVEN_CAPACITY, LEAST, {}):
            pytest.skip(f"needs a cluster of its own, with {capacity}")
        return os.environ[GIVEN]
    if _running and _running[0][0] == capacity:
        return f"ray+{_running[0][1].address}"
    stop()
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    arguments = {"object_store_memory": _STORE, "include_dashboard": False, "dashboard_port": _free_port(), **capacity}
    cluster = Cluster(initialize_head=True, head_node_args=arguments, shutdown_at_exit=True)
    _running.append((capacity, cluster))
    return f"ray+{cluster.address}"


def _free_port() -> int:
    """Ray looks at the port of its dashboard even without one, and the usual one may be another cluster's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop() -> None:
    """End the cluster, if there is one."""
    while _running:
        _running.pop()[1].shutdown()
