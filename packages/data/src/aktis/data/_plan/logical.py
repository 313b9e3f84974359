"""What the user asked for: a tree of frozen operators. Nothing here runs anything.

The optimizer (``_plan/optimizer.py``) rewrites such trees, the planner (``_plan/planner.py``) turns them into physical
operators, ``explain()`` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.data._exchanges._base import Exchange, Rearrangement
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._transforms._base import Transform
    from aktis.data.datasource._base import Reader
    from aktis.data.datasource._sink import Sink
    from aktis.data.expressions import Expr


@dataclass(frozen=True, kw_only=True, eq=False)
class LogicalOperator:
    inputs: tuple[LogicalOperator, ...] = ()

    @property
    def name(self) -> str:
        return type(self).__name__


@dataclass(frozen=True, kw_only=True, eq=False)
class InputBlocks(LogicalOperator):
    """Blocks that are there already."""

    handles: tuple[BlockHandle, ...]
    label: str = "InputBlocks"

    @property
    def name(self) -> str:
        return self.label


@dataclass(frozen=True, kw_only=True, eq=False)
class Read(LogicalOperator):
    """A scan. The optimizer narrows ``reader`` (columns, predicate, limit) where it says that it can."""

    reader: Reader
    label: str  # "ReadParquet"
    parallelism: int = -1
    remote_args: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int | None = None  # most read tasks at a time

    @property
    def name(self) -> str:
        return self.label


@dataclass(frozen=True, kw_only=True, eq=False)
class Compute:
    """Where a map runs. ``pool_size`` None: tasks. Else an actor pool of (least, most) actors."""

    pool_size: tuple[int, int | None] | None = None
    initial_size: int | None = None
    max_tasks: int | None = None  # at a time (``concurrency=`` of functions)
    tasks_per_actor: int = 2
    remote_args: Mapping[str, Any] = field(default_factory=dict)  # num_cpus, num_gpus, resources, ...
    min_rows: int | None = None  # bundle input blocks until a task has so many rows (a numeric batch_size)
    whole_blocks: bool = False  # ... and cut no block so that bundles are multiples of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Map(LogicalOperator):
    """Any one-to-many transform of blocks that needs no other block: map, filter by function, flat_map, map_batches."""

    transform: Transform
    compute: Compute = field(default_factory=Compute)
    keeps_rows: bool = False  # as many rows out as in (limit push-down, counting)

    @property
    def name(self) -> str:
        return self.transform.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Project(LogicalOperator):
    """Columns computed by expressions, all from the input. ``keep``: the input's other columns stay, in place."""

    columns: tuple[tuple[str, Expr], ...]  # (new name, expression), in output order
    keep: bool = False
    drop: tuple[str, ...] = ()  # with keep: these go
    missing_ok: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Filter(LogicalOperator):
    """Rows for which an expression is true (not null)."""

    predicate: Expr


@dataclass(frozen=True, kw_only=True, eq=False)
class Limit(LogicalOperator):
    """The first rows, in order."""

    limit: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Union(LogicalOperator):
    """All blocks of the first input, then all of the second, ..."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchanged(LogicalOperator):
    """An all-to-all operation."""

    exchange: Exchange
    remote_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.exchange.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Rearranged(LogicalOperator):
    """Repartition, zip, split, block order."""

    rearrangement: Rearrangement

    @property
    def name(self) -> str:
        return self.rearrangement.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Write(LogicalOperator):
    """The end of a plan."""

    sink: Sink
    remote_args: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int | None = None

    @property
    def name(self) -> str:
        return self.sink.name


Walk = Callable[[LogicalOperator], LogicalOperator]


def transform_up(root: LogicalOperator, rule: Walk) -> LogicalOperator:
    """``rule`` applied to every operator, inputs first; what does not change is shared, not copied."""
    from dataclasses import replace

    done: dict[int, LogicalOperator] = {}

    def visit(node: LogicalOperator) -> LogicalOperator:
        known = done.get(id(node))
        if known is None:
            inputs = tuple(visit(child) for child in node.inputs)
            same = all(a is b for a, b in zip(inputs, node.inputs))
            known = done[id(node)] = rule(node if same else replace(node, inputs=inputs))
        return known

    return visit(root)
