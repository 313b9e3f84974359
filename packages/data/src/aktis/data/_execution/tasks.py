"""What the brain asks for, and what it is told: the words between decisions and execution."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan, Piece
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.datasource._base import ReadTask


class Kind(Enum):
    CHAIN = "chain"  # blocks (or a read task) through a chain of transforms; any number of blocks comes out
    SAMPLE = "sample"  # a small value about a block
    PARTITION = "partition"  # a block (or a chain's output) into as many blocks as the plan says
    COMBINE = "combine"  # the pieces of one partition into any number of blocks
    RECIPE = "recipe"  # slices of blocks into one block


@dataclass(slots=True, eq=False)
class Task:
    """One unit of work. ``seq`` is its place in the operator's output (or the index of the block it looks at)."""

    id: int
    op: int
    kind: Kind
    seq: int
    inputs: list[BlockHandle]
    read: ReadTask | None = None
    plan: ExchangePlan | None = None
    port: int = 0  # which input of an exchange
    layout: tuple[int, ...] = ()  # COMBINE: how many of ``inputs`` belong to each port
    recipe: tuple[Piece, ...] = ()
    actor: int | None = None
    expected_bytes: int = 0  # of what it will put out
    num_cpus: float = 1.0
    origin: str = ""  # where its data comes from, for messages


@dataclass(frozen=True, slots=True)
class StartActor:
    op: int
    actor: int


@dataclass(frozen=True, slots=True)
class StopActor:
    op: int
    actor: int


@dataclass(frozen=True, slots=True)
class CancelTask:
    task: Task


Command = Union[Task, StartActor, StopActor, CancelTask]


@dataclass(frozen=True, slots=True)
class Output:
    """A task has made one more block."""

    task: Task
    handle: BlockHandle


@dataclass(frozen=True, slots=True)
class Done:
    """A task has ended. ``value``: of SAMPLE the sample, of PARTITION the list of handles, else None."""

    task: Task
    value: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A task, or one block of it (``task_goes_on``), came to nothing."""

    task: Task
    error: BaseException
    task_goes_on: bool = False


@dataclass(frozen=True, slots=True)
class ActorReady:
    op: int
    actor: int


Event = Union[Output, Done, Failed, ActorReady]
