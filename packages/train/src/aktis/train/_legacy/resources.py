"""What each worker gets when the user does not say."""

from __future__ import annotations

import logging
import math

__all__ = ["SMALLEST_SHARE", "cpus_per_worker", "share_of_cpus"]

logger = logging.getLogger(__name__)

SMALLEST_SHARE = 0.0001
"""The smallest part of a resource that can be asked for (the core counts in ten thousandths)."""


def cpus_per_worker(num_workers: int, cpus: float) -> float:
    """One CPU for each worker; where there are fewer, equal parts of them, rounded down so that all fit; 0 without any."""
    if cpus >= num_workers:
        return 1.0
    return math.floor(cpus / num_workers / SMALLEST_SHARE + 1e-6) * SMALLEST_SHARE


def share_of_cpus(num_workers: int, warn: bool = True) -> dict[str, float] | None:
    """The resources of a worker of this cluster, where it has too few CPUs for one each. None: it has enough.

    Starts a session if there is none.
    """
    import aktis

    if not aktis.is_initialized():
        aktis.init()
    cpus = aktis.cluster_resources().get("CPU", 0.0)
    share = cpus_per_worker(num_workers, cpus)
    if share == 1.0:
        return None
    if warn:
        logger.warning(
            "%d workers were asked for, but the cluster has %g CPUs: each worker takes %g of them, so that they run at the same "
            "time and share the CPUs. With resources_per_worker={'CPU': 1} they would wait for a larger cluster",
            num_workers,
            cpus,
            share,
        )
    return {"CPU": share}
