"""What is done to results before a callback gets them."""

from __future__ import annotations

import copy
import logging
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.train.callbacks.results_preprocessors import (
    AverageResultsPreprocessor,
    ExcludedKeysResultsPreprocessor,
    IndexedResultsPreprocessor,
    KeysResultsPreprocessor,
    MaxResultsPreprocessor,
    ResultsPreprocessor,
    SequentialResultsPreprocessor,
    WeightedAverageResultsPreprocessor,
)
from aktis.train.callbacks.results_preprocessors.aggregate import AggregateResultsPreprocessor

RESULTS: list[dict[str, Any]] = [
    {"loss": 1.0, "n": 10, "name": "x", "_timestamp": 5},
    {"loss": 3.0, "n": 30, "name": "y", "_timestamp": 6},
]


def test_keys_and_ranks_are_picked() -> None:
    assert ExcludedKeysResultsPreprocessor("loss").preprocess([{"loss": 1, "a": 2}, {"a": 3}]) == [{"a": 2}, {"a": 3}]
    assert ExcludedKeysResultsPreprocessor(["loss", "a"]).preprocess([{"loss": 1, "a": 2, "b": 3}]) == [{"b": 3}]
    assert KeysResultsPreprocessor(["a"]).preprocess([{"loss": 1, "a": 2}, {"b": 3}]) == [{"a": 2}, {}]
    assert KeysResultsPreprocessor().preprocess(RESULTS) == RESULTS
    assert IndexedResultsPreprocessor(1).preprocess(RESULTS) == RESULTS[1:]
    assert IndexedResultsPreprocessor([2, 0]).preprocess([{"a": 0}, {"a": 1}, {"a": 2}]) == [{"a": 0}, {"a": 2}]
    assert IndexedResultsPreprocessor([0, 7]).preprocess(RESULTS) == RESULTS[:1]
    assert IndexedResultsPreprocessor(None).preprocess(RESULTS) == RESULTS


@pytest.mark.parametrize("indices", ["0", 1.5, [0, "1"], [True]])
def test_ranks_are_whole_numbers(indices: Any) -> None:
    with pytest.raises(TypeError, match="indices must"):
        IndexedResultsPreprocessor(indices)


def test_numbers_over_all_workers_are_added_to_each() -> None:
    averaged = AverageResultsPreprocessor().preprocess(RESULTS)
    assert [result["avg(loss)"] for result in averaged] == [2.0, 2.0]
    assert averaged[1]["avg(n)"] == 20.0 and averaged[1]["name"] == "y"
    assert not any("name)" in key or "_timestamp)" in key for key in averaged[0])
    assert MaxResultsPreprocessor(["loss"]).preprocess(RESULTS)[0]["max(loss)"] == 3.0
    weighted = WeightedAverageResultsPreprocessor(weight_key="n").preprocess(RESULTS)
    assert weighted[0]["weight_avg_n(loss)"] == pytest.approx(2.5)
    assert "weight_avg_n(n)" not in weighted[0]


def test_numbers_of_numpy_count_and_nan_stays() -> None:
    results = [{"a": np.float32(1), "b": float("nan")}, {"a": np.array(2.0), "b": 1.0}]
    assert AverageResultsPreprocessor().preprocess(results)[0]["avg(a)"] == 1.5
    assert math.isnan(MaxResultsPreprocessor(["b"]).preprocess(results)[1]["max(b)"])


def test_a_key_without_a_number_in_each_result_is_left_out_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    preprocessor = AverageResultsPreprocessor(["loss", "name", "missing"])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            out = preprocessor.preprocess(copy.deepcopy(RESULTS))
    assert [key for key in out[0] if "avg(" in key] == ["avg(loss)"]
    assert len(caplog.records) == 2
    assert "name is no number in the results of the ranks [0, 1]" in caplog.text


@pytest.mark.parametrize("weights", [[None, 3], [-1, 3], [0, 0], [math.nan, 1], [math.inf, 1], ["x", 1]])
def test_unusable_weights_weigh_the_same(weights: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    results = [{"loss": value, "w": weight} for value, weight in zip([1.0, 3.0], weights)]
    out = WeightedAverageResultsPreprocessor(["loss"], weight_key="w").preprocess(results)
    assert out[0]["weight_avg_w(loss)"] == 2.0
    assert "all weigh the same" in caplog.text


def test_one_after_the_other() -> None:
    both = SequentialResultsPreprocessor(
        [AverageResultsPreprocessor(["loss"]), IndexedResultsPreprocessor(0), KeysResultsPreprocessor("avg(loss)")]
    )
    assert both.preprocess(RESULTS) == [{"avg(loss)": 2.0}]
    with pytest.raises(TypeError, match="ResultsPreprocessor"):
        SequentialResultsPreprocessor(["loss"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="write \\['loss'\\]"):
        AverageResultsPreprocessor("loss")


ROW = st.dictionaries(
    st.sampled_from("abc"), st.floats(-1e6, 1e6) | st.integers(-9, 9) | st.text(max_size=2) | st.none(), max_size=3
)


@settings(deadline=None)  # the first example imports
@given(st.lists(ROW, max_size=4))
def test_results_stay_as_they_are_and_averages_lie_between(results: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(results)
    preprocessors: list[ResultsPreprocessor] = [
        AverageResultsPreprocessor(),
        MaxResultsPreprocessor(),
        WeightedAverageResultsPreprocessor(weight_key="a"),
        ExcludedKeysResultsPreprocessor("a"),
        IndexedResultsPreprocessor([0]),
    ]
    for preprocessor in preprocessors:
        out = preprocessor.preprocess(results)
        assert results == before
        for key, value in out[0].items() if out else ():
            if key.startswith(("avg(", "weight_avg_a(")):
                column = [result[key[key.index("(") + 1 : -1]] for result in results]
                assert min(column) - 1e-6 <= value <= max(column) + 1e-6


def test_a_number_of_ones_own_over_all_ranks(caplog: pytest.LogCaptureFixture) -> None:
    class Spread(AggregateResultsPreprocessor):
        def name_of(self, key: str) -> str:
            return f"spread({key})"

        def aggregate(self, values: list[float], results: list[dict[str, Any]]) -> float:
            assert len(results) == 2
            return max(values) - min(values)

    found = Spread().preprocess(RESULTS)
    assert [result["spread(loss)"] for result in found] == [2.0, 2.0]
    assert [result["spread(n)"] for result in found] == [20.0, 20.0]
    assert not any("name" in key or "_timestamp" in key for key in found[0] if key.startswith("spread"))
    assert "spread(name)" not in Spread(["name"]).preprocess(RESULTS)[0]
    assert "name is no number in the results of the ranks [0, 1]: spread(name) is left out" in caplog.text
    assert Spread().preprocess([]) == []
    with pytest.raises(TypeError, match="abstract"):
        AggregateResultsPreprocessor()  # type: ignore[abstract]
