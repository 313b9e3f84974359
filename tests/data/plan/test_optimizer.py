"""Each rule: what it does, and where it must not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tests.data.plan.helpers import Doubled, column_orders, in_memory, over, read, rows

from aktis.data._exchanges._keys import make_keys
from aktis.data._exchanges.repartition import RandomizeBlockOrder, Repartition, SplitAt
from aktis.data._exchanges.shuffle import RandomShuffle
from aktis.data._exchanges.sort import Sort
from aktis.data._exchanges.zip import Zip
from aktis.data._plan.explain import describe, tree
from aktis.data._plan.logical import Compute, Exchanged, Filter, Limit, Map, Project, Read, Rearranged, Union
from aktis.data._plan.optimizer import optimize
from aktis.data._transforms.count import CountRows
from aktis.data.context import DatasetContext
from aktis.data.expressions import col, download, lit, monotonically_increasing_id, random, udf

A = pa.table({"a": [3, 1, None, 2], "b": ["x", None, "y", "z"], "c": [0.5, 1.5, 2.5, 3.5]})
B = pa.table({"a": [9, 1], "b": ["u", "v"], "c": [7.5, 8.5]})


def sort(child, key="a"):
    return over(child, Exchanged, exchange=Sort(make_keys(key, operation="sort")))


def select(child, *names):
    return over(child, Project, columns=tuple((name, col(name)) for name in names))


def keep(child, drop=(), **columns):
    return over(child, Project, columns=tuple(columns.items()), keep=True, drop=drop)


def where(child, condition):
    return over(child, Filter, predicate=condition)


def limit(child, n):
    return over(child, Limit, limit=n)


def double(child, **options):
    return over(child, Map, transform=Doubled(), keeps_rows=True, **options)


def shape(plan):
    """The names of the operators, from the last to the first."""
    text = [type(plan).__name__]
    while len(plan.inputs) == 1:
        plan = plan.inputs[0]
        text.append(plan.name if isinstance(plan, (Exchanged, Rearranged)) else type(plan).__name__)
    return text


def optimized(plan, **options):
    before = tree(plan, describe)
    result = optimize(plan, DatasetContext(), **options)
    assert tree(plan, describe) == before  # the plan itself is as it was
    again = optimize(result, DatasetContext(), **options)
    assert tree(again, describe) == tree(result, describe)
    if not options:
        assert rows(result) == rows(plan)
        assert column_orders(result) == column_orders(plan)
    return result


def scan(plan):
    while plan.inputs:
        plan = plan.inputs[0]
    assert isinstance(plan, Read)
    return plan.reader


# --- filters ---


def test_a_filter_becomes_part_of_the_scan():
    plan = optimized(where(read(A, B), (col("a") > 1) & (col("b") == "z")))
    assert isinstance(plan, Read)
    assert plan.reader.predicate is not None


def test_only_the_conditions_that_a_scan_can_do_become_part_of_it():
    plan = optimized(where(read(A), (col("a") > 1) & (col("c") / 2 > 1)))
    assert shape(plan) == ["Filter", "Read"]
    assert repr(plan.predicate) == "(col('c') / 2) > 1"
    assert str(scan(plan).predicate) == "(a > 1)"


def test_strings_become_dates_before_the_scan_sees_them():
    dates = pa.table({"d": pa.array([0, 10**15], pa.timestamp("us"))})
    plan = optimized(where(read(dates), col("d") > "1980-01-01"))
    assert isinstance(plan, Read) and len(rows(plan)) == 1


@pytest.mark.parametrize(
    "condition",
    [
        random() > 2,
        (col("c") / 2) > 1,
        udf(bool, batch_format="python")(lambda v: [x is not None for x in v])(col("a")),
    ],
    ids=["random", "arithmetic", "function"],
)
def test_conditions_that_stay(condition):
    assert shape(optimized(where(read(A), condition))) == ["Filter", "Read"]


def test_a_reader_may_refuse():
    assert shape(optimized(where(read(A, without="filter"), col("a") > 1))) == ["Filter", "Read"]
    assert shape(optimized(where(read(A, without="schema"), col("a") > 1))) == ["Filter", "Read"]


def test_an_unknown_column_is_left_to_the_filter():
    plan = where(read(A), col("aa") > 1)
    assert shape(optimize(plan, DatasetContext())) == ["Filter", "Read"]


def test_filters_merge_but_not_over_a_guard():
    assert shape(optimized(where(where(in_memory(A), col("a") > 1), col("c") > 1))) == ["Filter", "InputBlocks"]
    texts = pa.table({"s": ["1", "x"]})
    guarded = where(where(in_memory(texts), col("s") != "x"), col("s").cast(int) > 0)
    assert shape(optimized(guarded)) == ["Filter", "Filter", "InputBlocks"]


def test_a_filter_sinks_below_projections_where_columns_pass_through():
    renamed = where(keep(read(A), z=col("a"), drop=("a",)), col("z") > 1)
    assert shape(optimized(renamed)) == ["Project", "Read"]
    assert str(scan(optimized(renamed)).predicate) == "(a > 1)"
    partly = optimized(where(keep(read(A), d=col("c") * 2), (col("d") > 1) & (col("a") > 1)))
    assert shape(partly) == ["Filter", "Project", "Read"]
    assert str(scan(partly).predicate) == "(a > 1)"
    constant = optimized(where(keep(in_memory(A), k=lit(1)), col("k") == 1))
    assert shape(constant) == ["Project", "Filter", "InputBlocks"]


def test_a_filter_stays_above_what_depends_on_the_place_of_rows():
    plan = where(keep(read(A), i=monotonically_increasing_id()), col("a") > 1)
    assert shape(optimized(plan)) == ["Filter", "Project", "Read"]


def test_a_filter_on_a_dropped_column_stays_an_error():
    plan = where(keep(read(A), drop=("a",)), col("a") > 1)
    assert shape(optimize(plan, DatasetContext()))[:2] == ["Filter", "Project"]


def test_a_filter_sinks_below_moves_of_rows_but_not_below_others():
    assert shape(optimized(where(sort(read(A)), col("a") > 1))) == ["Exchanged", "Read"]
    repartition = over(read(A, B), Rearranged, rearrangement=Repartition(3))
    assert shape(optimized(where(repartition, col("a") > 1))) == ["Rearranged", "Read"]
    split = over(read(A, B), Rearranged, rearrangement=SplitAt([1]))
    assert shape(optimized(where(split, col("a") > 1))) == ["Filter", "Split", "Read"]
    shuffled = where(over(read(A, B), Exchanged, exchange=RandomShuffle(1)), col("a") > 1)
    plan = optimize(shuffled, DatasetContext())
    assert shape(plan) == ["Exchanged", "Read"]
    assert sorted(map(str, rows(plan))) == sorted(map(str, rows(shuffled)))
    assert shape(optimized(where(double(read(A)), col("a") > 1))) == ["Filter", "Map", "Read"]


def test_a_filter_goes_to_each_input_of_a_union():
    plan = optimized(where(Union(inputs=(read(A), in_memory(B))), col("a") > 1))
    assert isinstance(plan, Union)
    assert [type(child) for child in plan.inputs] == [Read, Filter]


# --- limits ---


def test_limits_merge_and_sink():
    plan = optimized(limit(double(keep(limit(read(A, B), 3), d=col("a") + 1)), 5))
    assert shape(plan) == ["Map", "Project", "Limit", "Read"]
    assert scan(plan).limit == 3
    assert shape(optimized(limit(in_memory(A), 10))) == ["InputBlocks"]  # there are not more rows


def test_a_limit_stays_above_filters_sorts_and_functions_that_change_the_number_of_rows():
    assert shape(optimized(limit(where(read(A), col("c") / 2 > 1), 1))) == ["Limit", "Filter", "Read"]
    assert scan(optimized(limit(where(read(A), col("c") / 2 > 1), 1))).limit is None
    assert shape(optimized(limit(sort(read(A)), 1))) == ["Limit", "Sort", "Read"]
    plan = over(read(A), Map, transform=Doubled())
    assert shape(optimized(limit(plan, 1))) == ["Limit", "Map", "Read"]
    random_column = keep(read(A), r=monotonically_increasing_id())
    assert shape(optimized(limit(random_column, 1))) == ["Limit", "Project", "Read"]


def test_a_filter_reaches_the_scan_before_a_limit_does():
    plan = optimized(limit(where(read(A, B), col("a") > 1), 2))
    assert shape(plan) == ["Limit", "Read"]
    assert (scan(plan).limit, scan(plan).predicate is not None) == (2, True)
    other = optimized(where(limit(read(A, B), 2), col("a") > 1))
    assert shape(other) == ["Filter", "Limit", "Read"]


def test_a_limit_goes_into_a_union_and_stays_above_it():
    plan = optimized(limit(Union(inputs=(keep(read(A), d=col("a")), read(B))), 3))
    assert isinstance(plan, Limit)
    assert [type(child).__name__ for child in plan.inputs[0].inputs] == ["Project", "Limit"]


# --- columns ---


def test_a_choice_of_columns_is_the_scans():
    plan = optimized(select(read(A), "c", "a"))
    assert isinstance(plan, Read) and plan.reader.columns == ("c", "a")
    assert shape(optimized(select(read(A, without="columns"), "c", "a"))) == ["Project", "Read"]


def test_scans_leave_out_what_nobody_needs():
    wide = pa.table({name: [1, 2] for name in "abcdef"})
    plan = optimized(select(sort(where(read(wide), col("c") / 2 > 0), "a"), "b"))
    assert scan(plan).columns == ("a", "b", "c")
    plan = optimized(select(keep(read(wide), g=col("a") + col("b"), h=col("c")), "g", "f"))
    assert scan(plan).columns == ("a", "b", "f")
    plan = optimized(keep(read(wide), drop=("b", "c")))
    assert scan(plan).columns == ("a", "d", "e", "f")
    plan = optimized(keep(read(wide), z=col("b"), drop=("b", "c")))
    assert scan(plan).columns == ("a", "b", "d", "e", "f")


def test_computed_columns_that_nobody_needs_are_not_computed():
    plan = optimized(select(sort(keep(read(A), d=col("a") + 1, e=col("c") * 2)), "e", "a"))
    assert "d=" not in tree(plan, describe)


def test_functions_may_say_what_they_need():
    plan = over(read(A), Map, transform=Doubled(columns_needed=("a",)), keeps_rows=True)
    assert scan(optimize(plan, DatasetContext())).columns == ("a",)
    assert scan(optimize(double(read(A)), DatasetContext())).columns is None


def test_counting_needs_no_columns_and_no_order():
    counted = over(sort(keep(where(read(A), col("c") / 2 > 0), d=col("a") + 1)), Map, transform=CountRows())
    plan = optimized(counted)
    assert shape(plan) == ["Map", "Filter", "Read"]
    assert scan(plan).columns == ("c",)
    plan = optimized(read(A), needed=())
    assert plan.reader.columns == () and sum(b.num_rows for t in plan.reader.get_read_tasks(1) for b in t()) == 4


def test_a_missing_column_is_left_to_who_needs_it():
    plan = optimize(select(read(A), "a", "nope"), DatasetContext())
    assert scan(plan).columns is None
    plan = optimize(keep(read(A), drop=("nope",)), DatasetContext())
    assert scan(plan).columns is None and not plan.missing_ok


def test_all_columns_of_what_is_zipped_are_needed():
    zipped = Rearranged(rearrangement=Zip(), inputs=(read(A), read(A)))
    plan = optimized(select(zipped, "a"))
    assert all(child.reader.columns is None for child in plan.inputs[0].inputs)


# --- projections, exchanges, block order ---


def test_projections_merge():
    plan = optimized(keep(keep(in_memory(A), d=col("a") + 1), e=col("d") * 2, d=col("d") + 1))
    assert shape(plan) == ["Project", "InputBlocks"]
    plan = optimized(select(keep(in_memory(A), d=col("a") + 1), "d", "b"))
    assert shape(plan) == ["Project", "InputBlocks"]
    plan = optimized(keep(select(in_memory(A), "b", "a"), z=col("b"), drop=("b",)))
    assert shape(plan) == ["Project", "InputBlocks"]


@pytest.mark.parametrize(
    "plan",
    [
        keep(keep(in_memory(A), d=random()), e=col("d") * 2),
        keep(keep(in_memory(A), z=col("b"), drop=("b",)), z=col("z") + "!"),
        keep(keep(in_memory(A), d=col("a")), drop=("a",)),
        keep(keep(in_memory(A), drop=("b",)), b=col("c")),
    ],
    ids=["random", "renamed and replaced", "copied and dropped", "dropped and made anew"],
)
def test_projections_stay_apart_where_values_or_places_would_change(plan):
    assert shape(optimize(plan, DatasetContext())) == ["Project", "Project", "InputBlocks"]
    assert column_orders(optimize(plan, DatasetContext())) == column_orders(plan)


def test_merging_ends_before_expressions_grow_without_bound():
    plan = read(A)
    for _ in range(60):
        plan = keep(plan, a=col("a") + col("a"))
    assert len(shape(optimized(plan))) < 40
    for n in range(200):
        plan = where(plan, col("b") != f"no {n}")
    assert len(rows(optimize(plan, DatasetContext()))) == 3


def test_projections_without_effect_go():
    assert shape(optimized(select(in_memory(A), "a", "b", "c"))) == ["InputBlocks"]
    assert shape(optimized(keep(double(in_memory(A))))) == ["Map", "InputBlocks"]
    assert shape(optimized(select(in_memory(A), "b", "a", "c"))) == ["Project", "InputBlocks"]


def test_exchanges_that_are_undone_at_once_go():
    repartition = over(
        over(read(A, B), Rearranged, rearrangement=Repartition(3)), Rearranged, rearrangement=Repartition(2)
    )
    assert shape(optimized(repartition)) == ["Rearranged", "Read"]
    assert shape(optimized(sort(sort(read(A))))) == ["Exchanged", "Read"]
    assert shape(optimized(sort(sort(read(A), "c")))) == ["Exchanged", "Sort", "Read"]  # decides among equal keys


def test_what_works_on_blocks_alone_goes_below_a_random_block_order():
    order = over(read(A, B), Rearranged, rearrangement=RandomizeBlockOrder(1))
    plan = optimize(double(keep(order, d=col("a"))), DatasetContext())
    assert shape(plan) == ["Rearranged", "Map", "Project", "Read"]
    bundled = double(order, compute=Compute(min_rows=100))
    assert shape(optimize(bundled, DatasetContext())) == ["Map", "RandomizeBlockOrder", "Read"]


def test_a_part_that_is_used_twice_stays_right_for_both():
    shared = keep(read(A, B), d=col("a") + 1)
    plan = Union(inputs=(where(shared, col("a") > 1), shared, select(shared, "a", "b", "c", "d")))
    result = optimized(plan)
    assert [scan(child).predicate is None for child in result.inputs] == [False, True, True]


def test_downloads_are_deterministic_but_may_fail():
    expr = download("b")
    assert expr.is_deterministic and not expr.is_total and expr.to_pyarrow() is None
