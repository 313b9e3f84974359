"""Rewriting logical plans: the same rows in the same order, with less work.

Three steps, each pure:

1. Rules (``_plan/rules.py``) rewrite one operator and what is right below it, over the whole tree, again and again until
   nothing changes: filters and limits sink, projections merge, what has no effect goes.
2. Scans take over (``_plan/pushdown.py``) the filters, then the columns that later operators need, then the limits that
   ended up right above them, as far as their readers can do that.
3. The rules once more, for what the scans have made superfluous.

Two liberties are taken. An operation that draws a random order (``random_shuffle``, ``randomize_block_order``) may draw
another one than without the optimizer, as rows are taken away before it; equal plans still give equal orders. And
functions in expressions (:func:`aktis.data.expressions.udf`) may be called with fewer rows, so an error that they would
raise for a row that nobody needs may not appear.

What operators may say about themselves:

- ``preserves_rows`` of an exchange or rearrangement: the same rows come out, in any order and any blocks;
- ``columns_needed`` of a transform or exchange: the only columns that it looks at (None: all of them);
- ``keeps_rows`` of a map: as many rows come out as go in, each made of the one in its place.
"""

from __future__ import annotations

from collections.abc import Iterable

from aktis.data._plan.logical import LogicalOperator, transform_up
from aktis.data._plan.pushdown import push_columns, push_filters, push_limits
from aktis.data._plan.rules import RULES
from aktis.data.context import DatasetContext

_MOST_ROUNDS = 200  # each round moves every operator at least one place: deeper plans are left half done, but right


def optimize(root: LogicalOperator, context: DatasetContext, *, needed: Iterable[str] | None = None) -> LogicalOperator:
    """A plan with the same result. ``root`` is not changed, and parts of it that need no change are shared.

    Args:
        root: the plan.
        context: settings of the dataset.
        needed: the columns that the caller looks at, in any order; none of them: only the number of rows matters. None:
            all columns.
    """
    plan = apply_rules(root)
    plan = apply_rules(push_filters(plan))
    plan = push_columns(plan, None if needed is None else frozenset(needed))
    return push_limits(apply_rules(plan))


def apply_rules(root: LogicalOperator) -> LogicalOperator:
    """All rules, until nothing changes."""
    for _ in range(_MOST_ROUNDS):
        before = root
        root = transform_up(root, _one_round)
        if root is before:
            break
    return root


def _one_round(node: LogicalOperator) -> LogicalOperator:
    for rule in RULES:
        changed = rule(node)
        if changed is not None:
            return changed
    return node
