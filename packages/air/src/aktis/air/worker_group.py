"""Groups of workers that are alike: actors in the order of their ranks, in which any function can be run.

::

    with WorkerGroup(4, {"CPU": 1}) as group:
        group.execute(socket.gethostname)                  # in all of them, one result each
        group.execute_single(0, os.getpid)                 # in the first
        group.execute_ranked(lambda rank, n: rank / n, 4)  # the rank comes first

Ranks go by machine: the workers of a machine follow each other, those of the machine that made the group first.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aktis
from aktis.air.exceptions import WorkerStartError
from aktis.air.placement import actor_options
from aktis.exceptions import AktisActorError

if TYPE_CHECKING:
    from aktis import ObjectRef
    from aktis.util.placement_group import PlacementGroup

__all__ = ["Placement", "Worker", "WorkerGroup", "WorkerHost", "WorkerMetadata"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerMetadata:
    """Where a worker is.

    Attributes:
        node_id: Id of its node (hexadecimal).
        node_ip: Address of its machine.
        hostname: Name of its machine.
        pid: Its process.
        gpu_ids: The GPUs that it was given, as CUDA counts them on its machine.
    """

    node_id: str
    node_ip: str
    hostname: str
    pid: int
    gpu_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worker:
    """One worker of a group."""

    actor: Any
    metadata: WorkerMetadata


@dataclass(frozen=True)
class Placement:
    """Where a worker is to go: a bundle of a placement group."""

    group: PlacementGroup
    bundle_index: int


class WorkerHost:
    """What is in a worker: runs functions. Groups with more to do have a subclass of it."""

    def execute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``function`` here."""
        return function(*args, **kwargs)

    def metadata(self) -> WorkerMetadata:
        """Where this is."""
        context = aktis.get_runtime_context()
        return WorkerMetadata(
            context.get_node_id(), _node_ip(), os.uname().nodename, os.getpid(), tuple(map(str, aktis.get_gpu_ids()))
        )


class WorkerGroup:
    """Workers that are alike, made at once and stopped together.

    Args:
        num_workers: How many.
        resources_per_worker: Resources of each: ``{"CPU": 1, "GPU": 1, ...}``.
        placements: A bundle for each worker; None: wherever there is room.
        actor_cls: What is in each worker, beside :class:`WorkerHost`.
        actor_args: Its arguments.
        actor_kwargs: Its arguments by name.
        env: Environment variables of the workers' processes.
        concurrency_groups: Threads for methods beside the ones that come in turn; see ``aktis.remote``.
        start_timeout_s: Seconds that the workers may take to be there.

    Raises:
        WorkerStartError: they were not there in time, or one died at its start.
        ValueError: fewer than one worker, or another number of placements.
        Exception: what the constructor of ``actor_cls`` raises.
    """

    def __init__(
        self,
        num_workers: int = 1,
        resources_per_worker: Mapping[str, float] | None = None,
        *,
        placements: Sequence[Placement] | None = None,
        actor_cls: type | None = None,
        actor_args: Sequence[Any] = (),
        actor_kwargs: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        concurrency_groups: Mapping[str, int] | None = None,
        start_timeout_s: float = 100.0,
    ) -> None:
        if num_workers < 1:
            raise ValueError(f"a group needs at least one worker, not {num_workers}")
        if placements is not None and len(placements) != num_workers:
            raise ValueError(f"{num_workers} workers need as many placements, not {len(placements)}")
        self._resources = dict({"CPU": 1} if resources_per_worker is None else resources_per_worker)
        self._cls = _host_class(actor_cls)
        self._args = tuple(actor_args)
        self._kwargs = dict(actor_kwargs or {})
        self._env = dict(env or {})
        self._concurrency_groups = dict(concurrency_groups or {})
        self._timeout = start_timeout_s
        self.workers: list[Worker] = []
        """The workers, by rank."""
        self.add_workers(num_workers, placements)

    # -- running functions ------------------------------------------------------------------------

    def execute_async(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[ObjectRef[Any]]:
        """Run ``function(*args, **kwargs)`` in all workers; references of the results, by rank."""
        if len(self.workers) > 1:
            function, args = _shared(function, args)
        return [worker.actor.execute.remote(function, *args, **kwargs) for worker in self.workers]

    def execute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Run ``function(*args, **kwargs)`` in all workers, and wait. What one raises is raised here, at once.

        Returns:
            The results, by rank.
        """
        return gather(self.execute_async(function, *args, **kwargs))

    def execute_ranked(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Run ``function(rank, *args, **kwargs)`` in all workers, and wait."""
        return gather(
            [worker.actor.execute.remote(function, rank, *args, **kwargs) for rank, worker in enumerate(self.workers)]
        )

    def execute_single_async(
        self, worker_index: int, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> ObjectRef[Any]:
        """Run ``function(*args, **kwargs)`` in one worker; a reference of the result."""
        return self.workers[self._checked(worker_index)].actor.execute.remote(function, *args, **kwargs)  # type: ignore[no-any-return]

    def execute_single(self, worker_index: int, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``function(*args, **kwargs)`` in one worker, and wait."""
        return aktis.get(self.execute_single_async(worker_index, function, *args, **kwargs))

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self.workers):
            raise ValueError(f"there is no worker {index}: the group has {len(self.workers)}, counted from 0")
        return index

    # -- the workers -------------------------------------------------------------------------------

    def add_workers(self, num_workers: int, placements: Sequence[Placement] | None = None) -> None:
        """Make more workers, and wait until they are there. Those of one machine are neighbours, so ranks may change."""
        handles = [self._make(placements[index] if placements else None) for index in range(num_workers)]
        deadline = time.monotonic() + self._timeout
        try:
            metadata = gather([handle.metadata.remote() for handle in handles], deadline=deadline)
        except TimeoutError:
            _kill(handles)
            raise WorkerStartError(self._not_started(num_workers)) from None
        except AktisActorError as error:
            _kill(handles)
            if error.actor_init_failed:  # which is no accident
                raise
            raise WorkerStartError(f"one of {num_workers} workers died at its start: {error}") from error
        except BaseException:
            _kill(handles)
            raise
        self.workers = _by_machine([*self.workers, *map(Worker, handles, metadata)])

    def _make(self, placement: Placement | None) -> Any:
        options = actor_options(self._resources)
        if placement is not None:
            from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                placement.group, placement.bundle_index, placement_group_capture_child_tasks=False
            )
        if self._env:
            options["runtime_env"] = {"env_vars": self._env}
        if self._concurrency_groups:
            options["concurrency_groups"] = self._concurrency_groups
        return aktis.remote(**options)(self._cls).remote(*self._args, **self._kwargs)

    def _not_started(self, count: int) -> str:
        free = {name: amount for name, amount in aktis.available_resources().items() if ":" not in name}
        return f"{count} workers with {self._resources} each were not there after {self._timeout:g} s; free in the cluster: {free}"

    def remove_workers(self, worker_indexes: Sequence[int]) -> None:
        """Kill some workers; the others get new ranks."""
        gone = {self._checked(index) for index in worker_indexes}
        _kill([self.workers[index].actor for index in gone])
        self.workers = [worker for index, worker in enumerate(self.workers) if index not in gone]

    def shutdown(self, patience_s: float = 5.0) -> None:
        """Stop all workers: those that are busy have ``patience_s`` seconds to finish, 0 for none. They may be dead."""
        workers, self.workers = self.workers, []
        handles = [worker.actor for worker in workers]
        if patience_s > 0 and handles:
            refs = [handle.__aktis_terminate__.remote() for handle in handles]
            aktis.wait(refs, num_returns=len(refs), timeout=patience_s)
        _kill(handles)

    def __len__(self) -> int:
        return len(self.workers)

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"WorkerGroup({len(self.workers)} workers with {self._resources} each)"


def gather(refs: Sequence[ObjectRef[Any]], deadline: float | None = None) -> list[Any]:
    """The values of all references, in their order; the first error is raised as soon as it is there, whoever else is still busy.

    Args:
        refs: What to wait for.
        deadline: Until when, by ``time.monotonic``.

    Raises:
        TimeoutError: not all are there by then.
    """
    values: dict[ObjectRef[Any], Any] = {}
    waiting = list(refs)
    while waiting:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready, waiting = aktis.wait(waiting, num_returns=1, timeout=timeout)
        if not ready:
            raise TimeoutError(f"{len(waiting)} of {len(refs)} workers have not answered")
        for ref in ready:
            values[ref] = aktis.get(ref)
    return [values[ref] for ref in refs]


def _host_class(actor_cls: type | None) -> type:
    if actor_cls is None or issubclass(actor_cls, WorkerHost):
        return actor_cls or WorkerHost
    return type(actor_cls.__name__, (actor_cls, WorkerHost), {"__module__": actor_cls.__module__})


def _by_machine(workers: list[Worker]) -> list[Worker]:
    """The workers of a machine after each other, those of this one first, else in their order."""
    here = aktis.get_runtime_context().get_node_id()
    order: dict[str, int] = {here: 0}
    for worker in workers:
        order.setdefault(worker.metadata.node_id, len(order))
    return sorted(workers, key=lambda worker: order[worker.metadata.node_id])


def _shared(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """What all workers get, pickled once if it is more than a name."""
    if getattr(function, "__closure__", None) is None and not args:
        return function, args
    return aktis.put(function), args


def _kill(handles: Sequence[Any]) -> None:
    for handle in handles:
        try:
            aktis.kill(handle)
        except Exception as error:  # its node, or the session, is gone
            logger.debug("a worker could not be killed: %s", error)


def _node_ip() -> str:
    from aktis.util import get_node_ip_address

    return str(get_node_ip_address())
