"""Who is dealt which rows, and what is left: pure."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aktis.data._iteration.sharding.dealing import Rounds, Taken, remaining, skipped
from aktis.data._iteration.sharding.position import LocalShuffle, Position, Start
from aktis.data._iteration.shuffle import local_shuffle

PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # on busy machines
SIZES = st.lists(st.integers(0, 9), max_size=12)


def blocks(sizes: list[int]) -> list[tuple[int, int, int]]:
    """Blocks whose rows are numbered through: the "block" is the number of its first row."""
    starts = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    return [(low, 0, high - low) for low, high in pairwise(starts)]


def numbers(cuts: Any) -> list[int]:
    return [block + row for block, start, stop in cuts for row in range(start, stop)]


def deal(cuts: Any, n: int, chunk: int) -> tuple[list[list[int]], list[int]]:
    rounds: Rounds[int] = Rounds(n, chunk)
    parts: list[list[int]] = [[] for _ in range(n)]
    for cut in cuts:
        for made in rounds.add(cut):
            for part, more in zip(parts, made):
                part += numbers(more)
    made, left = rounds.finish()
    for part, more in zip(parts, made):
        part += numbers(more)
    return parts, numbers(left)


@PATIENT
@given(SIZES, st.integers(1, 5), st.integers(1, 7))
def test_parts_are_equal_and_do_not_depend_on_blocks(sizes: list[int], n: int, chunk: int) -> None:
    parts, left = deal(blocks(sizes), n, chunk)
    assert len({len(part) for part in parts}) == 1 and len(left) < n
    assert sorted(sum(parts, left)) == list(range(sum(sizes)))
    assert (parts, left) == deal(blocks([sum(sizes)]), n, chunk)


@PATIENT
@given(SIZES, st.lists(st.tuples(st.integers(1, 4), st.integers(1, 7), st.floats(0, 1)), max_size=4))
def test_what_several_groups_of_workers_left_is_what_none_of_them_took(
    sizes: list[int], groups: list[tuple[int, int, float]]
) -> None:
    used: list[int] = []
    history: list[Taken] = []
    for n, chunk, share in groups:
        parts, _ = deal(remaining(blocks(sizes), history), n, chunk)
        rows = int(share * len(parts[0]))
        used += [row for part in parts for row in part[:rows]]
        history.append(Taken(n, chunk, rows))
    left = numbers(remaining(blocks(sizes), history))
    assert sorted(used + left) == list(range(sum(sizes)))
    assert len(used) == len(set(used))


def test_a_state_that_says_more_than_there_is() -> None:
    with pytest.raises(ValueError, match="each worker had used 6 rows of this epoch, but there are only 5"):
        list(remaining(blocks([10]), [Taken(2, 3, 6)]))
    with pytest.raises(ValueError, match="belongs to another data set"):
        list(skipped(blocks([3]), 4))


def test_as_many_workers_keep_their_parts_and_others_share_the_rest() -> None:
    position = Position(epoch=3, seed=1, taken=(Taken(4, 8, 5), Taken(2, 16, 3)))
    assert position.start_for(2) == Start(epoch=3, seed=1, before=(Taken(4, 8, 5),), chunk=16, skip=3)
    assert position.start_for(3) == Start(epoch=3, seed=1, before=position.taken)
    assert Position.from_json(position.to_json()) == position


def test_a_buffer_that_was_shuffled_is_not_dealt_anew() -> None:
    shuffle = LocalShuffle(buffer=100, batch=10, seed=0)
    position = Position(taken=(Taken(2, 16, 10),), shuffle=shuffle)
    assert Position.from_json(position.to_json()) == position
    assert position.start_for(2).skip == 10
    with pytest.raises(ValueError, match="3 workers cannot tell which rows are left"):
        position.start_for(3)


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (None, TypeError),
        ([1], TypeError),
        ({}, ValueError),
        ({"version": 2}, ValueError),
        ({**Position().to_json(), "epoch": -1}, ValueError),
        ({**Position().to_json(), "taken": [[0, 1, 1]]}, ValueError),
        ({**Position().to_json(), "taken": [[1]]}, ValueError),
        ({**Position().to_json(), "shuffle": 3}, ValueError),
    ],
)
def test_states_that_are_none(state: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="state"):
        Position.from_json(state)


@PATIENT
@given(SIZES, st.integers(1, 6), st.integers(1, 6))
def test_a_steady_shuffle_does_not_depend_on_blocks(sizes: list[int], buffer: int, batch: int) -> None:
    def shuffled(pieces: list[int]) -> list[int]:
        tables = [pa.table({"x": range(at, at + rows)}) for at, _, rows in blocks(pieces)]
        found = local_shuffle(tables, buffer, batch, seed=5, steady=True)
        return [row for table in found for row in table["x"].to_pylist()]

    order = shuffled(sizes)
    assert sorted(order) == list(range(sum(sizes)))
    assert order == shuffled([sum(sizes)])
