"""How many CPUs there are for a plan."""

from __future__ import annotations

import aktis


def cpu_count() -> int:
    """CPUs of the session, or those that this process may use where there is none yet."""
    if aktis.is_initialized():
        return max(1, int(aktis.cluster_resources().get("CPU", 1)))
    from aktis.util.processes import count_cpus

    return count_cpus()
