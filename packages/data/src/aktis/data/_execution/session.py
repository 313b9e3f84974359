"""What an execution may use of this machine or cluster."""

from __future__ import annotations

import os

import aktis
from aktis.data._execution.brain import Limits
from aktis.data.context import DatasetContext

WORKER_MODULES = ("pyarrow.dataset", "pandas", "aktis.data._execution.worker")
"""Imported once, in the process that workers are forked from, when we start the session ourselves."""


def ensure() -> None:
    """Start a session, if there is none."""
    if not aktis.is_initialized():
        aktis.init(preload=list(WORKER_MODULES))


def cpu_count() -> float:
    """CPUs of the session, or of this process where there is none yet."""
    if aktis.is_initialized():
        return max(1.0, aktis.cluster_resources().get("CPU", 1.0))
    return float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def remote_limits(context: DatasetContext) -> Limits:
    """Limits of an execution in workers."""
    options = context.execution_options
    resources = aktis.cluster_resources()
    cpus = options.resource_limits.cpu or max(1.0, resources.get("CPU", 1.0))
    budget = options.resource_limits.object_store_memory
    if budget is None:
        # More than a few blocks per CPU in flight gains nothing, and leaves less of the store for what must be kept.
        wanted = max(512 << 20, int(4 * cpus * context.target_max_block_size))
        budget = min(resources.get("object_store_memory", 1 << 30) / 2, wanted)
    return Limits(
        cpus=cpus, budget=int(budget), ordered=options.preserve_order, max_errored=context.max_errored_blocks
    )


def local_limits(context: DatasetContext) -> Limits:
    """Limits of an execution in the driver: one task at a time."""
    return Limits(
        cpus=1.0, ahead=0, budget=1 << 40, ordered=context.execution_options.preserve_order, max_errored=context.max_errored_blocks
    )
