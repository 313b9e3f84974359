"""The autoscaler's rule: how many replicas, from which load, and when."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from aktis.serve._controller.autoscaling import Autoscaler, AutoscalingContext
from aktis.serve._protocol import DeploymentID, ReplicaID
from aktis.serve.config import AutoscalingConfig

ID = DeploymentID("app", "model")


def replicas(count: int) -> tuple[ReplicaID, ...]:
    return tuple(ReplicaID("app", "model", str(index)) for index in range(count))


class Load:
    """An autoscaler under a load that a test sets, each second."""

    def __init__(self, policy: Any = None, count: int = 1, **options: Any) -> None:
        base = {"min_replicas": 0, "max_replicas": 100, "upscale_delay_s": 0, "downscale_delay_s": 0}
        self.config = AutoscalingConfig(**{**base, "look_back_period_s": 0.5, **options})
        self.scaler = Autoscaler(ID, self.config, policy)
        self.count = count
        self.now = 0.0

    def second(self, ongoing: float = 0.0, waiting: int = 0) -> int:
        """One second with so many requests, shared by all replicas."""
        self.now += 1.0
        running = replicas(self.count)
        for id in running:
            self.scaler.measured(id, ongoing / len(running), {}, self.now)
        self.scaler.waiting("caller", waiting, self.now)
        answer = self.scaler.policy(self.context()) if self.scaler.policy else None
        self.count = self.scaler.decide(running, self.count, self.now, answer)
        return self.count

    def context(self) -> AutoscalingContext:
        return self.scaler.context(replicas(self.count), self.count, self.now)


@given(
    count=st.integers(1, 50),
    ongoing=st.floats(0.1, 500),
    target=st.floats(0.1, 20),
    factor=st.floats(0.1, 3),
)
def test_the_formula(count: int, ongoing: float, target: float, factor: float) -> None:
    load = Load(count=count, max_replicas=10**6, target_ongoing_requests=target, smoothing_factor=factor)
    expected = math.ceil(count * (1 + (ongoing / count / target - 1) * factor) - 1e-6)
    assert load.second(ongoing) in range(max(expected, 1), max(expected, 1) + 2)


@pytest.mark.parametrize(
    ("count", "ongoing", "target", "expected"),
    [(1, 10, 2, 5), (5, 10, 2, 5), (10, 10, 2, 5), (3, 10, 3, 4), (2, 0.1, 1, 1)],
)
def test_numbers(count: int, ongoing: float, target: float, expected: int) -> None:
    assert Load(count=count, target_ongoing_requests=target).second(ongoing) == expected


def test_bounds() -> None:
    load = Load(count=2, min_replicas=2, max_replicas=6)
    assert load.second(1000) == 6
    assert load.second(0) == 2


def test_requests_that_wait_count() -> None:
    load = Load(count=1, target_ongoing_requests=1)
    assert load.second(ongoing=1, waiting=4) == 5


def test_more_only_after_the_delay() -> None:
    load = Load(upscale_delay_s=5)
    assert [load.second(10) for _ in range(7)] == [1, 1, 1, 1, 1, 10, 10]


def test_the_delay_begins_anew_when_the_load_falls() -> None:
    load = Load(upscale_delay_s=3)
    assert [load.second(each) for each in [10, 10, 1, 10, 10, 10, 10]] == [1, 1, 1, 1, 1, 1, 10]


def test_the_delay_begins_anew_when_the_direction_changes() -> None:
    load = Load(count=5, upscale_delay_s=3, downscale_delay_s=3)
    assert [load.second(each) for each in [9, 9, 1, 1, 9, 9, 1, 1, 1, 1]] == [5] * 9 + [1]


def test_fewer_keeps_the_most_that_was_needed_meanwhile() -> None:
    load = Load(count=10, downscale_delay_s=3)
    assert [load.second(each) for each in [2, 6, 2, 2]] == [10, 10, 10, 6]


def test_a_short_burst_ends_a_downscale() -> None:
    load = Load(count=4, downscale_delay_s=3)
    assert [load.second(each) for each in [1, 1, 4, 1, 1, 1, 1]] == [4, 4, 4, 4, 4, 4, 1]


def test_the_load_is_averaged_over_the_look_back_period() -> None:
    load = Load(look_back_period_s=3.5)
    assert [load.second(each) for each in [1, 1, 1, 9]] == [1, 1, 1, 3]


@pytest.mark.parametrize(("function", "expected"), [("max", 8), ("min", 2)])
def test_other_ways_to_aggregate(function: str, expected: int) -> None:
    load = Load(look_back_period_s=9, aggregation_function=function, upscale_delay_s=2)
    for ongoing in [8, 2, 4]:
        load.second(ongoing)
    assert load.count == expected


def test_from_zero_at_once_although_there_is_a_delay() -> None:
    load = Load(count=0, upscale_delay_s=30)
    assert load.second() == 0
    assert load.second(waiting=1) == 1


def test_from_zero_to_as_many_as_wait() -> None:
    assert Load(count=0, target_ongoing_requests=2).second(waiting=7) == 4
    assert Load(count=0, target_ongoing_requests=2, max_replicas=3).second(waiting=7) == 3


def test_to_zero_after_its_own_delay() -> None:
    load = Load(count=3, downscale_delay_s=1, downscale_to_zero_delay_s=4)
    assert [load.second(0) for _ in range(9)] == [3, 1, 1, 1, 1, 1, 0, 0, 0]


def test_never_to_zero_while_anything_runs() -> None:
    load = Load(count=1, target_ongoing_requests=100)
    assert load.second(0.01) == 1
    assert load.second(0) == 0


def test_a_small_factor_reaches_the_end() -> None:
    load = Load(count=5, downscaling_factor=0.1)
    counts = [load.second(0) for _ in range(5)]
    assert counts == [4, 3, 2, 1, 0]


def test_callers_that_fall_silent_are_forgotten() -> None:
    load = Load(count=1)
    load.second(ongoing=1)
    load.scaler.waiting("dead", 50, load.now)
    assert load.scaler.waiting_now(load.now) == 50
    assert load.scaler.waiting_now(load.now + 10) == 0


def test_starting_replicas_are_waited_for() -> None:
    load = Load(count=4)
    assert load.scaler.decide((), 4, 1.0) == 4  # none runs yet


def test_replicas_that_are_gone_do_not_count() -> None:
    load = Load(count=2)
    load.scaler.measured(ReplicaID("app", "model", "gone"), 1000, {}, 1.0)
    assert load.second(2) == 2


def test_a_policy_of_the_user() -> None:
    seen: list[AutoscalingContext] = []

    def policy(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        seen.append(context)
        return context.total_num_requests + context.policy_state.get("calls", 0), {"calls": len(seen)}

    load = Load(policy, count=2)
    assert load.second(ongoing=4, waiting=3) == 7
    assert load.second(ongoing=4, waiting=3) == 8
    assert seen[0].current_num_replicas == 2 and seen[0].total_queued_requests == 3
    assert seen[1].last_scale_up_time == 1.0 and seen[1].policy_state == {"calls": 1}


def test_the_users_metrics_reach_the_policy() -> None:
    load = Load(lambda context: 1, count=1)
    (id,) = replicas(1)
    load.scaler.measured(id, 1, {"memory": 5.0}, 0.9)
    load.scaler.measured(id, 1, {"memory": 7.0}, 1.0)
    assert load.context().aggregated_metrics == {"memory": {id: 6.0}}
    assert load.context().raw_metrics == {"memory": {id: ((0.9, 5.0), (1.0, 7.0))}}


@pytest.mark.parametrize("answer", ["many", None, True, float("nan"), (None, {})])
def test_a_policy_that_returns_nonsense(answer: Any) -> None:
    with pytest.raises(TypeError, match="must return a number"):
        Load(lambda context: answer).second(1)


def test_delays_count_for_policies_too() -> None:
    load = Load(lambda context: 5, upscale_delay_s=2)
    assert [load.second(0) for _ in range(3)] == [1, 1, 5]
