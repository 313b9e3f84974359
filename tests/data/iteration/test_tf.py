"""Batches of TensorFlow tensors, and to_tf."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.data.iteration.helpers import Source, numbers

import aktis.data
from aktis.data._blocks import ITEM, from_batch
from aktis.data.exceptions import BatchTypeError

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.filterwarnings("ignore")  # Keras warns about what is no concern of ours


def ragged_column() -> Any:
    values = np.empty(3, dtype=object)
    values[:] = [np.zeros(2), np.ones(3), np.ones(1)]
    return values


def test_tensors_of_columns() -> None:
    batches = list(Source(numbers([5, 4])).iter_tf_batches(batch_size=4))
    assert [batch["x"].numpy().tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    batch = next(Source(numbers([3])).iter_tf_batches(dtypes={"x": tf.float32}))
    assert batch["x"].dtype == tf.float32 and batch["y"].dtype == tf.float64


def test_kinds_of_data() -> None:
    assert next(Source([from_batch(np.ones((4, 2, 3)))]).iter_tf_batches()).shape == (4, 2, 3)
    assert next(Source([pa.table({ITEM: [1, 2]})]).iter_tf_batches()).numpy().tolist() == [1, 2]
    batch = next(Source([from_batch({"v": ragged_column(), "s": ["a", "b", "c"]})]).iter_tf_batches())
    assert batch["v"].to_list() == [[0, 0], [1, 1, 1], [1]]
    assert batch["s"].numpy().tolist() == [b"a", b"b", b"c"]


def test_what_tensorflow_cannot_hold_is_named() -> None:
    with pytest.raises(BatchTypeError, match="column 's' has values of type"):
        next(Source([pa.table({"s": ["a", None]})]).iter_tf_batches())


def test_a_dataset_for_keras() -> None:
    source = Source(numbers([5, 4]))
    dataset = source.to_tf("x", ["y"], batch_size=4)
    features, labels = dataset.element_spec
    assert features.dtype == tf.int64 and labels["y"].dtype == tf.float64
    for _ in range(2):
        found = [(x.numpy().tolist(), y["y"].numpy().tolist()) for x, y in dataset]
        assert [x for x, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
        assert found[2][1] == [4.0]
    triples = source.to_tf(["x", "y"], "x", additional_columns="y", batch_size=9, drop_last=True)
    ((features, label, weight),) = list(triples)
    assert set(features) == {"x", "y"} and label.shape == weight.shape == (9,)


def test_shapes_of_a_dataset() -> None:
    block = from_batch({"image": np.ones((3, 4, 5), np.float32), "v": ragged_column(), "label": np.arange(3)})
    dataset = Source([block]).to_tf(["image", "v"], "label", batch_size=2)
    features, label = dataset.element_spec
    assert features["image"].shape.as_list() == [None, 4, 5]
    assert isinstance(features["v"], tf.RaggedTensorSpec)
    batches = list(dataset)
    assert [b[0]["v"].to_list() for b in batches] == [[[0, 0], [1, 1, 1]], [[1]]]


def test_given_types() -> None:
    spec = tf.TensorSpec((None,), tf.float32)
    dataset = Source(numbers([3])).to_tf("x", "y", batch_size=3, feature_type_spec=spec, label_type_spec=spec)
    assert [t.dtype for t in next(iter(dataset))] == [tf.float32, tf.float32]


def test_errors() -> None:
    with pytest.raises(ValueError, match="no such column: z"):
        Source(numbers([3])).to_tf("z", "y")
    with pytest.raises(ValueError, match="empty data set"):
        Source([]).to_tf("x", "y")


def test_training() -> None:
    model = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    source = Source([pa.table({"x": np.linspace(0, 1, 40), "y": np.linspace(0, 2, 40)})])
    history = model.fit(source.to_tf("x", "y", batch_size=8), epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


def test_a_known_number_of_batches() -> None:
    dataset = aktis.data.range_table(10).to_tf("value", "value", batch_size=4)
    assert dataset.cardinality().numpy() == 3 == len(list(dataset))
