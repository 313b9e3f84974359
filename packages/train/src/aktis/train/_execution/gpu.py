"""The GPUs of workers: which of them each sees, and what it uses of them.

The latter by NVIDIA's management library where ``nvidia-ml-py`` is installed, else what torch knows.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.worker_group import gather

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup

__all__ = ["GpuMeter", "share_gpus"]

logger = logging.getLogger(__name__)


class GpuMeter:
    """Asks the GPUs with these ids (as CUDA counts them on this machine, or UUIDs).

    Never raises: what cannot be said is left out.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = list(ids)
        self._nvml: Any = None
        self._handles: list[Any] = []
        self._opened = False

    def sample(self) -> dict[str, float]:
        """``gpu_percent`` (how much of the time the GPUs were busy, their mean) and ``gpu_memory_bytes`` of this process."""
        if not self._ids:
            return {}
        if not self._opened:
            self._opened = True
            self._open()
        if self._nvml is not None:
            try:
                return self._ask()
            except Exception as error:  # the driver was restarted, a GPU is lost
                logger.debug("the GPUs %s do not say what is used of them: %s", self._ids, error)
                self._nvml = None
        return _by_torch()

    def _open(self) -> None:
        try:
            import pynvml  # type: ignore[import-not-found, unused-ignore]

            pynvml.nvmlInit()
            for name in self._ids:
                by_index = name.isdigit()
                ask = pynvml.nvmlDeviceGetHandleByIndex if by_index else pynvml.nvmlDeviceGetHandleByUUID
                self._handles.append(ask(int(name) if by_index else name))
            self._nvml = pynvml
        except Exception as error:  # not installed, or there is no driver
            logger.debug("what the GPUs %s do is not measured: %s", self._ids, error)

    def _ask(self) -> dict[str, float]:
        nvml, pid = self._nvml, os.getpid()
        busy = [float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) for handle in self._handles]
        used = 0.0
        for handle in self._handles:
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                if process.pid == pid:
                    used += float(process.usedGpuMemory or 0)
        # In containers the processes have other numbers, or none are told.
        return {
            "gpu_percent": sum(busy) / len(busy),
            "gpu_memory_bytes": used or _by_torch().get("gpu_memory_bytes", 0.0),
        }


def _by_torch() -> dict[str, float]:
    """Memory that torch has taken from the GPUs, when it is loaded and uses them."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_initialized():
            return {}
        return {"gpu_memory_bytes": float(sum(map(torch.cuda.memory_reserved, range(torch.cuda.device_count()))))}
    except Exception:  # half imported
        return {}


def share_gpus(group: WorkerGroup) -> None:
    """Let each worker see the GPUs of all workers of its machine."""
    by_node: dict[str, list[str]] = {}
    for worker in group.workers:
        known = by_node.setdefault(worker.metadata.node_id, [])
        known += [gpu for gpu in worker.metadata.gpu_ids if gpu not in known]
    gather(
        [
            worker.actor.execute.remote(_set_variable, "CUDA_VISIBLE_DEVICES", ",".join(sorted(gpus)))
            for worker in group.workers
            if (gpus := by_node[worker.metadata.node_id])
        ]
    )


def _set_variable(name: str, value: str) -> None:
    os.environ[name] = value
