"""TensorFlow models in checkpoints, and predictions with them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from aktis.air import Checkpoint
from aktis.data.preprocessors import Concatenator, MinMaxScaler
from aktis.train.error import CheckpointTypeError
from aktis.train.tensorflow import TensorflowCheckpoint, TensorflowPredictor, load_checkpoint, prepare_dataset_shard

pytestmark = [pytest.mark.tensorflow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

tf = pytest.importorskip("tensorflow")
keras = tf.keras
X = np.arange(6.0, dtype="float32").reshape(3, 2)


def make(units: int = 1) -> Any:
    model = keras.Sequential([keras.layers.Input((2,), name="features"), keras.layers.Dense(units)])
    model.compile("sgd", "mse")
    return model


class Doubling(keras.Model):  # type: ignore[misc]
    """One that Keras cannot describe."""

    def __init__(self, layer: Any = None) -> None:
        super().__init__()
        self.dense = layer or keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return {"double": 2 * self.dense(inputs), "single": self.dense(inputs)}


@pytest.fixture(scope="module")
def model() -> Any:
    return make()


def same(loaded: Any, model: Any) -> None:
    assert np.allclose(np.asarray(loaded(X)), np.asarray(model(X)))


@pytest.mark.parametrize("form", ["memory", "pickle", "directory"])
def test_a_model_comes_back(model: Any, form: str, tmp_path: Path) -> None:
    made = TensorflowCheckpoint.from_model(model, preprocessor=MinMaxScaler(["a"]))
    checkpoint: Any = {
        "memory": lambda: made,
        "pickle": lambda: pickle.loads(pickle.dumps(made)),
        "directory": lambda: Checkpoint.from_directory(made.to_directory(tmp_path / "checkpoint")),
    }[form]()
    loaded, preprocessor = load_checkpoint(checkpoint)
    same(loaded, model)
    assert preprocessor.columns == ["a"]
    same(TensorflowCheckpoint.from_checkpoint(checkpoint).get_model(make), model)
    same(TensorflowCheckpoint.from_checkpoint(checkpoint).get_model(model_definition=make), model)


def test_files_that_keras_wrote(model: Any, tmp_path: Path) -> None:
    kinds = {"m.keras": "from_keras", "m.h5": "from_h5", "m.weights.h5": "from_h5", "exported": "from_saved_model"}
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    model.save_weights(tmp_path / "m.weights.h5")
    model.export(str(tmp_path / "exported"))
    checkpoints = {}
    for name, function in kinds.items():
        checkpoints[name] = getattr(TensorflowCheckpoint, function)(tmp_path / name, preprocessor=MinMaxScaler(["a"]))
    for path in tmp_path.iterdir():
        path.rename(path.with_suffix(".gone"))
    for name, checkpoint in checkpoints.items():
        again = pickle.loads(pickle.dumps(checkpoint))
        assert again.get_preprocessor().columns == ["a"]
        same(again.get_model(make() if "weights" in name else None), model)
    with pytest.raises(ValueError, match=r"m\.weights\.h5 has weights alone: pass a model"):
        checkpoints["m.weights.h5"].get_model()
    same(checkpoints["m.keras"].get_model(make), model)
    # What ReportCheckpointCallback makes: a plain checkpoint of a directory.
    (tmp_path / "dir").mkdir()
    model.save(tmp_path / "dir" / "model.keras")
    same(TensorflowPredictor.from_checkpoint(Checkpoint.from_directory(tmp_path / "dir")).model, model)


def test_what_are_no_such_files(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("no")
    with pytest.raises(ValueError, match="needs a file in HDF5 format"):
        TensorflowCheckpoint.from_h5(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="from_keras needs a file that model.save"):
        TensorflowCheckpoint.from_keras(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"a directory with saved_model\.pb"):
        TensorflowCheckpoint.from_saved_model(tmp_path)
    with pytest.raises(FileNotFoundError, match="from_h5 was given .*other"):
        TensorflowCheckpoint.from_h5(tmp_path / "other")


def test_a_model_that_keras_cannot_describe() -> None:
    model = Doubling(keras.layers.Dense(2))
    model(X)
    checkpoint = TensorflowCheckpoint.from_model(model)
    with pytest.raises(ValueError, match="pass a model of the same architecture"):
        checkpoint.get_model()

    def build() -> Any:
        made = Doubling()
        made(X)
        return made

    assert np.allclose(checkpoint.get_model(build)(X)["double"], model(X)["double"])


@pytest.mark.parametrize("contents", [{"epoch": 1}, {"model": {"layer.weight": np.zeros(2)}}, {"model": object}])
def test_checkpoints_of_other_frameworks(contents: dict[str, Any]) -> None:
    with pytest.raises(CheckpointTypeError, match="holds no model of TensorFlow"):
        TensorflowPredictor.from_checkpoint(Checkpoint.from_dict(contents), make)


def test_wrong_models(model: Any) -> None:
    checkpoint = TensorflowCheckpoint.from_model(model)
    with pytest.raises(ValueError, match="are not those of the model that get_model was given"):
        checkpoint.get_model(lambda: make(3))
    with pytest.raises(ValueError, match="must be a keras.Model, or a function that makes one, not"):
        checkpoint.get_model(lambda: 3)
    with pytest.raises(ValueError, match="not both"):
        checkpoint.get_model(make, make)
    with pytest.raises(CheckpointTypeError, match="from_model needs a keras.Model"):
        TensorflowCheckpoint.from_model(make)
    with pytest.raises(ValueError, match="needs a model: pass model"):
        TensorflowPredictor()
    with pytest.raises(ValueError, match="TensorFlow sees no GPU"):
        TensorflowPredictor(model, use_gpu=True)


# -- predictions ---------------------------------------------------------------------------------------------------------


def test_predictions_have_the_format_of_the_batch(model: Any) -> None:
    expected = np.asarray(model(X))
    predictor = TensorflowPredictor(model)
    assert np.allclose(predictor.predict(X)["predictions"], expected)  # type: ignore[call-overload]
    frame = predictor.predict(pd.DataFrame({"x": list(X)}))
    assert np.allclose(np.stack(frame["predictions"]), expected)  # type: ignore[call-overload]
    assert np.allclose(predictor.predict({"x": X})["predictions"], expected)  # type: ignore[call-overload]
    # Columns that are no names of inputs go side by side.
    wide = pd.DataFrame({"a": X[:, 0].astype("float64"), "b": X[:, 1]})
    assert np.allclose(np.stack(predictor.predict(wide)["predictions"]), expected)  # type: ignore[call-overload]
    joined = TensorflowPredictor(make, Concatenator(output_column_name="x", dtype=np.float32))
    assert len(joined.predict(wide)) == 3


def test_a_dict_of_outputs_is_columns() -> None:
    predicted = TensorflowPredictor(Doubling).predict({"x": X})
    assert predicted.keys() == {"double", "single"}  # type: ignore[union-attr]
    assert np.allclose(predicted["double"], 2 * predicted["single"])  # type: ignore[call-overload]


def test_dtypes_and_call_model() -> None:
    seen: list[Any] = []

    class Own(TensorflowPredictor):
        def call_model(self, inputs: Any) -> Any:
            seen.append({name: tensor.dtype for name, tensor in inputs.items()})
            return inputs["a"] + 1

    data = {"a": np.array([1, 2]), "b": np.array([0.5, 1.5])}
    predictor = Own(make)
    assert predictor.predict(data, dtype="float32")["predictions"].tolist() == [2.0, 3.0]  # type: ignore[call-overload]
    predictor.predict(data, dtype={"a": tf.int32})
    assert seen == [{"a": tf.float32, "b": tf.float32}, {"a": tf.int32, "b": tf.float64}]
    with pytest.raises(ValueError, match="dtype names the column 'c', which the data do not have; they have: a, b"):
        predictor.predict(data, dtype={"c": tf.int32})
    with pytest.raises(TypeError, match="column 'a' cannot be made a tensor"):
        predictor.predict(pd.DataFrame({"a": [object(), None], "b": [1, 2]}))


def test_shards_are_not_divided_again() -> None:
    prepared = prepare_dataset_shard(tf.data.Dataset.range(4))
    assert prepared.options().experimental_distribute.auto_shard_policy == tf.data.experimental.AutoShardPolicy.OFF
    with pytest.raises(TypeError, match=r"needs a tf.data.Dataset, not list: make one with session.get_dataset_shard"):
        prepare_dataset_shard([1])
