"""How many calls to send ahead and how many workers to ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from aktis._native import pacing


@dataclass
class FakeLease:
    pending: dict[int, object] = field(default_factory=dict)


def lease(count: int) -> FakeLease:
    return FakeLease(dict.fromkeys(range(count)))


def test_unknown_calls_go_singly() -> None:
    assert pacing.depth(None, retriable=True) == 1


def test_calls_that_must_not_run_twice_go_singly() -> None:
    assert pacing.depth(1e-6, retriable=False) == 1


def test_short_calls_go_many_at_a_time_and_long_ones_singly() -> None:
    assert pacing.depth(10e-6, retriable=True) > 100
    assert pacing.depth(0.5, retriable=True) == 1


@given(st.floats(0, 1e6))
def test_depth_is_bounded(average: float) -> None:
    assert 1 <= pacing.depth(average, retriable=True) <= pacing.MAX_DEPTH


def test_the_least_loaded_lease_is_chosen() -> None:
    leases = [lease(3), lease(1), lease(2)]
    assert pacing.choose(leases, 10) is leases[1]


def test_full_leases_are_not_chosen() -> None:
    assert pacing.choose([lease(2), lease(2)], 2) is None


@given(st.integers(1, 10_000), st.integers(1, 512), st.integers(0, 64))
def test_a_share_leaves_work_for_the_others(queued: int, room: int, workers: int) -> None:
    share = pacing.share(queued, room, workers)
    assert 1 <= share <= room
    assert share <= -(-queued // max(1, workers))


def test_no_more_workers_than_waiting_calls() -> None:
    assert pacing.more_workers(2, have=0, growth=8, average=None) == 2


def test_work_that_is_over_in_a_moment_needs_no_new_worker() -> None:
    assert pacing.more_workers(10, have=1, growth=8, average=10e-6) == 0
    assert pacing.more_workers(10, have=0, growth=8, average=10e-6) == 8


@given(st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 100), st.none() | st.floats(0, 100))
def test_demand_is_never_negative(waiting: int, have: int, growth: int, average: float | None) -> None:
    assert 0 <= pacing.more_workers(waiting, have, growth, average) <= waiting


def test_the_average_follows_the_samples() -> None:
    average: float | None = None
    for _ in range(50):
        average = pacing.smooth(average, 2.0)
    assert average == 2.0
    assert 2.0 < pacing.smooth(average, 4.0) < 4.0
