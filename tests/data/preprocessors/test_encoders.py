"""Encoders: numbering, unknown values, nulls, and the way back."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data.exceptions import PreprocessorNotFittedException, SchemaError
from aktis.data.preprocessors import Categorizer, LabelEncoder, MultiHotEncoder, OneHotEncoder, OrdinalEncoder

DAY = datetime.date(2024, 2, 29)


def test_ordinal_numbers_values_in_order(form, fit):
    encoder = fit(OrdinalEncoder(["c"]), {"c": ["warm", "cold", "hot", "cold"]})
    assert encoder.stats_ == {"unique_values(c)": {"cold": 0, "hot": 1, "warm": 2}}
    assert encoder.categories_ == {"c": ["cold", "hot", "warm"]}
    out = encoder.transform_batch(form.make({"c": ["hot", "cold", "tepid"]}))
    assert form.lists(out)["c"] == [1, 0, None]


def test_codes_are_integers_in_every_arrow_block(fit):
    encoder = fit(OrdinalEncoder(["c"]), {"c": ["a", "b"]})
    for values in (["a"], ["a", "?"]):
        assert encoder.transform_batch(pa.table({"c": values})).schema.field("c").type == pa.int64()
    assert encoder.transform_batch(pd.DataFrame({"c": ["b"]}))["c"].dtype == np.int64
    assert encoder.transform_batch(pd.DataFrame({"c": ["?"]}))["c"].dtype == np.float64


def test_ordinal_lists_by_element_or_as_a_whole(form, fit):
    data = {"l": [["b", "a"], ["a"], [], ["b", "a"]]}
    elements = fit(OrdinalEncoder(["l"]), data)
    out = elements.transform_batch(form.make({"l": [["a", "b"], [], ["z"]]}))
    assert form.lists(out)["l"] == [[0, 1], [], [None]]
    assert form.lists(elements.inverse_transform_batch(elements.transform_batch(form.make(data)))) == data
    whole = fit(OrdinalEncoder(["l"], encode_lists=False), data)
    assert whole.categories_ == {"l": [(), ("a",), ("b", "a")]}
    out = whole.transform_batch(form.make(data))
    assert form.lists(out)["l"] == [2, 1, 0, 2]
    assert form.lists(whole.inverse_transform_batch(out)) == data


@pytest.mark.parametrize(
    "make", [OrdinalEncoder, OneHotEncoder, MultiHotEncoder, lambda columns: LabelEncoder(columns[0])]
)
def test_nulls_are_refused(make, form, fit):
    with pytest.raises(ValueError, match=r"cannot fit the column 'c', which has nulls"):
        fit(make(["c"]), {"c": ["a", None]})
    encoder = fit(make(["c"]), {"c": ["a", "b"]})
    with pytest.raises(ValueError, match=r"cannot transform the column 'c', which has nulls"):
        encoder.transform_batch(form.make({"c": ["a", None]}))
    with pytest.raises(ValueError, match="nulls"):
        fit(make(["c"]), {"c": [1.0, float("nan")]})


def test_one_hot_columns(form, fit):
    encoder = fit(OneHotEncoder(["c"]), {"c": [3, 1, 3]})
    out = form.lists(encoder.transform_batch(form.make({"x": [0, 0, 0], "c": [1, 3, 7]})))
    assert out == {"x": [0, 0, 0], "c_1": [1, 0, 0], "c_3": [0, 1, 0]}


def test_one_hot_vector_and_back(form, fit):
    encoder = fit(OneHotEncoder(["c"], output="vector", output_columns=["v"]), {"c": ["p", "q"]})
    out = encoder.transform_batch(form.make({"c": ["q", "p", "?"]}))
    assert form.lists(out)["v"] == [[0, 1], [1, 0], [0, 0]]
    assert form.lists(encoder.inverse_transform_batch(out)) == {"c": ["q", "p", None]}


def test_one_hot_keeps_the_most_frequent(fit):
    data = {"c": ["a", "b", "b", "c", "c", "d"]}
    assert fit(OneHotEncoder(["c"], max_categories={"c": 2}), data).categories_ == {"c": ["b", "c"]}
    assert fit(OneHotEncoder(["c"], max_categories={"c": 3}), data).categories_ == {"c": ["a", "b", "c"]}
    with pytest.raises(ValueError, match="max_categories has the column 'd'"):
        OneHotEncoder(["c"], max_categories={"d": 2})


def test_fixed_categories_need_no_fit(form, fit):
    encoder = OneHotEncoder(["c"], categories={"c": ["b", "a"]})
    assert encoder.fit_status() == "NOT_FITTABLE"
    out = encoder.transform_batch(form.make({"c": ["a", "b", "z"]}))
    assert form.lists(out) == {"c_b": [0, 1, 0], "c_a": [1, 0, 0]}
    assert form.lists(encoder.inverse_transform_batch(out)) == {"c": ["a", "b", None]}
    partly = fit(OrdinalEncoder(["c", "d"], categories={"c": ["b", "a"]}), {"c": ["a", "a"], "d": [2, 1]})
    assert partly.categories_ == {"c": ["b", "a"], "d": [1, 2]}
    with pytest.raises(ValueError, match="different"):
        OneHotEncoder(["c"], categories={"c": ["a", "a"]})


def test_new_columns_do_not_overwrite_others(fit):
    encoder = fit(OneHotEncoder(["c"]), {"c": ["x"]})
    with pytest.raises(SchemaError, match="'c_x'"):
        encoder.transform_batch(pd.DataFrame({"c": ["x"], "c_x": [1]}))


def test_many_new_columns_at_once(fit):
    encoder = fit(OneHotEncoder(["c"]), {"c": list(range(500))})
    out = encoder.transform_batch(pd.DataFrame({"c": [0, 499]}))
    assert out.shape == (2, 500) and out["c_499"].tolist() == [0, 1]


def test_multi_hot_counts(form, fit):
    encoder = fit(MultiHotEncoder(["l"]), {"l": [["a", "b"], [], ["c"]]})
    out = encoder.transform_batch(form.make({"l": [["b", "b", "?"], [], ["a", "c"]]}))
    assert form.lists(out)["l"] == [[0, 2, 0], [0, 0, 0], [1, 0, 1]]
    with pytest.raises(TypeError, match="no inverse"):
        encoder.inverse_transform_batch(out)
    assert fit(MultiHotEncoder(["l"], max_categories={"l": 1}), {"l": [["a", "b"], ["b"]]}).categories_ == {"l": ["b"]}


def test_label_encoder(form, fit):
    encoder = LabelEncoder("y")
    with pytest.raises(PreprocessorNotFittedException):
        encoder.classes_
    fit(encoder, {"y": ["no", "yes", "no"]})
    assert encoder.classes_ == ["no", "yes"]
    out = encoder.transform_batch(form.make({"y": ["yes", "no", "maybe"]}))
    assert form.lists(out)["y"] == [1, 0, None]
    assert form.lists(encoder.inverse_transform_batch(out))["y"] == ["yes", "no", None]
    for wrong in (2, -1, 0.5):
        with pytest.raises(SchemaError, match="no index of a category"):
            encoder.inverse_transform_batch(form.make({"y": [wrong]}))


def test_label_encoder_output_column(form, fit):
    encoder = fit(LabelEncoder("y", output_column="n"), {"y": ["a", "b"]})
    assert form.lists(encoder.transform_batch(form.make({"y": ["b"]}))) == {"y": ["b"], "n": [1]}
    assert form.lists(encoder.inverse_transform_batch(form.make({"n": [1.0, 0.0]}))) == {"y": ["b", "a"]}


def test_categorizer(form, fit):
    encoder = fit(Categorizer(["c"]), {"c": ["b", None, "a"]})
    assert encoder.categories_ == {"c": ["a", "b"]}
    out = encoder.transform_batch(form.make({"c": ["b", "z", None, "a"]}))
    if form.name == "pandas":
        assert out["c"].dtype == encoder.stats_["c"] and out["c"].cat.codes.tolist() == [1, -1, -1, 0]
    if form.name == "arrow":
        assert pa.types.is_dictionary(out.schema.field("c").type)
    assert form.lists(out)["c"] == ["b", None, None, "a"]
    assert form.lists(encoder.inverse_transform_batch(out))["c"] == ["b", None, None, "a"]


def test_categorizer_with_types(fit):
    sizes = pd.CategoricalDtype(["s", "m", "l"], ordered=True)
    encoder = fit(
        Categorizer(["size", "n"], dtypes={"size": sizes}),
        {
            "size": ["m"],
            "n": [
                2,
            ],
        },
    )
    out = encoder.transform_batch(pd.DataFrame({"size": ["l", "s"], "n": [2, 3]}))
    assert out["size"].dtype == sizes and out["size"].max() == "l"
    assert out["n"].cat.codes.tolist() == [0, -1]
    with pytest.raises(ValueError, match="dtypes has the column 'x'"):
        Categorizer(["size"], dtypes={"x": sizes})


@pytest.mark.parametrize(
    "values",
    [[3, 1, 2], ["b", "a"], [2.5, -1.0], [True, False], [b"\x00", b"z"], [DAY, datetime.date(1999, 1, 1)],
     [datetime.datetime(2024, 1, 1, 12), datetime.datetime(2020, 1, 1)]],
    ids=lambda values: type(values[0]).__name__,
)  # fmt: skip
def test_values_come_back_with_their_types(values, fit):
    for make in (OrdinalEncoder, OneHotEncoder):
        encoder = fit(make(["c"]), {"c": values})
        assert encoder.categories_["c"] == sorted(values)
        assert {type(v) for v in encoder.categories_["c"]} == {type(values[0])}
        back = encoder.inverse_transform_batch(encoder.transform_batch(pa.table({"c": values})))
        assert back["c"].to_pylist() == values


def test_objects_of_several_types():
    frame = pd.DataFrame({"c": pd.Series(["a", 2, "b", 1], dtype=object)})
    encoder = OrdinalEncoder(["c"], categories={"c": [1, 2, "a", "b"]})
    out = encoder.transform_batch(frame)
    assert out["c"].tolist() == [2, 1, 3, 0]
    assert encoder.inverse_transform_batch(out)["c"].tolist() == ["a", 2, "b", 1]


def test_dictionaries_and_categories_are_read_as_their_values(fit):
    encoder = fit(OrdinalEncoder(["c"]), {"c": pa.array(["b", "a"]).dictionary_encode()})
    assert encoder.categories_ == {"c": ["a", "b"]}
    assert encoder.transform_batch(pd.DataFrame({"c": pd.Categorical(["b"])}))["c"].tolist() == [1]


TEXTS = st.lists(st.text(max_size=3), min_size=1, max_size=20)


@settings(max_examples=30, deadline=None)
@given(values=TEXTS, make=st.sampled_from([OrdinalEncoder, OneHotEncoder, Categorizer]), cut=st.integers(0, 20))
def test_inverse_of_transform_is_the_data(values, make, cut):
    table = pa.table({"c": values})
    encoder = make(["c"])._fit_tables([table.slice(0, cut), table.slice(cut)])
    assert encoder.inverse_transform_batch(encoder.transform_batch(table))["c"].to_pylist() == values
    frame = table.to_pandas()
    assert encoder.inverse_transform_batch(encoder.transform_batch(frame))["c"].tolist() == values


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.lists(st.integers(-3, 3), max_size=5), min_size=1, max_size=12))
def test_multi_hot_is_a_counter(rows):
    table = pa.table({"l": pa.array(rows, pa.list_(pa.int64()))})
    encoder = MultiHotEncoder(["l"])._fit_tables([table])
    values = encoder.categories_["l"]
    out = encoder.transform_batch(table.to_pandas())["l"].tolist()
    assert [list(row) for row in out] == [[row.count(value) for value in values] for row in rows]
