"""AccelerateTrainer, and Accelerator() in a TorchTrainer."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from aktis import air  # noqa: E402
from aktis.air import session as air_session  # noqa: E402
from aktis.train.huggingface.accelerate import AccelerateTrainer, _config  # noqa: E402
from aktis.train.torch import TorchCheckpoint, TorchConfig, TorchTrainer  # noqa: E402


def loop() -> None:
    from accelerate import Accelerator

    accelerator = Accelerator()
    torch.manual_seed(0)
    data = torch.randn(16, 2)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer, loader = accelerator.prepare(model, optimizer, DataLoader(TensorDataset(data), batch_size=4))
    losses = []
    for _ in range(3):
        for (x,) in loader:
            output = model(x)
            loss = (output.float() - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
        losses.append(accelerator.gather(loss.detach()).mean().item())
    found = {
        "processes": accelerator.num_processes,
        "kind": accelerator.distributed_type.value,
        "model": type(model).__name__,
        "batches": len(loader),
        "precision": accelerator.mixed_precision,
        "losses": losses,
    }
    air_session.report(found, checkpoint=TorchCheckpoint.from_model(accelerator.unwrap_model(model, False)))


EXPECTED = {"processes": 2, "kind": "MULTI_CPU", "model": "DistributedDataParallel", "batches": 2}


def check(result: air.Result, precision: str) -> None:
    assert {name: result.metrics[name] for name in EXPECTED} == EXPECTED
    assert result.metrics["precision"] == precision
    assert result.metrics["losses"][-1] < result.metrics["losses"][0]


SCALING = air.ScalingConfig(num_workers=2, trainer_resources={"CPU": 0})


def test_an_accelerator_in_a_torch_trainer(session: None, run_config: air.RunConfig) -> None:
    check(TorchTrainer(loop, scaling_config=SCALING, run_config=run_config).fit(), "no")


def test_settings_from_a_file(session: None, run_config: air.RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "accelerate.yaml"
    path.write_text("mixed_precision: bf16\nnum_processes: 7\nuse_cpu: false\ndistributed_type: MULTI_GPU\n")
    trainer = AccelerateTrainer(
        loop,
        accelerate_config=path,
        torch_config=TorchConfig(timeout_s=60),
        scaling_config=SCALING,
        run_config=run_config,
    )
    path.unlink()  # it was read where the trainer was made
    check(trainer.fit(), "bf16")


def test_what_the_workers_find() -> None:
    before = dict(os.environ)
    found = _config.variables({"mixed_precision": "fp16", "num_processes": 9}, 2)
    assert found["ACCELERATE_MIXED_PRECISION"] == "fp16"
    settings: dict[str, Any] = {"distributed_type": "FSDP", "fsdp_config": {"fsdp_sharding_strategy": "SHARD_GRAD_OP"}}
    found = _config.variables(settings, 2)
    assert (found["ACCELERATE_USE_FSDP"], found["FSDP_SHARDING_STRATEGY"]) == ("true", "SHARD_GRAD_OP")
    assert not {"MASTER_PORT", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"} & found.keys()
    assert dict(os.environ) == before


def test_a_file_of_deepspeed_is_sent_along(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 2}}')
    config = {"distributed_type": "DEEPSPEED", "deepspeed_config": {"deepspeed_config_file": "ds.json"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = _config.read(tmp_path / "config.json")
    assert found["deepspeed_config"]["deepspeed_config_file"] == {"zero_optimization": {"stage": 2}}
    (tmp_path / "ds.json").unlink()
    text = _config.variables(found, 2)["ACCELERATE_DEEPSPEED_CONFIG_FILE"]
    assert json.loads(base64.urlsafe_b64decode(text)) == {"zero_optimization": {"stage": 2}}


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accelerate does not know mixed_precisoin"):
        AccelerateTrainer(loop, accelerate_config={"mixed_precisoin": "bf16"})
    with pytest.raises(FileNotFoundError, match="accelerate config` writes one"):
        AccelerateTrainer(loop, accelerate_config=tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match="holds a list, not the settings"):
        AccelerateTrainer(loop, accelerate_config=str(tmp_path / "list.yaml"))
    with pytest.raises(TypeError, match="torch_config must be a TorchConfig"):
        AccelerateTrainer(loop, torch_config=3)  # type: ignore[arg-type]
