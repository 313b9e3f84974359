"""All-to-all operations: what they decide (in the driver, purely) and what they do to blocks (in tasks)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aktis.data._blocks.types import Block, BlockMetadata


@dataclass(frozen=True, slots=True)
class ExchangePlan:
    """How rows are spread: decided once per execution, sent to every task of it."""

    num_partitions: int
    state: Any = None  # boundaries, seeds, schemas ...: small and picklable
    whole_blocks: bool = (
        False  # skip ``partition``: ``combine`` of the only partition gets all input blocks as they are
    )


class Exchange(ABC):
    """An operation in which every output partition may need rows of every input block.

    The executor runs: ``sample`` on each input block (fused into the task that makes the block, where there is one),
    ``plan`` in the driver, ``partition`` on each input block, ``combine`` for each partition. Outputs are in partition
    order. Everything must be a pure function of its arguments: tasks are run again when workers die, with equal results.
    """

    name: str
    num_inputs: int = 1
    needs_sample: bool = False
    preserves_rows: bool = False  # gives exactly the rows that it gets, in any order: filters may go below it
    columns_needed: tuple[str, ...] | None = None  # by the operation itself; None: all of them

    def early_plan(self, num_tasks: int, size_bytes: int | None) -> ExchangePlan | None:
        """A plan before any input is there, where none of it matters: ``partition`` then runs in the task that makes
        a block, which saves a trip through the store. None: wait for :meth:`plan`."""
        return None

    def sample(self, block: Block, *, input: int, index: int) -> Any:
        """A small value about a block (only if ``needs_sample``)."""
        return None

    @abstractmethod
    def plan(self, inputs: Sequence[Sequence[BlockMetadata]], samples: Sequence[Sequence[Any]]) -> ExchangePlan:
        """``inputs[i][j]`` describes block j of input i. Pure; any randomness comes from a seed fixed at construction."""

    @abstractmethod
    def partition(self, block: Block, plan: ExchangePlan, *, input: int, index: int) -> list[Block]:
        """Exactly ``plan.num_partitions`` blocks (empty ones keep the schema). ``index``: of the block in its input."""

    @abstractmethod
    def combine(self, parts: Sequence[Sequence[Block]], plan: ExchangePlan, *, partition: int) -> Iterator[Block]:
        """``parts[i]``: the pieces of input i, in the order of its blocks. Yields the output blocks of the partition."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``start`` to ``stop`` of block ``block`` of input ``input``."""

    input: int
    block: int
    start: int
    stop: int


class Rearrangement(ABC):
    """An operation that only needs to know how many rows each block has: repartition, zip, split, block order."""

    name: str
    num_inputs: int = 1
    preserves_rows: bool = False  # gives exactly the rows that it gets, in any order: filters may go below it

    @abstractmethod
    def recipes(self, inputs: Sequence[Sequence[BlockMetadata]]) -> list[list[Piece]]:
        """For each output block the pieces that it is made of. A single whole block passes through without a task,
        unless ``always_combine``."""

    always_combine: bool = False

    def combine(self, pieces: Sequence[Block], recipe: Sequence[Piece]) -> Block:
        """One output block. The default concatenates."""
        from aktis.data._blocks import concat

        return concat(list(pieces))
