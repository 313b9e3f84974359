"""Imputer, discretizers, Concatenator, BatchMapper and TorchVisionPreprocessor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aktis.data.exceptions import BatchTypeError, SchemaError
from aktis.data.preprocessors import (
    BatchMapper,
    Concatenator,
    CountVectorizer,
    CustomKBinsDiscretizer,
    MultiHotEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    SimpleImputer,
    TorchVisionPreprocessor,
    UniformKBinsDiscretizer,
)


def test_imputer_mean(form, fit):
    imputer = fit(SimpleImputer(["a"]), {"a": [1, None, 4]})
    assert imputer.stats_ == {"mean(a)": 2.5}
    assert form.lists(imputer.transform_batch(form.make({"a": [None, 7]})))["a"] == [2.5, 7]
    for values in ([1, 2], [1, None]):
        assert imputer.transform_batch(pa.table({"a": values})).schema.field("a").type == pa.float64()


def test_imputer_most_frequent(form, fit):
    imputer = fit(SimpleImputer(["s"], strategy="most_frequent"), {"s": ["b", "a", "b", "a", None]})
    assert imputer.stats_ == {"most_frequent(s)": "a"}
    assert form.lists(imputer.transform_batch(form.make({"s": ["z", None]})))["s"] == ["z", "a"]


def test_imputer_constant(form):
    imputer = SimpleImputer(
        ["a", "s"], strategy="constant", fill_value={"a": 0, "s": "none"}, output_columns=["a", "s2"]
    )
    assert imputer.fit_status() == "NOT_FITTABLE"
    out = form.lists(imputer.transform_batch(form.make({"a": [1, None], "s": [None, "x"]})))
    assert out == {"a": [1, 0], "s": [None, "x"], "s2": ["none", "x"]}
    made = form.lists(SimpleImputer(["new"], "constant", 3).transform_batch(form.make({"a": [1, 2]})))
    assert made["new"] == [3, 3]


def test_imputer_keeps_categories():
    frame = pd.DataFrame({"c": pd.Categorical(["a", None])})
    out = SimpleImputer(["c"], "constant", "other").transform_batch(frame)
    assert out["c"].dtype.name == "category" and out["c"].tolist() == ["a", "other"]


def test_imputer_that_cannot(form, fit):
    with pytest.raises(ValueError, match="needs a fill_value"):
        SimpleImputer(["a"], "constant")
    with pytest.raises(ValueError, match="strategy must be one of"):
        SimpleImputer(["a"], "median")
    with pytest.raises(ValueError, match="nothing to fill 'a' with"):
        fit(SimpleImputer(["a"]), {"a": pa.array([None], pa.int64())}).transform_batch(form.make({"a": [1.0]}))
    with pytest.raises(SchemaError, match="cannot fill the column 'a'"):
        SimpleImputer(["a"], "constant", "x").transform_batch(form.make({"a": [1.0, None]}))


def test_custom_bins(form):
    data = {"a": [0, 1, 5, 9, 10, None, 99]}
    out = form.lists(CustomKBinsDiscretizer(["a"], [0, 5, 10]).transform_batch(form.make(data)))
    assert out["a"] == [None, 0, 0, 1, 1, None, None]
    out = form.lists(CustomKBinsDiscretizer(["a"], {"a": [0, 5, 10]}, right=False).transform_batch(form.make(data)))
    assert out["a"] == [0, 0, 1, 1, None, None, None]
    lowest = CustomKBinsDiscretizer(["a"], [0, 5, 10], include_lowest=True, output_columns=["b"])
    assert form.lists(lowest.transform_batch(form.make(data)))["b"] == [0, 0, 0, 1, 1, None, None]


def test_bins_with_types(form):
    labels = pd.CategoricalDtype(["low", "high"], ordered=True)
    discretizer = CustomKBinsDiscretizer(["a", "b"], [0, 5, 10], dtypes={"a": labels, "b": np.int8})
    out = discretizer.transform_batch(form.make({"a": [1, 9, 20], "b": [9, 1, 5]}))
    assert form.lists(out) == {"a": ["low", "high", None], "b": [1, 0, 0]}
    if form.name == "pandas":
        assert out["a"].dtype == labels and out["b"].dtype == np.int8


def test_bins_as_intervals(form):
    intervals = pd.IntervalIndex.from_tuples([(0, 1), (2, 3)])
    out = CustomKBinsDiscretizer(["a"], intervals).transform_batch(form.make({"a": [0.5, 1.5, 2.5, None]}))
    assert form.lists(out)["a"] == [0, None, 1, None]


def test_uniform_bins_are_those_of_pandas(form, fit):
    values = [3.0, 1.0, 2.0, 8.5, 4.0]
    for right in (True, False):
        discretizer = fit(UniformKBinsDiscretizer(["a"], 3, right=right), {"a": values})
        assert discretizer.stats_["a"] == pytest.approx(pd.cut(values, 3, right=right, retbins=True)[1])
        expected = pd.cut(values, 3, right=right, labels=False).tolist()
        assert form.lists(discretizer.transform_batch(form.make({"a": values})))["a"] == expected
    constant = fit(UniformKBinsDiscretizer(["a"], {"a": 2}), {"a": [4, 4]})
    assert form.lists(constant.transform_batch(form.make({"a": [4]})))["a"] == pd.cut([4], 2, labels=False).tolist()


def test_bins_that_cannot_be(fit):
    with pytest.raises(ValueError, match="list of edges"):
        CustomKBinsDiscretizer(["a"], 4)
    with pytest.raises(ValueError, match="whole number"):
        UniformKBinsDiscretizer(["a"], [0, 1])
    with pytest.raises(ValueError, match="bins has nothing for the column 'b'"):
        UniformKBinsDiscretizer(["a", "b"], {"a": 2})
    with pytest.raises(ValueError, match="infinite"):
        fit(UniformKBinsDiscretizer(["a"], 2), {"a": [1.0, float("inf")]})
    with pytest.raises(ValueError, match="unique"):
        CustomKBinsDiscretizer(["a"], [0, 1, 1]).transform_batch(pd.DataFrame({"a": [1]}))


def test_concatenator_has_no_use_for_the_index(form):
    data = form.make({"b": [1, 2, 3], "a": [4, 5, 6], "s": ["x", "y", "z"]})
    out = form.lists(Concatenator(exclude=["s"]).transform_batch(data))
    assert out == {"s": ["x", "y", "z"], "concat_out": [[1, 4], [2, 5], [3, 6]]}
    out = form.lists(Concatenator("v", include=["a", "b"]).transform_batch(data))
    assert out["v"] == [[1, 4], [2, 5], [3, 6]]  # in the data's order
    out = form.lists(Concatenator(columns=["a", "b"], dtype=np.float32).transform_batch(data))
    assert out["concat_out"] == [[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]]


def test_concatenator_types(form):
    whole = Concatenator().transform_batch(form.make({"a": [1, 2], "b": [3, 4]}))
    assert all(type(v) is int for v in form.lists(whole)["concat_out"][0])
    holes = Concatenator().transform_batch(form.make({"a": [1, 2], "b": [3.5, None]}))
    assert form.lists(holes)["concat_out"] == [[1.0, 3.5], [2.0, None]]
    with pytest.raises(SchemaError, match=r"needs numbers.*'s'"):
        Concatenator().transform_batch(form.make({"a": [1], "s": ["x"]}))


def test_concatenator_joins_vectors(form):
    vectors = Concatenator("v", include=["a", "b"]).transform_batch(form.make({"a": [1, 2], "b": [3, 4], "c": [5, 6]}))
    out = Concatenator("w", columns=["c", "v"]).transform_batch(vectors)
    assert form.lists(out) == {"w": [[5, 1, 3], [6, 2, 4]]}


def test_concatenator_and_missing_columns(form):
    data = form.make({"a": [1], "b": [2]})
    assert form.lists(Concatenator(include=["a", "x"]).transform_batch(data))["concat_out"] == [[1]]
    for strict in (
        Concatenator(include=["x"], raise_if_missing=True),
        Concatenator(exclude=["x"], raise_if_missing=True),
    ):
        with pytest.raises(ValueError, match="needs the column 'x'"):
            strict.transform_batch(data)
    with pytest.raises(ValueError, match="none of the columns"):
        Concatenator(include=["x"]).transform_batch(data)
    with pytest.raises(ValueError, match="both included and excluded"):
        Concatenator(include=["a"], exclude=["a"])
    with pytest.raises(ValueError, match="output_column_name must be a string"):
        Concatenator(["a", "b"])


def test_batch_mapper_gets_the_format_that_it_asked_for(form):
    seen = []

    def double(batch):
        seen.append(type(batch))
        return batch.assign(a=batch["a"] * 2)

    mapper = BatchMapper(double, batch_format="pandas")
    assert mapper.fit_status() == "NOT_FITTABLE"
    out = mapper.transform_batch(form.make({"a": [1, 2]}))
    assert seen == [pd.DataFrame] and out["a"].tolist() == [2, 4]
    arrays = BatchMapper(lambda batch: {"a": batch["a"] + 1}, batch_format="numpy")
    assert arrays.transform_batch(form.make({"a": [1, 2]}))["a"].tolist() == [2, 3]
    with pytest.raises(ValueError, match="batch_format must be one of"):
        BatchMapper(double, batch_format="polars")


def test_image_transforms_of_arrays():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    flip = TorchVisionPreprocessor(["image"], lambda image: np.asarray(image)[::-1].copy(), output_columns=["flipped"])
    out = flip.transform_batch({"image": images, "label": np.array([0, 1])})
    assert list(out) == ["image", "label", "flipped"]
    assert (out["flipped"] == images[:, ::-1]).all()
    whole = TorchVisionPreprocessor(["image"], lambda batch: np.asarray(batch) / 2, batched=True)
    assert whole.transform_batch(images).tolist() == (images / 2).tolist()
    rows = np.array([1, 2])
    ragged = TorchVisionPreprocessor(["n"], lambda n: np.zeros(int(n))).transform_batch({"n": rows})["n"]
    assert [one.shape for one in ragged] == [(1,), (2,)]
    with pytest.raises(BatchTypeError, match="must return a tensor or a numpy array"):
        TorchVisionPreprocessor(["image"], lambda image: "picture").transform_batch({"image": images})


@pytest.mark.torch
def test_image_transforms_of_tensors():
    torch = pytest.importorskip("torch")

    def arrays_only(image):
        if isinstance(image, torch.Tensor):
            raise TypeError("no tensors")
        return torch.as_tensor(image) * 2

    images = np.ones((2, 3, 3), dtype=np.float32)
    assert (
        TorchVisionPreprocessor(["i"], lambda image: image + 1).transform_batch({"i": images})["i"].tolist()
        == (images + 1).tolist()
    )
    assert (
        TorchVisionPreprocessor(["i"], arrays_only).transform_batch({"i": images})["i"].tolist()
        == (images * 2).tolist()
    )


def test_columns_stay_where_they_are(form):
    data = form.make({"z": [1, 2], "a": [3, 4], "m": [5, 6]})
    assert list(form.lists(SimpleImputer(["a"], "constant", 0, output_columns=["y"]).transform_batch(data))) == [
        "z",
        "a",
        "m",
        "y",
    ]
    assert list(form.lists(SimpleImputer(["a", "z"], "constant", 0).transform_batch(data))) == ["z", "a", "m"]


def test_wide_data(form):
    wide = {f"c{i}": np.array([float(i), 1.0]) for i in range(500)}
    filled = SimpleImputer(list(wide), "constant", 0.0, output_columns=[f"d{i}" for i in range(500)])
    out = Concatenator().transform_batch(filled.transform_batch(form.make(wide)))
    assert form.lists(out)["concat_out"] == [[*map(float, range(500))] * 2, [1.0] * 1000]


def test_empty_batches(form, fit):
    data = {"a": [1.0, 2.0], "c": ["x", "y"], "l": [["p"], ["q", "p"]], "t": ["u v", "w"], "n": [1, 2]}
    parts = [
        SimpleImputer(["a"]),
        RobustScaler(["a"]),
        OrdinalEncoder(["l"]),
        OneHotEncoder(["c"], output="vector"),
        MultiHotEncoder(["l"]),
        CountVectorizer(["t"]),
        Concatenator("v", include=["a", "n"]),
    ]
    batch = form.make(data)
    nothing = {name: values[:0] for name, values in batch.items()} if form.name == "numpy" else batch[:0]
    for part in parts:
        fit(part, data) if part.fit_status() == "NOT_FITTED" else None
        full = part.transform_batch(batch)
        none = part.transform_batch(nothing)
        assert list(form.lists(none)) == list(form.lists(full))
        if form.name == "arrow":
            assert none.schema == full.schema
        if isinstance(part, OneHotEncoder):
            assert set(form.lists(part.inverse_transform_batch(none))) == set(data)


def test_one_hot_vectors_without_categories(form, fit):
    encoder = fit(OneHotEncoder(["c"], output="vector"), {"c": []})
    out = encoder.transform_batch(form.make({"c": ["x", "y"]}))
    assert form.lists(encoder.inverse_transform_batch(out)) == {"c": [None, None]}
