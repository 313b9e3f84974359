"""The saved form: what goes in comes out, and nothing in it runs."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import pickle
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data import preprocessors
from aktis.data.preprocessors import (
    BatchMapper,
    Categorizer,
    Chain,
    Concatenator,
    CountVectorizer,
    CustomKBinsDiscretizer,
    FeatureHasher,
    HashingVectorizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    MultiHotEncoder,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    Preprocessor,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Tokenizer,
    TorchVisionPreprocessor,
    UniformKBinsDiscretizer,
)

DATA = {"n": [1.5, 2.5, 9.0], "i": [1, 2, 3], "s": ["x y", "y", "z"], "l": [["p"], ["q", "p"], []]}
SIZES = pd.CategoricalDtype(["s", "m", "l"], ordered=True)

EVERY = [
    BatchMapper(json.dumps, batch_format="numpy", batch_size=None),
    Categorizer(["s", "i"], dtypes={"s": SIZES}),
    Chain(StandardScaler(["n"]), Chain(OneHotEncoder(["s"]), LabelEncoder("i"))),
    Concatenator("v", exclude=["s", "l"], dtype=np.float32),
    CountVectorizer(["s"], max_features=2),
    CustomKBinsDiscretizer(["n", "i"], {"n": [0, 2, np.inf], "i": pd.IntervalIndex.from_breaks([0, 2, 4])}),
    FeatureHasher(["n", "i"], 2),
    HashingVectorizer(["s"], 3, string.capwords),
    LabelEncoder("s", output_column="y"),
    MaxAbsScaler(["n"]),
    MinMaxScaler(["n", "i"], output_columns=["a", "b"]),
    MultiHotEncoder(["l"], max_categories={"l": 1}),
    Normalizer(["n", "i"], norm="l1"),
    OneHotEncoder(["s"], categories={"s": ["z", "y"]}, output="vector"),
    OrdinalEncoder(["s", "l"], encode_lists=False),
    PowerTransformer(["n"], 0.5),
    RobustScaler(["n"], (0.1, 0.9)),
    SimpleImputer(["n"], "constant", {"n": 0.0}),
    StandardScaler(["n"]),
    Tokenizer(["s"]),
    TorchVisionPreprocessor(["n"], np.sqrt, batched=True),
    UniformKBinsDiscretizer(["n"], 2, dtypes={"n": np.int8}),
]


def fitted(preprocessor: Preprocessor) -> Preprocessor:
    table = pa.table(DATA)
    for part in getattr(preprocessor, "preprocessors", [preprocessor]):
        if isinstance(part, Chain):
            fitted(part)
        elif part.fit_status() == "NOT_FITTED":
            part._fit_tables([table])
    return preprocessor


def test_every_preprocessor_is_in_the_list():
    assert sorted(type(one).__name__ for one in EVERY) == sorted(set(preprocessors.__all__) - {"Preprocessor"})


@pytest.mark.parametrize("preprocessor", EVERY, ids=lambda one: type(one).__name__)
def test_what_is_saved_is_loaded(preprocessor, tmp_path):
    path = tmp_path / "prep.json"
    fitted(preprocessor).save(path)
    loaded = Preprocessor.load(path, allow_functions=True)
    assert type(loaded) is type(preprocessor)
    assert repr(loaded) == repr(preprocessor)
    assert loaded.to_json() == preprocessor.to_json() == path.read_text()
    assert loaded.fit_status() == preprocessor.fit_status()
    pickled = pickle.loads(pickle.dumps(preprocessor))
    assert pickled.to_json() == preprocessor.to_json()
    if not isinstance(preprocessor, (BatchMapper, Concatenator, TorchVisionPreprocessor)):
        expected = preprocessor.transform_batch(pa.table(DATA))
        assert loaded.transform_batch(pa.table(DATA)).equals(expected)


def test_unfitted_ones_stay_unfitted():
    loaded = Preprocessor.from_json(StandardScaler(["a"]).to_json())
    assert loaded.fit_status() == "NOT_FITTED"
    assert "state" in json.loads(loaded.to_json())["preprocessor"]


VALUES = st.one_of(
    st.integers(), st.booleans(), st.text(max_size=5), st.binary(max_size=5), st.floats(allow_nan=False), st.none(),
    st.dates(), st.datetimes(), st.times(), st.timedeltas(), st.decimals(allow_nan=False),
    st.datetimes(timezones=st.sampled_from([datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=5.5))])),
)  # fmt: skip
NESTED = st.recursive(VALUES, lambda inner: st.tuples(inner, inner) | st.lists(inner, max_size=3), max_leaves=6)


@settings(max_examples=150, deadline=None)
@given(value=NESTED, keys=st.lists(VALUES, max_size=4))
def test_types_of_values_are_kept(value, keys):
    encoder = OrdinalEncoder(["c"])
    encoder.stats_ = {"value": value, "unique_values(c)": {key: i for i, key in enumerate(keys)}, "$": 1}
    stats = Preprocessor.from_json(encoder.to_json()).stats_
    assert stats == encoder.stats_
    assert type(stats["value"]) is type(value) and repr(stats["value"]) == repr(value)
    assert [type(key) for key in stats["unique_values(c)"]] == [type(key) for key in encoder.stats_["unique_values(c)"]]


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024-01-01 12:00:00.123456789"), pd.Timestamp("2024-07-01", tz="Europe/Berlin"), pd.Timedelta("1 days 3 ns"),
        np.float32(1.1), np.int8(3), np.datetime64("2024-01-01"), np.str_("x"), np.dtype("<f4"), np.int16, float,
        range(3), frozenset({1}), decimal.Decimal("1.10"), float("inf"), -0.0,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_more_types(value):
    encoder = OrdinalEncoder(["c"])
    encoder.stats_ = {
        "value": value,
        "array": np.arange(6.0).reshape(2, 3),
        "objects": np.array([None, "a"], dtype=object),
    }
    stats = Preprocessor.from_json(encoder.to_json()).stats_
    assert stats["value"] == value and type(stats["value"]) is type(value) and repr(stats["value"]) == repr(value)
    assert stats["array"].tolist() == [[0, 1, 2], [3, 4, 5]] and stats["objects"].tolist() == [None, "a"]


def test_time_zones_keep_their_names():
    zoneinfo = pytest.importorskip("zoneinfo")
    moment = datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    encoder = OrdinalEncoder(["c"], categories={"c": [moment]})
    loaded = OrdinalEncoder.from_json(encoder.to_json()).categories_["c"][0]
    assert loaded == moment and repr(loaded) == repr(moment)


def test_functions_are_looked_up_only_when_allowed():
    text = BatchMapper(os.system, "numpy").to_json() if os.system.__module__ == "os" else None
    text = text or BatchMapper(os.path.join, "numpy").to_json()
    with pytest.raises(ValueError, match="allow_functions=True"):
        Preprocessor.from_json(text)
    assert Preprocessor.from_json(text, allow_functions=True).batch_format == "numpy"
    gone = text.replace(json.loads(text)["preprocessor"]["arguments"]["fn"]["name"], "aktis.data:nowhere")
    with pytest.raises(ValueError, match=r"'aktis.data:nowhere', which cannot be imported"):
        Preprocessor.from_json(gone, allow_functions=True)


def test_functions_without_a_name_cannot_be_saved(tmp_path):
    path = tmp_path / "prep.json"
    with pytest.raises(TypeError, match=r"Tokenizer.tokenization_fn is the function .*<lambda>.*pickle"):
        Tokenizer(["t"], lambda text: [text]).save(path)
    assert list(tmp_path.iterdir()) == []


def test_classes_of_users_cannot_be_saved_this_way():
    class Mine(StandardScaler):
        pass

    with pytest.raises(TypeError, match="Mine is not one of the preprocessors"):
        Mine(["a"]).to_json()


HEAD = '{"format": "aktis.preprocessor", "version": 1, "preprocessor": '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "it is not JSON"),
        ("[]", "no saved preprocessor"),
        ('{"format": "other"}', "no saved preprocessor"),
        (
            '{"format": "aktis.preprocessor", "version": 2}',
            "has version 2 of the format, and this release reads version 1",
        ),
        ('{"format": "aktis.preprocessor", "version": 1}', "damaged"),
        (HEAD + '{"type": "os", "arguments": {}}}', "'os' is not known"),
        (HEAD + '{"type": "StandardScaler", "arguments": {"x": 1}}}', "damaged"),
        (
            HEAD + '{"type": "StandardScaler", "arguments": {"columns": []}, "state": {"_fit": 1}}}',
            "no name of fitted state",
        ),
        (HEAD + '{"type": "StandardScaler", "arguments": {"columns": {"$": "eval"}}, "state": {}}}', "kind 'eval'"),
    ],
)
def test_files_that_are_something_else(text, message, tmp_path):
    path = tmp_path / "prep.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Preprocessor.load(path)


def test_the_class_that_loads_checks_the_type():
    with pytest.raises(TypeError, match="holds a MinMaxScaler, not a StandardScaler"):
        StandardScaler.from_json(MinMaxScaler(["a"]).to_json())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "prep.json"
    StandardScaler(["old"]).save(path)
    monkeypatch.setattr(os, "replace", _full_disk)
    with pytest.raises(OSError, match="No space left"):
        StandardScaler(["new"]).save(path)
    assert StandardScaler.load(path).columns == ["old"]
    assert [one.name for one in tmp_path.iterdir()] == ["prep.json"]


def _full_disk(*paths: Path) -> None:
    raise OSError(28, "No space left on device")


def test_saved_files_of_version_1_stay_readable():
    text = """{"format": "aktis.preprocessor", "version": 1, "preprocessor": {"type": "Chain", "state": {}, "arguments":
      {"preprocessors": [
        {"$": "preprocessor", "type": "StandardScaler", "arguments": {"columns": ["a"]},
         "state": {"stats_": {"mean(a)": 2.0, "std(a)": 0.5}}},
        {"$": "preprocessor", "type": "OrdinalEncoder", "arguments": {"columns": ["b"]},
         "state": {"stats_": {"unique_values(b)": {"$": "dict", "items": [[7, 0], [{"$": "bytes", "base64": "AA=="}, 1]]}}}}]}}}"""
    chain = Chain.from_json(text)
    assert chain.fit_status() == "FITTED"
    assert chain.transform_batch(pd.DataFrame({"a": [3.0], "b": [7]})).to_dict("list") == {"a": [2.0], "b": [0]}
    assert chain.preprocessors[1].categories_ == {"b": [7, b"\x00"]}
