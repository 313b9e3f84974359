"""Where functions run: in tasks, or in a pool of actors that keep state (a model, a connection) between calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Union

from aktis.data._plan.logical import Compute

__all__ = ["ActorPoolStrategy", "ComputeStrategy", "TaskPoolStrategy"]


class ComputeStrategy:
    """Base of both."""


class TaskPoolStrategy(ComputeStrategy):
    """In tasks, at most ``size`` of them at a time (None: as many as there are CPUs)."""

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"TaskPoolStrategy(size={size}): size must be at least 1")
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskPoolStrategy) and other.size == self.size

    def __hash__(self) -> int:
        return hash((type(self), self.size))

    def __repr__(self) -> str:
        return f"TaskPoolStrategy(size={self.size})"


class ActorPoolStrategy(ComputeStrategy):
    """In a pool of actors, which grows while all of them are busy.

    ``size`` fixes it; else it has ``min_size`` to ``max_size`` actors (None: as many as help), ``initial_size`` at first.
    Up to ``max_tasks_in_flight_per_actor`` blocks are sent to an actor ahead of their turn.
    """

    def __init__(
        self,
        min_size: int = 1,
        max_size: int | None = None,
        max_tasks_in_flight_per_actor: int | None = 2,
        *,
        size: int | None = None,
        initial_size: int | None = None,
    ) -> None:
        if size is not None:
            min_size, max_size = size, size
        if min_size < 1:
            raise ValueError(f"an actor pool needs at least 1 actor, got min_size={min_size}")
        if max_size is not None and max_size < min_size:
            raise ValueError(f"max_size={max_size} is less than min_size={min_size}")
        if initial_size is not None and not min_size <= initial_size <= (max_size or initial_size):
            raise ValueError(f"initial_size={initial_size} is not between min_size={min_size} and max_size={max_size}")
        if max_tasks_in_flight_per_actor is not None and max_tasks_in_flight_per_actor < 1:
            raise ValueError(f"max_tasks_in_flight_per_actor must be at least 1, got {max_tasks_in_flight_per_actor}")
        self.min_size = min_size
        self.max_size = max_size
        self.initial_size = initial_size
        self.max_tasks_in_flight_per_actor = max_tasks_in_flight_per_actor or 2

    def __repr__(self) -> str:
        return f"ActorPoolStrategy(min_size={self.min_size}, max_size={self.max_size})"


Concurrency = Union[int, tuple[int, int], tuple[int, int, int], None]
_POSITIVE = "concurrency must be a positive int, (least, most), or (least, most, initial)"


def resolve(
    compute: Any, concurrency: Concurrency, is_class: bool, remote_args: Mapping[str, Any], *, what: str
) -> Compute:
    """The ways of saying where a function runs, as one. Raises ValueError for what contradicts itself."""
    args = {key: value for key, value in remote_args.items() if value is not None}
    if isinstance(compute, str):
        if compute not in ("tasks", "actors"):
            raise ValueError(f'compute must be "tasks", "actors" or a strategy, got {compute!r}')
        compute = TaskPoolStrategy() if compute == "tasks" else ActorPoolStrategy()
    if concurrency is not None:
        if compute is not None:
            raise ValueError("give compute= or concurrency=, not both")
        compute = _from_concurrency(concurrency, is_class)
    if compute is None:
        compute = ActorPoolStrategy(1, _default_pool()) if is_class else TaskPoolStrategy()
    if isinstance(compute, TaskPoolStrategy):
        if is_class:
            raise ValueError(
                f"{what} is a class, so it needs actors that keep its instances: "
                "give concurrency=n or compute=ActorPoolStrategy(...)"
            )
        return Compute(max_tasks=compute.size, remote_args=args)
    if not isinstance(compute, ActorPoolStrategy):
        raise ValueError(f'compute must be "tasks", "actors", TaskPoolStrategy or ActorPoolStrategy, got {compute!r}')
    return Compute(
        pool_size=(compute.min_size, compute.max_size),
        initial_size=compute.initial_size,
        tasks_per_actor=compute.max_tasks_in_flight_per_actor,
        remote_args=args,
    )


def _default_pool() -> int:
    from aktis.data._cpus import cpu_count

    return cpu_count()


def _from_concurrency(concurrency: Any, is_class: bool) -> ComputeStrategy:
    if isinstance(concurrency, bool) or not isinstance(concurrency, (int, tuple)):
        raise ValueError(f"{_POSITIVE}; got {concurrency!r}")
    numbers = concurrency if isinstance(concurrency, tuple) else (concurrency,)
    if not 1 <= len(numbers) <= 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise ValueError(f"{_POSITIVE}; got {concurrency!r}")
    if not is_class:
        if len(numbers) > 1:
            raise ValueError(f"concurrency={concurrency!r}: a pool with bounds is for classes; a function takes an int")
        return TaskPoolStrategy(numbers[0])
    if len(numbers) == 1:
        return ActorPoolStrategy(size=numbers[0])
    return ActorPoolStrategy(numbers[0], numbers[1], initial_size=numbers[2] if len(numbers) == 3 else None)
