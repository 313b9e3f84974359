"""What all preprocessors share: status, dispatch to the methods of subclasses, errors, repr. And how chains are cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aktis.data.exceptions import BatchTypeError, PreprocessorNotFittedException
from aktis.data.preprocessor import FitStatus
from aktis.data.preprocessors import (
    BatchMapper,
    Chain,
    Concatenator,
    LabelEncoder,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    Preprocessor,
    SimpleImputer,
    StandardScaler,
)

FRAME = pd.DataFrame({"a": [1.0, 2.0]})
TABLE = pa.table({"a": [1.0, 2.0]})
ARRAYS = {"a": np.array([1.0, 2.0])}


class Pandas(Preprocessor):
    _is_fittable = False

    def _transform_pandas(self, df):
        return df.assign(by="pandas")


class Numpy(Preprocessor):
    _is_fittable = False

    def _transform_numpy(self, batch):
        return {**batch, "by": np.array(["numpy"] * 2)}


class Both(Numpy):
    def _transform_numpy(self, batch):
        return {**batch, "by": np.array(["numpy"] * 2)}

    def _transform_pandas(self, df):
        return df.assign(by="pandas")


@pytest.mark.parametrize(
    ("kind", "data", "by"),
    [
        (Pandas, FRAME, "pandas"), (Pandas, TABLE, "pandas"), (Pandas, ARRAYS, "pandas"),
        (Numpy, FRAME, "numpy"), (Numpy, TABLE, "numpy"), (Numpy, ARRAYS, "numpy"),
        (Both, FRAME, "pandas"), (Both, TABLE, "numpy"), (Both, ARRAYS, "numpy"),
    ],
)  # fmt: skip
def test_which_method_of_a_subclass_is_called(kind, data, by):
    out = kind().transform_batch(data)
    assert list(out["by"]) == [by, by] and list(out["a"]) == [1.0, 2.0]


def test_subclasses_of_ours_can_override_one_method():
    class Mine(StandardScaler):
        def _transform_pandas(self, df):
            return df.assign(a=0)

    scaler = Mine(["a"])._fit_tables([TABLE])
    assert scaler.transform_batch(TABLE)["a"].tolist() == [0, 0]


def test_a_subclass_without_methods():
    class Nothing(Preprocessor):
        _is_fittable = False

    with pytest.raises(TypeError, match="Nothing must define _transform_pandas"):
        Nothing().transform_batch(FRAME)
    with pytest.raises(TypeError, match="Nothing has no inverse"):
        Nothing().inverse_transform_batch(FRAME)


@pytest.mark.parametrize(
    "make", [lambda: StandardScaler(["a"]), Pandas, lambda: Chain(Pandas()), lambda: BatchMapper(len, "numpy")]
)
def test_simple_and_strange_data_are_refused(make):
    preprocessor = make()
    if isinstance(preprocessor, StandardScaler):
        preprocessor._fit_tables([TABLE])
    for simple in ([1, 2], pa.table({"__item__": [1, 2]})):
        with pytest.raises(BatchTypeError, match="plain Python objects"):
            preprocessor.transform_batch(simple)
    with pytest.raises(ValueError, match="batch of type set"):
        preprocessor.transform_batch({1})
    with pytest.raises(BatchTypeError, match="'a' is of type list"):
        preprocessor.transform_batch({"a": [1]})


def test_fit_refuses_simple_rows():
    with pytest.raises(BatchTypeError, match="plain Python objects"):
        StandardScaler(["a"])._fit_tables([pa.table({"__item__": [1]})])


def test_status():
    scaler = StandardScaler(["a"])
    assert scaler.fit_status() is FitStatus.NOT_FITTED is Preprocessor.FitStatus.NOT_FITTED
    for call in (scaler.transform_batch, scaler.inverse_transform_batch):
        with pytest.raises(PreprocessorNotFittedException, match=r"not fitted yet: call fit\(dataset\)"):
            call(FRAME)
    assert scaler._fit_tables([TABLE]).fit_status() is FitStatus.FITTED
    assert Normalizer(["a"]).fit_status() is FitStatus.NOT_FITTABLE
    assert scaler.transform_stats() is None


def test_status_of_chains():
    fitted, not_fitted, never = StandardScaler(["a"])._fit_tables([TABLE]), StandardScaler(["a"]), Normalizer(["a"])
    assert Chain().fit_status() == Chain(never).fit_status() == FitStatus.NOT_FITTABLE
    assert Chain(fitted, never).fit_status() == FitStatus.FITTED
    assert Chain(not_fitted, never).fit_status() == FitStatus.NOT_FITTED
    partly = Chain(fitted, not_fitted)
    assert partly.fit_status() == FitStatus.PARTIALLY_FITTED
    with pytest.raises(PreprocessorNotFittedException, match="only in part"):
        partly.transform_batch(FRAME)
    with pytest.raises(ValueError, match="is no preprocessor"):
        Chain(len)


def test_fit_and_transform_need_data_sets():
    with pytest.raises(TypeError, match="fit needs a Dataset, not DataFrame"):
        StandardScaler(["a"]).fit(FRAME)
    with pytest.raises(TypeError, match=r"not DataFrame. transform_batch\(...\)"):
        Normalizer(["a"]).transform(FRAME)


def test_repr_shows_arguments_and_state():
    scaler = MinMaxScaler(["a"])
    assert repr(scaler) == "MinMaxScaler(columns=['a'])"
    assert repr(scaler._fit_tables([TABLE])) == "MinMaxScaler(columns=['a'], fitted: min(a)=1.0, max(a)=2.0)"
    encoder = OrdinalEncoder(["c"], encode_lists=False)._fit_tables([pa.table({"c": list(range(1000))})])
    assert repr(encoder).startswith(
        "OrdinalEncoder(columns=['c'], encode_lists=False, fitted: unique_values(c)={0: 0, "
    )
    assert len(repr(encoder)) < 150
    wide = MinMaxScaler([str(i) for i in range(50)])._fit_tables([pa.table({str(i): [i] for i in range(50)})])
    assert "... 94 more" in repr(wide)
    assert repr(Chain(Normalizer(["a"]), Pandas())) == "Chain(Normalizer(columns=['a']), Pandas())"


def names_of(chain):
    return [[type(part).__name__ for part in group] for group in chain._groups()]


def test_chains_fit_together_what_does_not_depend_on_each_other():
    independent = Chain(StandardScaler(["a"]), MinMaxScaler(["b"]), Normalizer(["c"]), LabelEncoder("y"))
    assert len(names_of(independent)) == 1
    same_column = Chain(SimpleImputer(["a"]), LabelEncoder("y"), StandardScaler(["a"]))
    assert names_of(same_column) == [["SimpleImputer", "LabelEncoder"], ["StandardScaler"]]
    made_by_another = Chain(OneHotEncoder(["c"]), StandardScaler(["c_x"]))
    assert len(names_of(made_by_another)) == 2
    unknown = Chain(BatchMapper(len, "pandas"), StandardScaler(["a"]), Pandas(), StandardScaler(["b"]))
    assert names_of(unknown) == [["BatchMapper"], ["StandardScaler", "Pandas"], ["StandardScaler"]]
    everything = Chain(Concatenator(exclude=["y"]), LabelEncoder("y"), StandardScaler(["a"]))
    assert names_of(everything) == [["Concatenator", "LabelEncoder"], ["StandardScaler"]]


def test_chain_batches_forward_and_back(form, fit):
    scaler, encoder = fit(StandardScaler(["a"]), {"a": [1, 3]}), fit(OneHotEncoder(["c"]), {"c": ["x", "y"]})
    chain = Chain(scaler, encoder)
    there = chain.transform_batch(form.make({"a": [1, 3], "c": ["y", "x"]}))
    assert form.lists(there) == {"a": [-1, 1], "c_x": [0, 1], "c_y": [1, 0]}
    assert form.lists(chain.inverse_transform_batch(there)) == {"a": [1, 3], "c": ["y", "x"]}
    with pytest.raises(TypeError, match="Normalizer has no inverse"):
        Chain(scaler, Normalizer(["a"])).inverse_transform_batch(there)
