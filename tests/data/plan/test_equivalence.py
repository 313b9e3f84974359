"""Random plans: what comes out is the same with and without the optimizer."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.plan.helpers import Doubled, column_orders, execute, in_memory, over, read, rows

from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.repartition import Repartition, SplitAt
from aktis.data._exchanges.sort import Sort
from aktis.data._plan.facts import known_rows, known_schema, most_rows
from aktis.data._plan.logical import Exchanged, Filter, Limit, LogicalOperator, Map, Project, Rearranged, Union
from aktis.data._plan.optimizer import optimize
from aktis.data.context import DatasetContext
from aktis.data.expressions import col, lit, monotonically_increasing_id, when

NAMES = ["a", "b", "c"]
CELLS = st.none() | st.integers(-3, 3)


@st.composite
def blocks(draw):
    tables = []
    for _ in range(draw(st.integers(1, 3))):
        size = draw(st.integers(0, 4))
        columns = {name: pa.array(draw(st.lists(CELLS, min_size=size, max_size=size)), pa.int64()) for name in NAMES}
        tables.append(pa.table(columns))
    return tables


def numbers(names):
    column = st.sampled_from(names).map(col)
    return st.one_of(
        column,
        st.tuples(column, st.integers(-2, 2)).map(lambda t: t[0] + t[1]),
        st.tuples(column, column).map(lambda t: t[0] * t[1]),
        column.map(lambda c: when(c > 0).then(c).otherwise(0)),
        st.integers(-2, 2).map(lit),
    )


def conditions(names):
    number = numbers(names)
    simple = st.one_of(
        st.tuples(number, st.integers(-2, 2)).map(lambda t: t[0] > t[1]),
        st.tuples(number, number).map(lambda t: t[0] == t[1]),
        st.sampled_from(names).map(lambda n: col(n).is_null()),
        st.sampled_from(names).map(lambda n: ~col(n).is_in([1, None])),
    )
    return st.one_of(
        simple,
        st.tuples(simple, simple).map(lambda t: t[0] & t[1]),
        st.tuples(simple, simple).map(lambda t: t[0] | t[1]),
    )


@st.composite
def plans(draw):
    """A plan, and the names of its columns."""
    data = draw(blocks())
    without = " ".join(draw(st.lists(st.sampled_from(["columns", "filter", "limit", "schema", "count"]), max_size=2)))
    plan: LogicalOperator = draw(st.sampled_from([in_memory(*data), read(*data, without=without), read(*data)]))
    names = list(NAMES)
    for _ in range(draw(st.integers(0, 6))):
        plan, names = draw(steps(plan, names))
    return plan


KINDS = st.sampled_from(
    ["select", "keep", "keep", "rename", "drop", "filter", "filter", "limit"]
    + ["map", "sort", "repartition", "split", "union", "id"]
)


@st.composite
def steps(draw, plan, names):
    kind = draw(KINDS)
    if kind == "select":
        chosen = draw(st.lists(st.sampled_from([*names, "x", "y"]), min_size=1, max_size=4, unique=True))
        columns = tuple((n, draw(numbers(names)) if n not in names or draw(st.booleans()) else col(n)) for n in chosen)
        return over(plan, Project, columns=columns), chosen
    if kind == "keep":
        chosen = draw(st.lists(st.sampled_from(["a", "b", "x", "y"]), min_size=1, max_size=2, unique=True))
        columns = tuple((n, draw(numbers(names))) for n in chosen)
        return over(plan, Project, columns=columns, keep=True), [*names, *(n for n in chosen if n not in names)]
    if kind == "rename":
        old, new = draw(st.sampled_from(names)), draw(st.sampled_from(["p", "q"]))
        if new not in names:
            node = over(plan, Project, columns=((new, col(old)),), keep=True, drop=(old,))
            return node, [new if n == old else n for n in names]
    if kind == "drop" and len(names) > 1:
        gone = draw(st.sampled_from(names))
        return over(plan, Project, columns=(), keep=True, drop=(gone,)), [n for n in names if n != gone]
    if kind == "limit":
        return over(plan, Limit, limit=draw(st.integers(0, 6))), names
    if kind == "map":
        return over(plan, Map, transform=Doubled(), keeps_rows=draw(st.booleans())), names
    if kind == "sort":
        key = draw(st.sampled_from(names))
        keys = make_keys(key, draw(st.booleans()), operation="sort")
        return over(plan, Exchanged, exchange=Sort(keys)), names
    if kind == "repartition":
        return over(plan, Rearranged, rearrangement=Repartition(draw(st.integers(1, 3)))), names
    if kind == "split":
        return over(plan, Rearranged, rearrangement=SplitAt([draw(st.integers(0, 5))])), names
    if kind == "union":
        return Union(inputs=(plan, over(plan, Filter, predicate=draw(conditions(names))))), names
    if kind == "id" and "i" not in names and not _moved(plan):
        return over(plan, Project, columns=(("i", monotonically_increasing_id()),), keep=True), [*names, "i"]
    return over(plan, Filter, predicate=draw(conditions(names))), names


def _moved(plan):
    """Identifiers depend on blocks, and the optimizer may change those: it promises rows."""
    return bool(plan.inputs) or not hasattr(plan, "handles")


@settings(max_examples=100, deadline=None)
@given(plans())
def test_the_same_rows_in_the_same_order_with_the_same_columns(plan):
    optimized = optimize(plan, DatasetContext())
    assert rows(optimized) == rows(plan)
    assert column_orders(optimized) == column_orders(plan)


@settings(max_examples=30, deadline=None)
@given(plans(), st.sets(st.sampled_from([*NAMES, "x"])))
def test_the_columns_that_are_needed_are_there(plan, needed):
    wanted = needed & {name for names in column_orders(plan) for name in names}
    optimized = optimize(plan, DatasetContext(), needed=wanted)
    assert sum(block.num_rows for block in execute(optimized)) == len(rows(plan))
    for got, expected in zip(rows(optimized), rows(plan)):
        assert {name: got[name] for name in wanted} == {name: expected[name] for name in wanted}


@settings(max_examples=30, deadline=None)
@given(plans())
def test_what_is_known_is_true(plan):
    count, most, schema = known_rows(plan), most_rows(plan), known_schema(plan)
    result = execute(plan)
    total = sum(block.num_rows for block in result)
    assert count in (None, total)
    assert most is None or total <= most
    if schema is not None:
        assert all(
            block.schema.names == schema.names and block.schema.types == schema.types
            for block in result
            if block.num_rows
        )
