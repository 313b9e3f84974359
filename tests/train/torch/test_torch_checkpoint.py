"""TorchCheckpoint and distributed checkpoints in one process."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.torch import TorchCheckpoint, distributed_checkpoint  # noqa: E402
from aktis.train.torch.torch_checkpoint import copy_on_cpu  # noqa: E402


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


FORMS = {
    "dict": lambda checkpoint, path: checkpoint,
    "directory": lambda checkpoint, path: Checkpoint.from_directory(checkpoint.to_directory(path)),
    "bytes": lambda checkpoint, path: TorchCheckpoint.from_bytes(checkpoint.to_bytes()),
    "pickle": lambda checkpoint, path: pickle.loads(pickle.dumps(checkpoint)),
}


@pytest.mark.parametrize("form", FORMS)
def test_models_and_states_in_all_forms(form: str, tmp_path: Path) -> None:
    model = net()
    for index, checkpoint in enumerate(
        (TorchCheckpoint.from_model(model), TorchCheckpoint.from_state_dict(model.state_dict()))
    ):
        checkpoint.set_preprocessor({"scale": 2})
        found = FORMS[form](checkpoint, tmp_path / str(index))
        assert type(found) is TorchCheckpoint
        assert found.get_preprocessor() == {"scale": 2}
        assert same(found.get_model(net()), model)
    assert TorchCheckpoint.from_model(model, preprocessor="p").get_preprocessor() == "p"
    assert TorchCheckpoint.from_state_dict(model.state_dict(), preprocessor="p").get_preprocessor() == "p"


def test_a_state_is_stored_without_pickles(tmp_path: Path) -> None:
    path = TorchCheckpoint.from_state_dict(net().state_dict()).to_directory(tmp_path / "x")
    assert list(Path(path).rglob("*.safetensors"))
    assert not list(Path(path).rglob("*.pkl"))


def test_the_prefix_of_ddp_goes() -> None:
    model = net()
    state = OrderedDict((f"module.{name}", value) for name, value in model.state_dict().items())
    assert same(TorchCheckpoint.from_state_dict(state).get_model(net()), model)
    assert same(TorchCheckpoint.from_state_dict(state).get_model(nn.DataParallel(net())).module, model)

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(1, 1)

    holder = Holder()
    assert same(TorchCheckpoint.from_state_dict(holder.state_dict()).get_model(Holder()), holder)


def test_what_does_not_fit_is_named() -> None:
    checkpoint = TorchCheckpoint.from_state_dict(nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)).state_dict())
    with pytest.raises(CheckpointTypeError) as error:
        checkpoint.get_model(net())
    message = str(error.value)
    assert "does not fit a Sequential" in message
    assert "it lacks 1.num_batches_tracked, 1.running_mean" in message
    assert "0.weight is (4, 2) instead of (3, 2)" in message
    with pytest.raises(CheckpointTypeError, match="it has besides 1.bias, 1.weight"):
        checkpoint.get_model(nn.Sequential(nn.Linear(2, 4)))


def test_checkpoints_of_others(tmp_path: Path) -> None:
    with pytest.raises(CheckpointTypeError, match="it has booster, and no 'model'"):
        TorchCheckpoint.from_dict({"booster": 1}).get_model()
    with pytest.raises(CheckpointTypeError, match="'model' is a list"):
        TorchCheckpoint.from_dict({"model": [1]}).get_model()
    with pytest.raises(CheckpointTypeError, match="'model' is a dict"):
        TorchCheckpoint.from_dict({"model": {"weights": 1}}).get_model(net())
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(CheckpointTypeError, match=r"it has model\.json, and no 'model'"):
        TorchCheckpoint.from_directory(tmp_path).get_model()
    with pytest.raises(ValueError, match=r"pass one that it is loaded into, get_model\(model\)"):
        TorchCheckpoint.from_state_dict(net().state_dict()).get_model()
    with pytest.raises(TypeError, match="use TorchCheckpoint.from_state_dict"):
        TorchCheckpoint.from_model(net().state_dict())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"needs a state dict, not Sequential: model\.state_dict\(\)"):
        TorchCheckpoint.from_state_dict(net())  # type: ignore[arg-type]


def test_a_model_is_copied_to_the_cpu_whole() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[1].weight = model[0].weight  # tied
    model[1].bias.requires_grad_(False)
    copied = copy_on_cpu(model)
    assert same(copied, model)
    assert copied[1].weight is copied[0].weight
    assert copied[0].weight is not model[0].weight
    assert [p.requires_grad for p in copied.parameters()] == [p.requires_grad for p in model.parameters()]
    model[2].running_mean.add_(1)
    assert not same(copied, model)


def test_a_distributed_checkpoint_of_one_process(tmp_path: Path) -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    for index, pending in enumerate((False, True)):
        directory = tmp_path / str(index)
        if pending:
            waiting = distributed_checkpoint.async_save(directory, model, optimizer, extra={"epoch": 3})
            assert isinstance(waiting, distributed_checkpoint.PendingCheckpoint)
            checkpoint = waiting.result()
            assert waiting.done()
        else:
            checkpoint = distributed_checkpoint.save(directory, model, optimizer, extra={"epoch": 3})
        other = net()
        again = torch.optim.Adam(other.parameters())
        assert distributed_checkpoint.load(checkpoint, other, again) == {"epoch": 3}
        assert same(other, model)
        assert torch.equal(again.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
        assert same(checkpoint.get_model(net()), model)
        assert same(TorchCheckpoint.from_bytes(checkpoint.to_bytes()).get_model(net()), model)


def test_a_distributed_checkpoint_that_does_not_fit(tmp_path: Path) -> None:
    checkpoint = distributed_checkpoint.save(tmp_path / "x", nn.Linear(2, 3))
    assert distributed_checkpoint.load(str(tmp_path / "x"), nn.Linear(2, 3)) == {}
    with pytest.raises(CheckpointTypeError, match=r"weight is \(3, 2\) instead of \(5, 2\)"):
        distributed_checkpoint.load(checkpoint, nn.Linear(2, 5))
    with pytest.raises(CheckpointTypeError, match=r"0\.weight is missing"):
        distributed_checkpoint.load(checkpoint, nn.Sequential(nn.Linear(2, 3)))
    model = nn.Linear(2, 3)
    with pytest.raises(CheckpointTypeError, match="has no state of an optimizer"):
        distributed_checkpoint.load(checkpoint, model, torch.optim.Adam(model.parameters()))
    os.remove(tmp_path / "x" / "__0_0.distcp")
    with pytest.raises(CheckpointTypeError, match=r"lacks __0_0\.distcp of 1 files: every worker must report"):
        distributed_checkpoint.load(checkpoint, model)
    with pytest.raises(CheckpointTypeError, match=r"\.metadata is missing"):
        distributed_checkpoint.load(TorchCheckpoint.from_model(model), model)
