"""The older Trainer with PyTorch: the programs of its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aktis import train
from aktis.train.backend import BackendConfig
from aktis.train.callbacks import TorchTensorboardProfilerCallback, TrainingCallback
from aktis.train.trainer import Trainer

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("session")]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))


def all_reduce() -> tuple[int, int, float]:
    import torch.distributed as dist

    value = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(value)
    return dist.get_rank(), dist.get_world_size(), value.item()


def test_four_workers_on_two_cpus() -> None:
    trainer = Trainer(backend="torch", num_workers=4)
    trainer.start()
    values = trainer.run(all_reduce)
    trainer.shutdown()
    assert values == [(rank, 4, 6.0) for rank in range(4)]


def test_models_are_saved_and_reported_as_they_were_before_they_were_wrapped() -> None:
    def loop() -> bool:
        model = train.torch.prepare_model(torch.nn.Linear(1, 1))
        train.save_checkpoint(model=model)
        train.report(model=model)
        return isinstance(model, torch.nn.parallel.DistributedDataParallel)

    seen: list[Any] = []

    class Models(TrainingCallback):
        def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
            seen.extend(type(result["model"]) for result in results)

    with Trainer("torch", 2) as trainer:
        assert trainer.run(loop, callbacks=[Models()]) == [True, True]
        assert trainer.latest_checkpoint is not None
        assert type(trainer.latest_checkpoint["model"]) is torch.nn.Linear
    assert seen == [torch.nn.Linear, torch.nn.Linear]


def test_traces_of_the_profiler_reach_the_run(tmp_path: Path) -> None:
    def loop() -> None:
        from torch.profiler import profile

        from aktis.train.torch import TorchWorkerProfiler

        profiler = TorchWorkerProfiler()
        with profile(on_trace_ready=profiler.trace_handler):
            torch.ones(2).sum()
        train.report(**profiler.get_and_clear_profile_traces())

    callback = TorchTensorboardProfilerCallback()
    with Trainer(BackendConfig(), num_workers=1) as trainer:
        trainer.run(loop, callbacks=[callback])
        assert trainer.latest_run_dir is not None
        assert callback.logdir == trainer.latest_run_dir / "pytorch_profiler"
    (trace,) = callback.logdir.iterdir()
    assert "traceEvents" in trace.read_text()
