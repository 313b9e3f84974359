"""What is said of GPUs: with a stand-in for NVIDIA's library, which needs a driver."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from aktis.train._execution.gpu import GpuMeter


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = ModuleType("pynvml")
    module.asked = []
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByIndex = lambda index: ("index", index)
    module.nvmlDeviceGetHandleByUUID = lambda uuid: ("uuid", uuid)
    module.nvmlDeviceGetUtilizationRates = lambda handle: SimpleNamespace(gpu=40 if handle == ("index", 0) else 60)
    module.nvmlDeviceGetComputeRunningProcesses = lambda handle: [
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=1000),
        SimpleNamespace(pid=1, usedGpuMemory=5000),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=None),
    ]
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return module


@pytest.mark.usefixtures("nvml")
def test_all_gpus_of_a_worker_are_asked() -> None:
    assert GpuMeter(["0", "GPU-12ab"]).sample() == {"gpu_percent": 50.0, "gpu_memory_bytes": 2000.0}


def test_without_gpus_nothing_is_asked(nvml: Any) -> None:
    nvml.nvmlInit = None  # would raise
    assert GpuMeter([]).sample() == {}


def test_a_driver_that_fails_is_asked_no_more(nvml: Any) -> None:
    meter = GpuMeter(["0"])
    assert meter.sample()

    def lost(handle: Any) -> Any:
        raise RuntimeError("GPU is lost")

    nvml.nvmlDeviceGetUtilizationRates = lost
    assert meter.sample() == {} and meter.sample() == {}


def test_without_a_driver_torch_tells_of_memory(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise OSError("libnvidia-ml.so.1 not found")

    nvml.nvmlInit = no_driver
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, memory_reserved=lambda index: 10 + index
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    assert GpuMeter(["0"]).sample() == {"gpu_memory_bytes": 21.0}
    cuda.is_initialized = lambda: False
    assert GpuMeter(["0"]).sample() == {}
