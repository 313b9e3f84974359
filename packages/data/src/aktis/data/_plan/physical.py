"""What is executed: operators that launch tasks. Made by the planner, driven by the brain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis.data._plan.logical import Compute

if TYPE_CHECKING:
    from aktis.data._exchanges._base import Exchange, Rearrangement
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._transforms._base import Transform
    from aktis.data.datasource._base import Reader


@dataclass(kw_only=True, eq=False)
class PhysicalOperator:
    """``inputs`` are the operators whose outputs it gets, in order."""

    name: str
    inputs: tuple[PhysicalOperator, ...] = ()

    def describe(self) -> str:
        """One line for ``explain()``."""
        return self.name


@dataclass(kw_only=True, eq=False)
class SourceOp(PhysicalOperator):
    """Blocks that are there already."""

    handles: tuple[BlockHandle, ...]

    def describe(self) -> str:
        return f"{self.name}[{len(self.handles)} blocks]"


@dataclass(kw_only=True, eq=False)
class ReadSpec:
    """A scan that the first transform of a task does itself."""

    reader: Reader
    parallelism: int
    label: str


@dataclass(kw_only=True, eq=False)
class MapOp(PhysicalOperator):
    """A chain of transforms, run on one input block (or read task, or bundle of blocks) per task."""

    transforms: tuple[Transform, ...] = ()
    compute: Compute = field(default_factory=Compute)
    read: ReadSpec | None = None

    @property
    def uses_actors(self) -> bool:
        return self.compute.pool_size is not None

    def describe(self) -> str:
        if self.compute.pool_size is None:
            how = "tasks"
        else:
            least, most = self.compute.pool_size
            how = f"actors {least}" if least == most else f"actors {least} to {'any number' if most is None else most}"
        source = f" ({self.read.reader.describe()})" if self.read and self.read.reader.describe() else ""
        extra = "".join(f", {key}={value}" for key, value in self.compute.remote_args.items())
        return f"{self.name}[{how}{extra}]{source}"


@dataclass(kw_only=True, eq=False)
class ExchangeOp(PhysicalOperator):
    """An all-to-all operation. ``map``: the operator whose chain runs in the same tasks as ``partition``."""

    exchange: Exchange
    remote_args: Mapping[str, Any] = field(default_factory=dict)
    map: MapOp | None = None

    def describe(self) -> str:
        steps = (["sample"] if self.exchange.needs_sample else []) + ["partition", "combine"]
        fused = f" after {self.map.describe()} in the same tasks" if self.map else ""
        return f"{self.name}[{', '.join(steps)}]{fused}"


@dataclass(kw_only=True, eq=False)
class RearrangeOp(PhysicalOperator):
    """New blocks out of slices of others."""

    rearrangement: Rearrangement


@dataclass(kw_only=True, eq=False)
class LimitOp(PhysicalOperator):
    """The first rows; ends everything above it as soon as it has them."""

    limit: int


@dataclass(kw_only=True, eq=False)
class UnionOp(PhysicalOperator):
    """One input after the other."""


def topological(root: PhysicalOperator) -> Iterator[PhysicalOperator]:
    """Every operator once, inputs before those who use them."""
    seen: set[int] = set()

    def visit(op: PhysicalOperator) -> Iterator[PhysicalOperator]:
        if id(op) not in seen:
            seen.add(id(op))
            for child in op.inputs:
                yield from visit(child)
            yield op

    return visit(root)
