"""Workers of a class of the user's, as the older ``Trainer`` makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis import ObjectRef
    from aktis.air.worker_group import WorkerGroup

__all__ = ["TrainWorkerGroup"]


class TrainWorkerGroup:
    """The actors of :meth:`Trainer.to_worker_group`, by rank; made there only.

    ::

        workers = trainer.to_worker_group(Worker, lr=0.1)
        aktis.get([worker.train.remote(epoch=0) for worker in workers])
        aktis.get(workers[0].evaluate.remote())
        aktis.get(workers.train.remote(epoch=1))        # in all of them: a list of references
        workers.shutdown()
    """

    def __init__(self, group: WorkerGroup, stop: Callable[[float], None]) -> None:
        self._group = group
        self._stop = stop

    def __getitem__(self, index: int) -> Any:
        """The actor of a rank."""
        return self._group.workers[index].actor

    def __len__(self) -> int:
        return len(self._group.workers)

    def __iter__(self) -> Iterator[Any]:
        return iter([worker.actor for worker in self._group.workers])

    def __getattr__(self, name: str) -> _MethodOfAll:
        if name.startswith("_") or not len(self):
            raise AttributeError(f"the workers have no method {name!r}" if len(self) else "the workers were shut down")
        return _MethodOfAll([getattr(actor, name) for actor in self])

    def shutdown(self, patience_s: float = 5.0) -> None:
        """Stop the workers.

        Args:
            patience_s: Seconds that those which are busy may take to finish; 0: none.
        """
        self._stop(patience_s)

    def __repr__(self) -> str:
        return f"TrainWorkerGroup({len(self)} workers)"


class _MethodOfAll:
    def __init__(self, methods: list[Any]) -> None:
        self._methods = methods

    def remote(self, *args: Any, **kwargs: Any) -> list[ObjectRef[Any]]:
        """Call it in all workers; references of the results, by rank."""
        return [method.remote(*args, **kwargs) for method in self._methods]
