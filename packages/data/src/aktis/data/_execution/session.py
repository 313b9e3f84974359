"""What an execution may use of this machine or cluster."""

from __future__ import annotations

from dataclasses import replace

import aktis
from aktis.data._execution.brain import Limits
from aktis.data.context import DatasetContext


def ensure() -> None:
    """Start a session, if there is none."""
    if not aktis.is_initialized():
        aktis.init()  # workers are forked with what we need: see aktis.data.__worker_modules__


def free_cpus() -> float:
    """CPUs of the session that nobody holds now."""
    return float(aktis.available_resources().get("CPU", 0.0))


_crowded_job: str | None = None  # the job in which others were found to keep all CPUs


def note_crowded() -> None:
    """Others keep all CPUs of this session: later executions need not find that out again."""
    global _crowded_job
    _crowded_job = aktis.get_runtime_context().get_job_id()


def is_crowded() -> bool:
    """Whether others kept all CPUs when we last looked closely, and seem to do so still."""
    return _crowded_job == aktis.get_runtime_context().get_job_id() and free_cpus() < 1


def starved(names: set[str]) -> bool:
    """Whether actors keep all CPUs, and no task of one of these names runs. Asks all processes: for rare occasions.

    Tasks of others end some day, and workers that are only starting are no reason either.
    """
    if free_cpus() >= 1:
        return False
    from aktis.util import state

    if not any(actor.state == "ALIVE" for actor in state.list_actors()):
        return False
    return not any(
        task.state == "RUNNING" for name in names for task in state.list_tasks(filters=[("name", "=", name)])
    )


def fitted(context: DatasetContext, budget: int, cpus: float) -> DatasetContext:
    """The context for an execution with so much memory: several blocks per CPU must fit, with room to spare."""
    most = max(context.target_min_block_size, int(budget / (4 * cpus)))
    if most >= context.target_max_block_size and most >= context.read_task_size:
        return context
    return replace(
        context,
        target_max_block_size=min(context.target_max_block_size, most),
        read_task_size=min(context.read_task_size, most),
        default_batch_bytes=min(context.default_batch_bytes, most),
    )


def remote_limits(context: DatasetContext) -> Limits:
    """Limits of an execution in workers."""
    options = context.execution_options
    resources = aktis.cluster_resources()
    cpus = options.resource_limits.cpu or max(1.0, resources.get("CPU", 1.0))
    budget = options.resource_limits.object_store_memory
    if budget is None:
        # More than a few blocks per CPU in flight gains nothing, and leaves less of the store for what must be kept.
        wanted = max(256 << 20, int(4 * cpus * context.target_max_block_size))
        budget = min(resources.get("object_store_memory", 1 << 30) / 2, wanted)
    return Limits(cpus=cpus, budget=int(budget), ordered=options.preserve_order, max_errored=context.max_errored_blocks)


def local_limits(context: DatasetContext) -> Limits:
    """Limits of an execution in the driver: one task at a time."""
    return Limits(
        cpus=1.0,
        ahead=0,
        budget=1 << 40,
        ordered=context.execution_options.preserve_order,
        max_errored=context.max_errored_blocks,
    )
