"""Running statistics against NumPy's, however values are pushed, split and merged."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.rllib.utils.filter import ConcurrentMeanStdFilter, Filter, MeanStdFilter, NoFilter, RunningStat, get_filter

values = st.lists(st.floats(-1e6, 1e6, width=32), min_size=0, max_size=40)


def stat_of(numbers: list[float]) -> RunningStat:
    stat = RunningStat(())
    for number in numbers:
        stat.push(number)
    return stat


@given(values, values, values)
def test_parts_merge_to_the_whole(first: list[float], second: list[float], third: list[float]) -> None:
    everything = [*first, *second, *third]
    merged = stat_of(first)
    merged.push_batch(np.array(second, np.float32))
    merged.update(stat_of(third))
    assert merged.n == len(everything)
    if everything:
        np.testing.assert_allclose(merged.mean, np.mean(everything, dtype=np.float64), rtol=1e-9, atol=1e-6)
    if len(everything) > 1:
        np.testing.assert_allclose(merged.var, np.var(everything, ddof=1, dtype=np.float64), rtol=1e-6, atol=1e-4)
    else:
        assert merged.var == 1


def test_large_offsets_lose_nothing() -> None:
    stat = stat_of([1e9 + step for step in (1.0, 2.0, 3.0)])
    assert stat.var == pytest.approx(1.0) and stat.mean == pytest.approx(1e9 + 2)


def test_values_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot take a value of shape \(3,\)"):
        RunningStat((2,)).push(np.zeros(3))


def test_a_filter_normalises_and_clips() -> None:
    filter_ = MeanStdFilter((1,), clip=1.5)
    rows = np.array([[1.0], [2.0], [3.0], [10.0]], np.float32)
    filtered = filter_.batch(rows)
    expected = np.clip((rows - rows.mean()) / rows.std(ddof=1), -1.5, 1.5)
    np.testing.assert_allclose(filtered, expected, rtol=1e-5)
    assert filtered.dtype == np.float32
    np.testing.assert_allclose(filter_(rows[1], update=False), filtered[1], rtol=1e-5)
    assert filter_.running_stats.n == 4 and filter_.buffer.n == 4


def test_demean_and_destd_can_be_left_out() -> None:
    rows = np.array([[1.0], [3.0]], np.float32)
    np.testing.assert_allclose(MeanStdFilter((1,), destd=False).batch(rows), rows - 2)
    np.testing.assert_allclose(MeanStdFilter((1,), demean=False, clip=None).batch(rows), rows / np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("cls", [MeanStdFilter, ConcurrentMeanStdFilter])
def test_workers_come_to_the_same_as_one_that_saw_everything(cls: type[MeanStdFilter]) -> None:
    rng = np.random.default_rng(0)
    local, alone = cls((3,)), cls((3,))
    workers = [cls((3,)), cls((3,))]
    for _ in range(3):
        for worker in workers:
            rows = rng.normal(5, 3, (20, 3)).astype(np.float32)
            worker.batch(rows)
            alone.batch(rows)
        for worker in workers:
            taken = worker.as_serializable()
            worker.reset_buffer()
            local.apply_changes(pickle.loads(pickle.dumps(taken)))
        for worker in workers:
            worker.sync(local)
    for filter_ in (local, *workers):
        assert filter_.running_stats.n == 120
        np.testing.assert_allclose(filter_.running_stats.mean, alone.running_stats.mean, rtol=1e-12)
        np.testing.assert_allclose(filter_.running_stats.var, alone.running_stats.var, rtol=1e-12)


def test_a_copy_goes_its_own_way() -> None:
    filter_ = MeanStdFilter((1,))
    filter_(np.ones(1))
    copy = filter_.copy()
    copy(np.zeros(1))
    assert (filter_.running_stats.n, copy.running_stats.n) == (1, 2)


@pytest.mark.parametrize("cls", [NoFilter, MeanStdFilter, ConcurrentMeanStdFilter])
def test_state_is_plain(cls: Any) -> None:
    filter_ = cls() if cls is NoFilter else cls((2,), clip=3.0)
    filter_.batch(np.array([[1, 2], [3, 5]], np.float32))
    state = json.loads(json.dumps(filter_.to_state(), default=lambda array: array.tolist()))
    again = Filter.from_state(state)
    assert type(again) is cls
    rows = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(again.batch(rows, update=False), filter_.batch(rows, update=False))
    with pytest.raises(ValueError, match="no filter 'Median'"):
        Filter.from_state({"type": "Median"})


def test_filters_by_name() -> None:
    assert isinstance(get_filter("NoFilter", (2,)), NoFilter) and isinstance(get_filter(None, (2,)), NoFilter)
    assert isinstance(get_filter("MeanStdFilter", (2,)), MeanStdFilter)
    assert get_filter("ConcurrentMeanStdFilter", (2,)).is_concurrent
    assert isinstance(get_filter(lambda shape: MeanStdFilter(shape, clip=None), (2,)), MeanStdFilter)
    with pytest.raises(ValueError, match="no observation_filter 'MeanStd'"):
        get_filter("MeanStd", (2,))


def test_filters_of_different_shapes_are_not_synced() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\) cannot be synced with one for \(3,\)"):
        MeanStdFilter((2,)).sync(MeanStdFilter((3,)))
