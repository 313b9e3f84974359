"""Where the end of a plan puts its blocks: tasks write to a place that nobody looks at, the driver makes it visible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._blocks.types import Block

if TYPE_CHECKING:
    from aktis.data._transforms._base import TaskContext


class Sink(ABC):
    """A two-phase write. The executor calls ``start`` (driver), ``write`` (tasks), then ``commit`` or ``abort`` (driver).

    A task may run more than once (its worker died): ``write`` must use names that depend on ``task.index``, so that the
    second run replaces what the first one left.
    """

    name: str  # "WriteParquet"

    @property
    def skip(self) -> bool:
        """After ``start``: True when there is nothing to do (mode IGNORE, and something is there)."""
        return False

    @property
    def min_rows_per_task(self) -> int | None:
        """The executor should give each task at least so many rows, where there are as many. None: a block is enough."""
        return None

    def start(self) -> None:
        """Check the target and prepare it. Raises before any task runs."""

    @abstractmethod
    def write(self, blocks: Iterator[Block], task: TaskContext) -> Any:
        """Write the blocks of one task; the (small, picklable) result goes to ``commit``."""

    def commit(self, results: list[Any]) -> None:
        """Everything is written: make it visible. ``results`` in task order."""

    def abort(self, error: BaseException) -> None:
        """Something failed, or was interrupted: take away everything that this write left."""
