"""Tensors in checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aktis.air.checkpoint import Checkpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def round_trip(values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    path = Checkpoint.from_dict(values).to_directory(tmp_path / "x")
    assert not list(Path(path).rglob("*.pkl"))
    return Checkpoint.from_directory(path).to_dict()


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64", "complex128",
     "float8_e4m3fn", "float8_e5m2"],
)  # fmt: skip
def test_tensors_of_all_dtypes(dtype: str, tmp_path: Path) -> None:
    tensor = torch.tensor([[1, 0, 1], [0, 1, 1]]).to(getattr(torch, dtype))
    found = round_trip({"t": tensor, "empty": tensor[:0], "scalar": tensor[0, 0]}, tmp_path)
    assert found["t"].dtype is tensor.dtype
    assert torch.equal(found["t"].to(torch.complex128), tensor.to(torch.complex128))
    assert found["empty"].shape == (0, 3)
    assert found["scalar"].shape == ()


def test_views_and_what_is_odd_about_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    values = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "expanded": torch.ones(1, 3).expand(2, 3),
        "conjugated": torch.tensor([1 + 2j]).conj(),
        "needs grad": torch.ones(2, requires_grad=True),
        "computed": torch.ones(2, requires_grad=True) * 2,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    }
    found = round_trip(values, tmp_path)
    for name, tensor in values.items():
        assert torch.equal(found[name], tensor), name
        assert type(found[name]) is type(tensor)
        assert found[name].requires_grad == tensor.requires_grad
    found["transposed"].add_(1)  # memory of its own


def test_the_state_of_a_model(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    found = round_trip({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path)
    assert type(found["model"]) is type(model.state_dict())
    assert found["model"]._metadata == model.state_dict()._metadata
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    other.load_state_dict(found["model"])
    torch.optim.Adam(other.parameters()).load_state_dict(found["optimizer"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    weight = torch.randn(100, 100)
    state = {"encoder": weight, "decoder": weight.detach(), "part": weight[:50]}
    found = round_trip(state, tmp_path)
    assert found["encoder"].data_ptr() == found["decoder"].data_ptr()
    assert torch.equal(found["part"], weight[:50])
    size = sum(path.stat().st_size for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert size < 4 * weight.numel() * 1.6


def test_models_themselves_are_pickled(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    path = Checkpoint.from_dict({"model": model, "sparse": torch.eye(3).to_sparse()}).to_directory(tmp_path / "x")
    found = Checkpoint.from_directory(path).to_dict()
    assert torch.equal(found["model"].weight, model.weight)
    assert torch.equal(found["sparse"].to_dense(), torch.eye(3))


def test_tensors_outlive_the_directory(tmp_path: Path) -> None:
    import shutil

    path = Checkpoint.from_dict({"t": torch.arange(100_000), "a": np.arange(100_000)}).to_directory(tmp_path / "x")
    found = Checkpoint.from_directory(path).to_dict()
    shutil.rmtree(path)
    assert int(found["t"].sum()) == int(found["a"].sum()) == 4_999_950_000
