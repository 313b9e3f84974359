"""Scalers, Normalizer and PowerTransformer, against scikit-learn and by hand."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data.exceptions import SchemaError
from aktis.data.preprocessors import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from aktis.data.preprocessors._statistics import Quantiles

VALUES = [4.0, -2.5, 0.0, 11.0, 3.25, 3.25, 7.0, -8.0]
SCALERS = [StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler]


def test_standard_scaler_by_hand(form, fit):
    scaler = fit(StandardScaler(["a"]), {"a": [1, 2, 3, None]})
    assert scaler.stats_ == {"mean(a)": 2.0, "std(a)": pytest.approx((2 / 3) ** 0.5)}
    out = form.lists(scaler.transform_batch(form.make({"a": [2, 5, None], "b": ["x", "y", "z"]})))
    assert out["a"] == [0.0, pytest.approx(3 / (2 / 3) ** 0.5), None]
    assert out["b"] == ["x", "y", "z"]


@pytest.mark.parametrize("ours", SCALERS)
def test_same_as_scikit_learn(ours, form, fit):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    scaler = fit(ours(["a"]), {"a": VALUES})
    if ours is RobustScaler:  # theirs interpolates: give it the quantiles that occur
        ordered = sorted(VALUES)
        low, median, high = (ordered[int(q * 7)] for q in (0.25, 0.5, 0.75))
        expected = (np.array(VALUES) - median) / (high - low)
    else:
        theirs = getattr(preprocessing, ours.__name__)()
        expected = theirs.fit_transform(np.array(VALUES)[:, None])[:, 0]
    assert form.lists(scaler.transform_batch(form.make({"a": VALUES})))["a"] == pytest.approx(expected.tolist())


@pytest.mark.parametrize("ours", SCALERS)
def test_constant_columns_do_not_divide_by_zero(ours, fit):
    out = fit(ours(["a"]), {"a": [5, 5, 5]}).transform_batch(pd.DataFrame({"a": [5.0, 6.0]}))
    assert out["a"].tolist() == ([1.0, 1.2] if ours is MaxAbsScaler else [0.0, 1.0])


@pytest.mark.parametrize("ours", SCALERS)
def test_columns_without_values_become_nan(ours, fit):
    scaler = fit(ours(["a"]), {"a": pa.array([None, None], pa.float64())})
    assert np.isnan(scaler.transform_batch({"a": np.array([1.0, 2.0])})["a"]).all()


@pytest.mark.parametrize("ours", SCALERS)
def test_inverse_and_output_columns(ours, form, fit):
    data = {"a": VALUES, "i": [1, 2, 3, 4, 5, 6, 7, 8]}
    scaler = fit(ours(["a", "i"], output_columns=["a2", "i2"]), data)
    there = scaler.transform_batch(form.make(data))
    assert list(form.lists(there)) == ["a", "i", "a2", "i2"]
    assert form.lists(there)["a"] == VALUES
    back = form.lists(scaler.inverse_transform_batch(there))
    assert list(back) == ["a", "i"]
    assert back["a"] == pytest.approx(VALUES) and back["i"] == pytest.approx(data["i"])


def test_nullable_and_small_types(fit):
    scaler = fit(MinMaxScaler(["a"]), {"a": [0, 10]})
    assert scaler.transform_batch(pd.DataFrame({"a": pd.array([5, None], "Int8")}))["a"].tolist()[0] == 0.5
    assert scaler.transform_batch(pd.DataFrame({"a": np.array([5], np.float32)}))["a"].dtype == np.float32
    assert scaler.transform_batch(pd.DataFrame({"a": [True]}))["a"].tolist() == [0.1]
    table = scaler.transform_batch(pa.table({"a": pa.array([5, None, 2], pa.uint8())}))
    assert table["a"].to_pylist() == [0.5, None, 0.2]


def test_nan_in_arrow_stays_nan_and_null_stays_null(fit):
    scaler = fit(StandardScaler(["a"]), {"a": [1.0, 3.0]})
    out = scaler.transform_batch(pa.table({"a": pa.array([float("nan"), None, 2.0])}))["a"]
    assert out.null_count == 1 and np.isnan(out[0].as_py()) and out[2].as_py() == 0.0


def test_input_is_not_changed(form, fit):
    data = form.make({"a": [1.0, 2.0, 3.0]})
    fit(StandardScaler(["a"]), {"a": [1, 2]}).transform_batch(data)
    assert form.lists(data)["a"] == [1.0, 2.0, 3.0]


def test_robust_scaler_quantiles_occur_in_the_data(fit):
    values = list(range(101))
    scaler = fit(RobustScaler(["a"], quantile_range=(0.29, 0.9)), {"a": values})
    assert scaler.stats_ == {"low_quantile(a)": 29.0, "median(a)": 50.0, "high_quantile(a)": 90.0}
    with pytest.raises(ValueError, match="quantile_range"):
        RobustScaler(["a"], (0.9, 0.1))


def test_missing_columns_and_text_are_named(form, fit):
    scaler = fit(StandardScaler(["height"]), {"height": [1, 2]})
    with pytest.raises(SchemaError, match=r"'height'.*Did you mean 'heigth'"):
        scaler.transform_batch(form.make({"heigth": [1]}))
    with pytest.raises(SchemaError, match=r"needs numbers.*'height'"):
        scaler.transform_batch(form.make({"height": ["tall"]}))
    with pytest.raises(SchemaError, match="needs numbers"):
        fit(StandardScaler(["height"]), {"height": ["tall"]})
    with pytest.raises(SchemaError, match="needs the column 'width'"):
        fit(StandardScaler(["width"]), {"height": [1]})


@pytest.mark.parametrize("columns", ["a", ["a", "a"], [1]])
def test_bad_column_lists(columns):
    with pytest.raises(ValueError, match="columns"):
        StandardScaler(columns)
    with pytest.raises(ValueError, match="2 columns and 1 output"):
        StandardScaler(["a", "b"], output_columns=["c"])


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_normalizer(norm, form):
    rows = np.array([[3.0, -4.0], [0.0, 0.0], [1.0, 2.0]])
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    expected = preprocessing.normalize(rows, norm=norm)
    out = form.lists(Normalizer(["a", "b"], norm=norm).transform_batch(form.make({"a": rows[:, 0], "b": rows[:, 1]})))
    assert np.allclose([out["a"], out["b"]], expected.T)
    with pytest.raises(ValueError, match="norm must be one of"):
        Normalizer(["a"], norm="l3")


@pytest.mark.parametrize("power", [-1.5, 0, 0.5, 1, 2, 3])
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_power_transformer_same_as_scipy_and_back(method, power, form):
    stats = pytest.importorskip("scipy.stats")
    values = np.array([0.1, 1.0, 2.5, 40.0]) if method == "box-cox" else np.array([-3.0, -0.5, 0.0, 0.7, 4.0])
    expected = (stats.boxcox if method == "box-cox" else stats.yeojohnson)(values, lmbda=power)
    transformer = PowerTransformer(["a"], power, method)
    there = transformer.transform_batch(form.make({"a": values}))
    assert form.lists(there)["a"] == pytest.approx(expected.tolist())
    assert form.lists(transformer.inverse_transform_batch(there))["a"] == pytest.approx(values.tolist())


def test_box_cox_of_what_is_not_positive():
    out = PowerTransformer(["a"], 0.5, "box-cox").transform_batch(pd.DataFrame({"a": [-1.0, 0.0, 4.0]}))
    assert np.isnan(out["a"][:2]).all() and out["a"][2] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="method"):
        PowerTransformer(["a"], 1, "log")


FLOATS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(values=FLOATS, scaler=st.sampled_from(SCALERS), cut=st.integers(0, 30))
def test_inverse_of_transform_is_the_data(values, scaler, cut):
    table = pa.table({"a": pa.array(values, pa.float64())})
    fitted = scaler(["a"])._fit_tables([table.slice(0, cut), table.slice(cut)])
    back = fitted.inverse_transform_batch(fitted.transform_batch(table))["a"].to_pylist()
    assert [v is None for v in back] == [v is None for v in values]
    numbers = [v for v in values if v is not None]
    assert [v for v in back if v is not None] == pytest.approx(numbers, rel=1e-6, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_statistics_do_not_depend_on_blocks(values, cuts):
    table = pa.table({"a": values})
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    scaler = StandardScaler(["a"])._fit_tables([table.slice(a, b - a) for a, b in zip(edges, edges[1:])])
    assert scaler.stats_["mean(a)"] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert scaler.stats_["std(a)"] == pytest.approx(np.std(values), rel=1e-7, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0]), st.floats(allow_nan=False)), min_size=1, max_size=60
    ),
    limit=st.integers(0, 70),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    low=st.floats(0, 0.49),
)
def test_quantiles_are_exact_in_bounded_memory(values, limit, cuts, low):
    table = pa.table({"a": pa.array(values, pa.float64())})
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    blocks = [table.slice(a, b - a) for a, b in zip(edges, edges[1:])]
    with mock.patch.object(Quantiles, "LIMIT", limit):
        stats = RobustScaler(["a"], (low, 0.75))._fit_tables(blocks).stats_
    ordered = sorted(values)
    assert list(stats.values()) == [ordered[math.floor(q * (len(values) - 1) + 1e-9)] for q in (low, 0.5, 0.75)]


def test_quantiles_of_many_values_take_few_passes_and_little_memory():
    values = np.random.default_rng(0).normal(size=200_000)
    table = pa.table({"a": values})
    passes = []
    add = Quantiles.add

    def counted(self, frame, column):
        add(self, frame, column)
        passes.append(sum(len(keys) for arrays in self.kept for keys in arrays))

    with mock.patch.object(Quantiles, "LIMIT", 20_000), mock.patch.object(Quantiles, "add", counted):
        scaler = RobustScaler(["a"])._fit_tables([table])
    assert scaler.stats_["median(a)"] == np.quantile(values, 0.5, method="lower")
    assert len(passes) == 2 and max(passes) <= 20_000
