"""How many scoring workers there are, what they reserve, and how they get the checkpoint."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from aktis.train._predict.scoring import LocalCheckpoint

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint


def remote_args(num_cpus: float | None, num_gpus: float | None, others: dict[str, Any]) -> dict[str, Any]:
    """Options of the actors.

    Raises:
        TypeError: a number is none.
        ValueError: a number is negative, or given twice.
    """
    result = dict(others)
    for argument, option, value in (
        ("num_cpus_per_worker", "num_cpus", num_cpus),
        ("num_gpus_per_worker", "num_gpus", num_gpus),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{argument} must be a number, got {value!r}")
        if value < 0:
            raise ValueError(f"{argument} must not be negative, got {value}")
        if others.get(option, value) != value:
            raise ValueError(
                f"{argument}={value} and ray_remote_args[{option!r}]={others[option]!r} contradict each other"
            )
        result[option] = value
    return result


def pool_size(least: int, most: int | None, args: dict[str, Any]) -> tuple[int, int]:
    """The least and the most actors.

    Raises:
        TypeError: a number is no int.
        ValueError: there would be no actor, or ``most`` is less than ``least``.
    """
    for argument, value in (("min_scoring_workers", least), ("max_scoring_workers", most)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"{argument} must be an int, got {value!r}")
        if value is not None and value < 1:
            raise ValueError(f"{argument} must be at least 1, got {value}")
    if most is not None:
        if most < least:
            raise ValueError(f"max_scoring_workers={most} is less than min_scoring_workers={least}")
        return least, most
    return least, max(least, _room(args))


def _room(args: dict[str, Any]) -> int:
    """As many actors as the session has room for, if nothing else runs."""
    resources = _session().cluster_resources()
    cpus = resources.get("CPU", 1.0) // max(args.get("num_cpus") or 1.0, 1e-4)
    if args.get("num_gpus"):
        gpus = resources.get("GPU", 0.0) // args["num_gpus"]
        return int(min(cpus, gpus) if args.get("num_cpus") else gpus)
    return int(cpus)


def job() -> str:
    """Which session this is."""
    return str(_session().get_runtime_context().get_job_id())


def sent(checkpoint: Checkpoint) -> Any:
    """What workers get as the checkpoint: its path if they all see that directory, else a reference to one copy in the store."""
    aktis = _session()
    kind, where = checkpoint.get_internal_representation()
    if kind != "local_path" or not _all_here(aktis.nodes()):
        return aktis.put(checkpoint)
    attributes = {
        name: vars(checkpoint)[name] for name in type(checkpoint)._SERIALIZED_ATTRS if name in vars(checkpoint)
    }
    return LocalCheckpoint(type(checkpoint), where, attributes, checkpoint.get_preprocessor())


def _all_here(nodes: list[dict[str, Any]]) -> bool:
    """Whether all workers are on this machine."""
    return all(node["NodeManagerHostname"] == os.uname().nodename for node in nodes if node.get("Alive", True))


def _session() -> Any:
    import aktis
    import aktis.data  # before a session starts, so that workers are forked with what data sets need

    if not aktis.is_initialized():
        aktis.init()
    return aktis
