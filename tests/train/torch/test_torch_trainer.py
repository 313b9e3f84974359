"""TorchTrainer: real workers, real process groups."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from aktis import air, train  # noqa: E402
from aktis.air import session as air_session  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.torch import TorchCheckpoint, TorchConfig, TorchTrainer, distributed_checkpoint  # noqa: E402


def fit(loop: Any, run_config: air.RunConfig, workers: int = 2, **kwargs: Any) -> air.Result:
    kwargs.setdefault("scaling_config", air.ScalingConfig(num_workers=workers, trainer_resources={"CPU": 0}))
    return TorchTrainer(loop, run_config=run_config, **kwargs).fit()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_losses() -> list[float]:
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    environment.update(OMP_NUM_THREADS="1", GLOO_SOCKET_IFNAME="lo")
    script = Path(__file__).parent / "plain_ddp.py"
    ranks = [
        subprocess.Popen([sys.executable, str(script)], env={**environment, "RANK": str(rank)}, stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=55)[0] for process in ranks]
    return list(json.loads(outputs[0]))


def curve_loop() -> None:
    torch.manual_seed(0)
    features = torch.randn(101, 8)
    dataset = TensorDataset(features, features.sum(1, keepdim=True).sin())
    model = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 1))
    model = train.torch.prepare_model(model)
    loader = train.torch.prepare_data_loader(DataLoader(dataset, batch_size=8, shuffle=True))
    optimizer = train.torch.prepare_optimizer(torch.optim.Adam(model.parameters(), lr=0.01))
    losses = []
    for _ in range(3):
        for x, y in loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            train.torch.backward(loss)
            optimizer.step()
            losses.append(loss.item())
    air_session.report({"losses": losses}, checkpoint=TorchCheckpoint.from_model(model))


def test_the_loss_curve_is_that_of_plain_ddp_bit_for_bit(session: None, run_config: air.RunConfig) -> None:
    result = fit(curve_loop, run_config)
    assert result.metrics["losses"] == plain_losses()
    assert isinstance(result.checkpoint, TorchCheckpoint)
    model = result.checkpoint.get_model()
    assert [type(layer).__name__ for layer in model] == ["Linear", "Dropout", "ReLU", "Linear"]


def test_what_workers_find(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        names = ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
        found: dict[str, Any] = {name: os.environ[name] for name in names}
        found["port is taken"] = int(os.environ["MASTER_PORT"]) > 0
        found["group"] = (dist.get_backend(), dist.get_rank(), dist.get_world_size())
        found["threads"] = torch.get_num_threads()
        found["device"] = str(train.torch.get_device())
        found["preloaded"] = "torch._dynamo" in sys.modules
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, found)
        air_session.report({"everyone": everyone})

    scaling = air.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 2}, trainer_resources={"CPU": 0})
    everyone = fit(loop, run_config, scaling_config=scaling).metrics["everyone"]
    for rank, found in enumerate(everyone):
        assert found == {
            "MASTER_ADDR": "127.0.0.1",
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": "2",
            "NODE_RANK": "0",
            "port is taken": True,
            "group": ("gloo", rank, 2),
            "threads": 2,
            "device": "cpu",
            "preloaded": True,
        }


def test_mixed_precision_on_cpus(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        train.torch.accelerate(amp=True)
        with pytest.raises(RuntimeError, match=r"accelerate\(amp=True\) was called in this worker before"):
            train.torch.accelerate()
        torch.manual_seed(0)
        model = train.torch.prepare_model(nn.Linear(4, 1))
        optimizer = train.torch.prepare_optimizer(torch.optim.SGD(model.parameters(), lr=0.1))
        x = torch.randn(32, 4)
        losses = []
        for _ in range(5):
            output = model(x)
            loss = (output.float() - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            train.torch.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        metrics = {"dtype": str(output.dtype), "losses": losses}
        air_session.report(metrics, checkpoint=TorchCheckpoint.from_model(model))

    result = fit(loop, run_config)
    assert result.metrics["dtype"] == "torch.bfloat16"
    assert result.metrics["losses"][-1] < result.metrics["losses"][0]
    assert result.checkpoint.get_model()(torch.ones(1, 4)).dtype is torch.float32


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))


def sharded_loop(config: dict[str, Any]) -> None:
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    kwargs = {} if config["strategy"] == "ddp" else {"auto_wrap_policy": ModuleWrapPolicy({nn.Linear})}
    model = train.torch.prepare_model(make_model(), True, config["strategy"], kwargs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    start = 0
    checkpoint = air_session.get_checkpoint()
    if checkpoint is not None:
        start = distributed_checkpoint.load(checkpoint, model, optimizer)["step"]
    torch.manual_seed(1)
    x = torch.randn(16, 6)  # the same on all, so that the number of workers makes no difference
    losses = []
    for _ in range(3):
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with tempfile.TemporaryDirectory() as directory:
        save = distributed_checkpoint.async_save if config.get("async") else distributed_checkpoint.save
        saved: Any = save(directory, model, optimizer, extra={"step": start + 3})
        if config.get("async"):
            saved = saved.result(30)
        air_session.report({"losses": losses, "local": len(os.listdir(directory))}, checkpoint=saved)


def steps_in_one_process(count: int) -> list[float]:
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    torch.manual_seed(1)
    x = torch.randn(16, 6)
    losses = []
    for _ in range(count):
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_sharded_training_goes_on_with_another_number_of_workers(
    session: None, run_config: air.RunConfig, tmp_path: Path
) -> None:
    expected = steps_in_one_process(9)
    config = {"strategy": "fsdp"}
    first = fit(sharded_loop, run_config, train_loop_config=config, workers=2)
    assert first.metrics["losses"] == pytest.approx(expected[:3])
    again = air.RunConfig(name="three", local_dir=str(tmp_path), verbose=0)
    config = {"strategy": "fsdp", "async": True}
    second = fit(sharded_loop, again, train_loop_config=config, workers=3, resume_from_checkpoint=first.checkpoint)
    assert second.metrics["losses"] == pytest.approx(expected[3:6])
    names = os.listdir(second.checkpoint.path)
    assert {"__0_0.distcp", "__1_0.distcp", "__2_0.distcp", ".metadata"} <= set(names)
    assert second.metrics["local"] < len(names)  # merged from all ranks

    model = make_model()  # in this process, without a process group
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    assert distributed_checkpoint.load(second.checkpoint, model, optimizer) == {"step": 6}
    torch.manual_seed(1)
    x = torch.randn(16, 6)
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
    assert loss.item() == pytest.approx(expected[6])
    assert optimizer.state_dict()["state"][0]["step"] == 6
    other = TorchCheckpoint.from_checkpoint(second.checkpoint).get_model(make_model())
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters()))


def test_a_checkpoint_of_ddp_is_read_by_fsdp(session: None, run_config: air.RunConfig, tmp_path: Path) -> None:
    expected = steps_in_one_process(6)
    first = fit(sharded_loop, run_config, train_loop_config={"strategy": "ddp"})
    again = air.RunConfig(name="again", local_dir=str(tmp_path), verbose=0)
    config = {"strategy": "fsdp2"}
    second = fit(sharded_loop, again, train_loop_config=config, resume_from_checkpoint=first.checkpoint)
    assert second.metrics["losses"] == pytest.approx(expected[3:])


def test_a_sharded_model_is_not_saved_as_if_it_were_whole(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        model = train.torch.prepare_model(make_model(), parallel_strategy="fsdp")
        with pytest.raises(ValueError, match=r"is sharded.*distributed_checkpoint\.save"):
            TorchCheckpoint.from_model(model)
        with pytest.raises(ValueError, match=r"'0\.weight' is sharded"):
            TorchCheckpoint.from_state_dict(model.state_dict())
        state = distributed_checkpoint.full_state_dict(model)
        checkpoint = TorchCheckpoint.from_state_dict(state) if state else None
        air_session.report({"names": sorted(state)}, checkpoint=checkpoint)

    result = fit(loop, run_config)
    assert result.metrics["names"] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    model = result.checkpoint.get_model(nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1)))
    assert torch.equal(model[0].weight, make_model()[0].weight)


def test_a_killed_worker_fails_the_run_and_nothing_hangs(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        if dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        dist.all_reduce(torch.ones(1))

    with pytest.raises(train.TrainingFailedError):
        fit(loop, run_config)


def test_a_run_goes_on_after_a_worker_was_killed(session: None, tmp_path: Path) -> None:
    def loop() -> None:
        checkpoint = air_session.get_checkpoint()
        model = train.torch.prepare_model(make_model() if checkpoint is None else checkpoint.get_model())
        for epoch in range(0 if checkpoint is None else checkpoint.to_dict()["epoch"] + 1, 3):
            if epoch == 1 and checkpoint is None and dist.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            model(torch.ones(1, 6)).sum().backward()
            saved = TorchCheckpoint.from_dict({"model": model.module, "epoch": epoch})
            air_session.report({"epoch": epoch, "resumed": checkpoint is not None}, checkpoint=saved)

    config = air.RunConfig(
        name="run", local_dir=str(tmp_path), verbose=0, failure_config=air.FailureConfig(max_failures=1)
    )
    metrics = fit(loop, config).metrics
    assert metrics["epoch"] == 2
    assert metrics["resumed"]


def test_a_user_error_comes_first(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        if dist.get_rank() == 1:
            raise ZeroDivisionError("mine")
        dist.all_reduce(torch.ones(1))

    with pytest.raises(train.TrainingFailedError) as failure:
        fit(loop, run_config)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


def test_the_process_group_is_not_there_without_the_backend(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        train.torch.prepare_model(nn.Linear(1, 1))

    scaling = air.ScalingConfig(num_workers=2, trainer_resources={"CPU": 0})
    with pytest.raises(train.TrainingFailedError) as failure:
        train.DataParallelTrainer(loop, scaling_config=scaling, run_config=run_config).fit()
    assert "prepare_model needs torch's process group" in str(failure.value.__cause__)


def test_a_checkpoint_of_another_framework_is_refused(session: None, run_config: air.RunConfig) -> None:
    def loop() -> None:
        checkpoint = air_session.get_checkpoint()
        assert checkpoint is not None
        distributed_checkpoint.load(checkpoint, nn.Linear(1, 1))

    with pytest.raises(train.TrainingFailedError) as failure:
        fit(loop, run_config, resume_from_checkpoint=air.Checkpoint.from_dict({"x": 1}))
    assert isinstance(failure.value.__cause__, CheckpointTypeError)


def test_the_config_is_checked_at_once() -> None:
    with pytest.raises(TypeError, match="torch_config must be a TorchConfig"):
        TorchTrainer(lambda: None, torch_config={"backend": "gloo"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="init_method must be 'env' or 'tcp', not 'file'"):
        TorchConfig(init_method="file")
    with pytest.raises(ValueError, match="timeout_s must be a number of seconds above 0, not 0"):
        TorchConfig(timeout_s=0)
    with pytest.raises(ValueError, match="backend must be"):
        TorchConfig(backend="")
