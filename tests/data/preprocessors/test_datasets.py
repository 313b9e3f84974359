"""Preprocessors on data sets, through the public API."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest

import aktis.data
from aktis.data.exceptions import BatchTypeError, SchemaError
from aktis.data.preprocessors import (
    BatchMapper,
    Chain,
    Concatenator,
    CountVectorizer,
    LabelEncoder,
    MultiHotEncoder,
    OneHotEncoder,
    Preprocessor,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Tokenizer,
    TorchVisionPreprocessor,
)

ROWS = 100
FRAME = pd.DataFrame(
    {
        "a": np.arange(ROWS, dtype=float),
        "b": [None if i % 10 == 0 else i % 7 for i in range(ROWS)],
        "c": [("red", "green", "blue")[i % 3] for i in range(ROWS)],
        "t": ["to be or not to be"[: i % 18] for i in range(ROWS)],
    }
)


def frame_of(ds):
    return pd.DataFrame(ds.take_all())


@pytest.fixture
def ds():
    return aktis.data.from_pandas([FRAME[:1], FRAME[1:60], FRAME[60:]])


def test_fit_and_transform(ds):
    scaler = StandardScaler(["a"]).fit(ds)
    assert scaler.stats_ == {"mean(a)": pytest.approx(49.5), "std(a)": pytest.approx(FRAME["a"].std(ddof=0))}
    out = frame_of(scaler.transform(ds))
    assert out["a"].tolist() == pytest.approx(((FRAME["a"] - 49.5) / FRAME["a"].std(ddof=0)).tolist())
    assert out["c"].tolist() == FRAME["c"].tolist()
    back = frame_of(scaler.inverse_transform(scaler.transform(ds)))
    assert back["a"].tolist() == pytest.approx(FRAME["a"].tolist())


def test_transform_is_lazy_and_keeps_order_and_stats(ds):
    called = []
    mapper = BatchMapper(lambda frame: called.append(1) or frame, batch_format="pandas")
    out = mapper.transform(ds)
    assert not called and mapper.transform_stats() is not None
    assert [row["a"] for row in out.take(70)] == list(range(70))
    assert "BatchMapper" in repr(out) or "MapBatches" in repr(out)


def test_independent_parts_are_fitted_in_one_pass(tmp_path, ds):
    def seen(frame):
        if 0 in frame["a"].tolist():
            (tmp_path / uuid.uuid4().hex).touch()
        return frame

    source = ds.map_batches(seen, batch_format="pandas")
    Chain(StandardScaler(["a"]), SimpleImputer(["b"]), LabelEncoder("c")).fit(source)
    assert len(list(tmp_path.iterdir())) == 1
    Chain(SimpleImputer(["b"]), StandardScaler(["b"])).fit(source)
    assert len(list(tmp_path.iterdir())) == 3


def test_fit_on_files(tmp_path, ds):
    ds.write_parquet(str(tmp_path))
    source = aktis.data.read_parquet(str(tmp_path))
    assert RobustScaler(["a"]).fit(source).stats_["median(a)"] == 49.0
    with pytest.raises(SchemaError, match="StandardScaler needs the column 'aa'.*Did you mean 'a'"):
        StandardScaler(["aa"]).fit(source)


def test_chain_transforms_before_it_fits_the_next(ds):
    chain = Chain(SimpleImputer(["b"]), StandardScaler(["b"]), OneHotEncoder(["c"]), Concatenator(exclude=["t"]))
    out = frame_of(chain.fit_transform(ds))
    filled = FRAME["b"].fillna(FRAME["b"].mean())
    assert chain.preprocessors[1].stats_["std(b)"] == pytest.approx(filled.std(ddof=0))
    assert list(out.columns) == ["t", "concat_out"]
    first = np.asarray(out["concat_out"].iloc[1])
    assert first == pytest.approx([1.0, (1 - filled.mean()) / filled.std(ddof=0), 0, 1, 0])


def test_vectors_and_lists_in_data_sets(ds):
    tokens = Tokenizer(["t"], output_columns=["words"]).transform(ds)
    hot = MultiHotEncoder(["words"]).fit(tokens)
    assert np.asarray(hot.transform(tokens).take(18)[17]["words"]).sum() == 6
    counts = frame_of(CountVectorizer(["t"]).fit_transform(ds))
    assert counts["t_to"].sum() == sum(text.split(" ").count("to") for text in FRAME["t"])


def test_the_same_after_pickling_and_saving(ds, tmp_path):
    chain = Chain(SimpleImputer(["b"]), OneHotEncoder(["c"])).fit(ds)
    chain.save(tmp_path / "chain.json")
    expected = frame_of(chain.transform(ds))
    pd.testing.assert_frame_equal(frame_of(Preprocessor.load(tmp_path / "chain.json").transform(ds)), expected)


def test_unseen_values_and_blocks_of_one_type(ds):
    encoder = LabelEncoder("c").fit(ds.filter(lambda row: row["c"] != "blue"))
    out = encoder.transform(ds)
    assert frame_of(out)["c"].isna().sum() == (FRAME["c"] == "blue").sum()
    assert [row["c"] for row in encoder.inverse_transform(out).take(3)] == ["red", "green", None]


def test_errors_arrive_as_they_are(ds):
    with pytest.raises(SchemaError, match=r"^StandardScaler needs the column 'A', which is not in the data"):
        StandardScaler(["A"]).fit(ds)
    with pytest.raises(SchemaError, match=r"^StandardScaler needs numbers, and the column 'c'"):
        StandardScaler(["c"]).fit(ds)
    with pytest.raises(SchemaError, match=r"^StandardScaler needs the column 'A'"):
        StandardScaler(["A"]).fit(ds.map_batches(lambda frame: frame))
    with pytest.raises(ValueError, match="LabelEncoder cannot fit the column 'b', which has nulls"):
        LabelEncoder("b").fit(ds)
    with pytest.raises(ValueError, match="nulls"):
        LabelEncoder("c").fit(ds).transform(ds.map_batches(lambda frame: frame.assign(c=None))).take()


def test_simple_data_is_refused():
    simple = aktis.data.range(10)
    with pytest.raises(BatchTypeError, match="plain Python objects"):
        StandardScaler(["value"]).fit(simple)
    fitted = StandardScaler(["value"]).fit(aktis.data.range_table(10))
    with pytest.raises(ValueError, match="plain Python objects"):
        fitted.transform(simple)
    with pytest.raises(ValueError, match="plain Python objects"):
        fitted.transform(simple.map(lambda value: value + 1)).take()
    with pytest.raises(BatchTypeError, match="plain Python objects"):
        BatchMapper(len, "pandas").transform(simple)


def test_fitting_again_warns_and_replaces(ds):
    scaler = StandardScaler(["a"]).fit(ds)
    with pytest.warns(UserWarning, match="StandardScaler is fitted already"):
        scaler.fit(ds.limit(3))
    assert scaler.stats_["mean(a)"] == 1.0
    with pytest.warns(UserWarning), pytest.raises(SchemaError):
        scaler.fit(ds.drop_columns(["a"]))
    assert scaler.stats_["mean(a)"] == 1.0


def test_empty_data_sets(ds):
    empty = ds.limit(0)
    assert StandardScaler(["a"]).fit(empty).stats_ == {"mean(a)": None, "std(a)": None}
    assert OneHotEncoder(["c"]).fit(empty).categories_ == {"c": []}


class Half(Preprocessor):
    """As users write them."""

    def _fit(self, ds):
        self.largest_ = max(row["a"] for row in ds.iter_rows())
        return self

    def _transform_numpy(self, batch):
        return {**batch, "a": batch["a"] / self.largest_}

    def _inverse_transform_numpy(self, batch):
        return {**batch, "a": batch["a"] * self.largest_}


def test_preprocessors_of_users(ds):
    half = Half()
    assert half.fit_status() == "NOT_FITTED"
    chain = Chain(half, StandardScaler(["a"]))
    out = chain.fit_transform(ds.select_columns(["a"]))
    assert half.largest_ == 99 and chain.preprocessors[1].stats_["mean(a)"] == pytest.approx(0.5)
    assert frame_of(chain.inverse_transform(out))["a"].tolist() == pytest.approx(FRAME["a"].tolist())


def test_images():
    images = aktis.data.from_numpy(np.arange(24.0).reshape(2, 3, 4)).map_batches(
        lambda a: {"image": a, "n": np.arange(len(a))}
    )
    out = TorchVisionPreprocessor(["image"], lambda image: np.asarray(image)[::-1].copy()).transform(images)
    assert np.asarray(out.take(1)[0]["image"]).tolist() == np.arange(12.0).reshape(3, 4)[::-1].tolist()


def test_pipelines_can_be_transformed_and_not_fitted(ds):
    scaler = StandardScaler(["a"]).fit(ds)
    rows = scaler.transform(ds.window(blocks_per_window=1)).take(3)
    assert [row["a"] for row in rows] == pytest.approx([row["a"] for row in scaler.transform(ds).take(3)])
    with pytest.raises(TypeError, match="fit needs a Dataset, not a DatasetPipeline"):
        StandardScaler(["a"]).fit(ds.window(blocks_per_window=1))
