"""What runs inside a task: a chain of transforms, each from blocks to blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aktis.data._blocks.types import Block
from aktis.data.context import DatasetContext


@dataclass(slots=True)
class TaskContext:
    """What a transform may know about the task that it runs in."""

    operator: str  # name of the whole operator, such as "ReadParquet->MapBatches(f)"
    index: int  # sequence number of the task within its operator: stable over retries, so seeds may depend on it
    context: DatasetContext  # the driver's, as it was when the plan was executed
    origin: str = ""  # of the block that is being worked on
    input_files: list[str] = field(default_factory=list)
    user_seconds: float = 0.0  # transforms add the time spent in the user's function
    result: Any = None  # what a terminal transform (a write) reports to the driver beside its blocks
    cache: dict[str, Any] = field(default_factory=dict)  # lives as long as the worker's copy of the chain
    last: Transform | None = None  # of the chain: whether its blocks are small or large, nobody sees


class Transform(ABC):
    """One link of a chain. Pickled once per operator, kept by the workers, called once per task."""

    name: str  # as it appears in stats and errors: "MapBatches(f)"

    @abstractmethod
    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        """Lazily turn blocks into blocks. May yield none, or more than it got. An error names the operator and origin."""

    def setup(self) -> None:
        """Called once in each worker (or actor) before the first call: build instances of callable classes here."""
