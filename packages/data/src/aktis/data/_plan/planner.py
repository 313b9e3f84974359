"""From an optimised logical plan to physical operators: which transforms share a task.

Transforms are put into one task with what comes before them when both run under the same conditions:

- tasks after tasks (or after a read), if their resources agree and at most one of them limits its concurrency;
- an actor pool takes over the tasks before it, if neither asks for special resources: rows need not travel to the actor;
- after an actor pool a new operator begins, and two callable classes never share actors;
- the partition step of an all-to-all operation that can be planned early joins the tasks that make its input.
"""

from __future__ import annotations

from dataclasses import replace

from aktis.data._plan import logical
from aktis.data._plan.logical import Compute, LogicalOperator
from aktis.data._plan.physical import (
    ExchangeOp,
    LimitOp,
    MapOp,
    PhysicalOperator,
    ReadSpec,
    RearrangeOp,
    SourceOp,
    UnionOp,
)
from aktis.data._transforms._base import Transform
from aktis.data.context import DatasetContext


def plan(root: LogicalOperator, context: DatasetContext) -> PhysicalOperator:
    """Physical operators for ``root``. A part of the plan that is used twice is executed once for each use."""
    return _Planner(context).visit(root)


class _Planner:
    def __init__(self, context: DatasetContext) -> None:
        self._context = context

    def visit(self, node: LogicalOperator) -> PhysicalOperator:
        inputs = tuple(self.visit(child) for child in node.inputs)
        if isinstance(node, logical.InputBlocks):
            return SourceOp(name=node.name, handles=node.handles)
        if isinstance(node, logical.Read):
            spec = ReadSpec(reader=node.reader, parallelism=node.parallelism, label=node.label)
            return MapOp(
                name=node.label, read=spec, compute=Compute(remote_args=node.remote_args, max_tasks=node.concurrency)
            )
        if isinstance(node, logical.Map):
            return fuse(inputs[0], node.transform, node.compute)
        if isinstance(node, logical.Project):
            from aktis.data._transforms.project import ProjectTransform

            return fuse(inputs[0], ProjectTransform.of(node), Compute())
        if isinstance(node, logical.Filter):
            from aktis.data._transforms.filter_expr import FilterTransform

            return fuse(inputs[0], FilterTransform(node.predicate), Compute())
        if isinstance(node, logical.Write):
            return _write(node, inputs)
        if isinstance(node, logical.Limit):
            return LimitOp(name=f"Limit({node.limit})", inputs=inputs, limit=node.limit)
        if isinstance(node, logical.Union):
            return UnionOp(name="Union", inputs=inputs)
        if isinstance(node, logical.Exchanged):
            return _exchange(node, inputs)
        if isinstance(node, logical.Rearranged):
            return RearrangeOp(name=node.name, inputs=inputs, rearrangement=node.rearrangement)
        raise TypeError(f"the planner does not know {type(node).__name__}")


def _write(node: logical.Write, inputs: tuple[PhysicalOperator, ...]) -> MapOp:
    from aktis.data._transforms.rebuffer import Rebuffer
    from aktis.data._transforms.write import WriteTransform

    transform, least = WriteTransform(node.sink), node.sink.min_rows_per_task
    compute = Compute(remote_args=node.remote_args, max_tasks=node.concurrency, min_rows=least)
    if least is not None:  # one task of what comes before may not make so many rows
        return MapOp(name=transform.name, inputs=inputs, transforms=(transform,), compute=compute)
    op = fuse(inputs[0], transform, compute)
    if len(op.transforms) > 1:
        op.transforms = (*op.transforms[:-1], Rebuffer(), transform)
    return op


def fuse(upstream: PhysicalOperator, transform: Transform, compute: Compute) -> MapOp:
    """``transform`` in the same tasks as ``upstream`` where that is possible, else in an operator of its own."""
    if isinstance(upstream, MapOp):
        merged = merge(upstream, compute)
        if merged is not None:
            return MapOp(
                name=f"{upstream.name}->{transform.name}",
                inputs=upstream.inputs,
                transforms=(*upstream.transforms, transform),
                compute=merged,
                read=upstream.read,
            )
    return MapOp(name=transform.name, inputs=(upstream,), transforms=(transform,), compute=compute)


def merge(upstream: MapOp, compute: Compute) -> Compute | None:
    """The conditions for both, or None if they do not go together."""
    first = upstream.compute
    if first.pool_size is not None:
        return None
    if dict(first.remote_args) != dict(compute.remote_args) and (first.remote_args or _special(compute)):
        return None
    if compute.pool_size is not None and (first.max_tasks is not None or _special(compute)):
        return None
    if first.max_tasks is not None and compute.max_tasks is not None and first.max_tasks != compute.max_tasks:
        return None
    min_rows = None if upstream.read else max(first.min_rows or 0, compute.min_rows or 0) or None
    whole = all(one.whole_blocks for one in (first, compute) if one.min_rows is not None)
    return replace(compute, max_tasks=compute.max_tasks or first.max_tasks, min_rows=min_rows, whole_blocks=whole)


def _special(compute: Compute) -> bool:
    """Whether it asks for more than the usual CPU."""
    return any(value for key, value in compute.remote_args.items() if (key, value) != ("num_cpus", 1))


def _exchange(node: logical.Exchanged, inputs: tuple[PhysicalOperator, ...]) -> ExchangeOp:
    exchange = node.exchange
    upstream = inputs[0]
    early = type(exchange).early_plan is not _never_early() and not exchange.needs_sample
    if (
        len(inputs) == 1
        and early
        and isinstance(upstream, MapOp)
        and not upstream.uses_actors
        and not upstream.compute.remote_args
    ):
        return ExchangeOp(
            name=f"{upstream.name}->{node.name}",
            inputs=upstream.inputs,
            exchange=exchange,
            remote_args=node.remote_args,
            map=upstream,
        )
    return ExchangeOp(name=node.name, inputs=inputs, exchange=exchange, remote_args=node.remote_args)


def _never_early() -> object:
    from aktis.data._exchanges._base import Exchange

    return Exchange.early_plan
