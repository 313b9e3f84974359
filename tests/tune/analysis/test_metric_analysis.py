"""What is known of a metric over all results of a trial."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.tune.experiment.metric_analysis import MetricAnalysis


def recorded(values: list[float]) -> MetricAnalysis:
    analysis = MetricAnalysis()
    for count, value in enumerate(values, 1):
        analysis.record([("x", value)], count)
    return analysis


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_the_statistics_are_those_of_all_values(values: list[float]) -> None:
    found = recorded(values)["x"]
    assert (found["max"], found["min"], found["last"]) == (max(values), min(values), values[-1])
    assert found["avg"] == pytest.approx(statistics.fmean(values), rel=1e-6, abs=1e-6)
    assert found["last-5-avg"] == pytest.approx(statistics.fmean(values[-5:]), rel=1e-9, abs=1e-9)
    assert found["last-10-avg"] == pytest.approx(statistics.fmean(values[-10:]), rel=1e-9, abs=1e-9)


def test_nan_is_no_extreme() -> None:
    found = recorded([math.nan, 2.0, math.nan, 1.0])["x"]
    assert (found["max"], found["min"], found["last"]) == (2.0, 1.0, 1.0)
    assert math.isnan(found["avg"])


def test_it_is_a_mapping_that_can_be_stored() -> None:
    analysis = recorded([3.0, 1.0])
    assert list(analysis) == ["x"] and len(analysis) == 1 and "x" in analysis and "y" not in analysis
    with pytest.raises(KeyError):
        analysis["y"]
    again = MetricAnalysis.from_state(analysis.to_state())
    assert dict(again) == dict(analysis)
    again.record([("x", 5.0)], 3)
    assert again["x"]["max"] == 5.0 and analysis["x"]["max"] == 3.0
