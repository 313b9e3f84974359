"""TorchPredictor and TorchDetectionPredictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.air.predictor import BatchFormat, PredictorNotSerializableException  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.torch import TorchCheckpoint, TorchDetectionPredictor, TorchPredictor  # noqa: E402


class Double(nn.Module):
    def forward(self, x: Any) -> Any:
        return {name: value * 2 for name, value in x.items()} if isinstance(x, dict) else x * 2


class Halves:
    """A preprocessor: half of everything."""

    def transform_batch(self, data: Any) -> Any:
        return data / 2


def ones() -> nn.Linear:
    layer = nn.Linear(2, 1)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def test_arrays() -> None:
    predictor = TorchPredictor(ones())
    found = predictor.predict(np.array([[1.0, 2.0], [3.0, 4.0]]))  # float64: the model's type is taken
    assert found["predictions"].dtype == np.float32
    assert found["predictions"].tolist() == [[3.0], [7.0]]
    assert predictor.predict(np.array([[1, 2]]), dtype=torch.float)["predictions"].tolist() == [[3.0]]
    with pytest.raises(RuntimeError, match="dtype"):  # integers stay what they are
        predictor.predict(np.array([[1, 2]]))


def test_a_dict_of_one_column_is_one_tensor() -> None:
    predictor = TorchPredictor(ones())
    columns = {"x": np.array([[1.0, 2.0]])}
    assert predictor.predict(columns)["predictions"].tolist() == [[3.0]]
    assert predictor.predict(columns, dtype={"x": torch.float})["predictions"].tolist() == [[3.0]]
    with pytest.raises(ValueError, match="dtype is for y, but the column is x"):
        predictor.predict(columns, dtype={"y": torch.float})


def test_data_frames_and_columns_of_tensors() -> None:
    pandas = pytest.importorskip("pandas")
    predictor = TorchPredictor(ones())
    frame = pandas.DataFrame({"x": [np.array([1.0, 2.0]), np.array([3.0, 4.0])]})
    found = predictor.predict(frame)
    assert list(found.columns) == ["predictions"]
    assert [row.tolist() for row in found["predictions"]] == [[3.0], [7.0]]
    several = TorchPredictor(Double()).predict(
        pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.0]}), dtype={"a": torch.float}
    )
    assert several.to_dict("list") == {"a": [2.0, 4.0], "b": [1.0, 2.0]}
    arrow = pytest.importorskip("pyarrow")
    table = TorchPredictor(Double()).predict(arrow.table({"a": [1.0], "b": [2.0]}))
    assert table.to_pydict() == {"a": [2.0], "b": [4.0]}


def test_dicts_of_arrays() -> None:
    found = TorchPredictor(Double()).predict({"a": np.ones(2), "b": np.array([True, False])}, dtype=torch.int32)
    assert {name: value.tolist() for name, value in found.items()} == {"a": [2, 2], "b": [2, 0]}
    with pytest.raises(ValueError, match="dtype is for c, but the columns are a, b"):
        TorchPredictor(Double()).predict({"a": np.ones(2), "b": np.ones(2)}, dtype={"c": torch.float})


def test_models_are_evaluated_without_gradients() -> None:
    model = nn.Sequential(nn.Dropout(0.5), Double())
    grads = []
    model[1].register_forward_hook(lambda *_: grads.append(torch.is_inference_mode_enabled()))
    predictor = TorchPredictor(model)
    assert predictor.predict(np.ones(100))["predictions"].tolist() == [2.0] * 100
    assert grads == [True]
    assert predictor.preferred_batch_format() is BatchFormat.NUMPY


def test_read_only_arrays_and_bfloat16() -> None:
    values = np.ones((1, 2), dtype=np.float32)
    values.flags.writeable = False
    found = TorchPredictor(ones().to(torch.bfloat16)).predict(values)
    assert found["predictions"].tolist() == [[2.0]]


def test_call_model_can_be_overridden() -> None:
    class Pair(nn.Module):
        def forward(self, x: Any) -> Any:
            return x, x + 1

    with pytest.raises(TypeError, match=r"output of the model is a tuple.*override call_model"):
        TorchPredictor(Pair()).predict(np.ones(1))

    class Named(TorchPredictor):
        def call_model(self, inputs: Any) -> Any:
            first, second = super().call_model(inputs)
            return {"first": first, "second": second}

    assert {k: v.tolist() for k, v in Named(Pair()).predict(np.ones(1)).items()} == {"first": [1.0], "second": [2.0]}


def test_what_cannot_be_a_tensor() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="'name' cannot be a tensor: it is an array of object"):
        TorchPredictor(Double()).predict(pandas.DataFrame({"x": [1], "name": pandas.Series(["a"], dtype=object)}))
    with pytest.raises(TypeError, match=r"needs a torch\.nn\.Module, not dict"):
        TorchPredictor({})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="torch sees no GPU here"):
        TorchPredictor(ones(), use_gpu=True)


@pytest.mark.parametrize("whole", [True, False])
def test_from_checkpoints(whole: bool) -> None:
    model = ones()
    checkpoint = (
        TorchCheckpoint.from_model(model, preprocessor=Halves())
        if whole
        else TorchCheckpoint.from_state_dict(model.state_dict(), preprocessor=Halves())
    )
    for source in (checkpoint, Checkpoint.from_dict(dict(checkpoint.to_dict()))):
        predictor = TorchPredictor.from_checkpoint(source, None if whole else nn.Linear(2, 1))
        assert isinstance(predictor.get_preprocessor(), Halves)
        assert predictor.predict(np.array([[2.0, 4.0]]))["predictions"].tolist() == [[3.0]]
    with pytest.raises(CheckpointTypeError):
        TorchPredictor.from_checkpoint(Checkpoint.from_dict({"booster": 1}))
    with pytest.raises(PredictorNotSerializableException):
        __import__("pickle").dumps(predictor)


def test_detection() -> None:
    class Finder(nn.Module):
        def forward(self, images: list[Any]) -> list[dict[str, Any]]:
            return [
                {"boxes": torch.ones(int(image.sum()), 4), "labels": torch.ones(int(image.sum()))} for image in images
            ]

    images = np.stack([np.ones((1, 1, 1)), np.full((1, 1, 1), 3.0)])
    found = TorchDetectionPredictor(Finder()).predict({"image": images})
    assert [row.shape for row in found["pred_boxes"]] == [(1, 4), (3, 4)]
    assert [len(row) for row in found["pred_labels"]] == [1, 3]
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones((1, 2, 1)), np.ones((1, 1, 1))]
    assert [len(row) for row in TorchDetectionPredictor(Finder()).predict(ragged)["pred_labels"]] == [2, 1]
    with pytest.raises(ValueError, match="needs one column, of images, not a, b"):
        TorchDetectionPredictor(Finder()).predict({"a": images, "b": images})
