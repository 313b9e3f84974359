"""Where the end of a plan puts its blocks: tasks write to a place that nobody looks at, the driver makes it visible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import size_bytes
from aktis.data._blocks.types import Block

if TYPE_CHECKING:
    import pyarrow as pa

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


class Upstream:
    """The blocks of a task, on their way to a place: remembers whether an error is theirs."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = iter(blocks)
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        try:
            return next(self._blocks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise


class Incoming(Upstream):
    """Leaves out blocks without rows, and knows what has passed."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        super().__init__(blocks)
        self.rows = 0
        self.size = 0  # bytes in memory
        self.schema: pa.Schema | None = None

    def __next__(self) -> Block:
        while True:
            block = super().__next__()
            if self.schema is None or (not self.rows and len(block.schema)):
                self.schema = block.schema
            if block.num_rows:
                self.rows += block.num_rows
                self.size += size_bytes(block)
                return block
