"""Where the code that calls us runs: in a worker of a trainer, in a script of torchrun, or alone."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.air import session_host

if TYPE_CHECKING:
    import torch

__all__ = ["Run", "World", "current_run", "devices", "world"]


@dataclass(frozen=True)
class World:
    """How many processes train together, and which one this is."""

    size: int
    rank: int
    local_rank: int


def world() -> World:
    """Of the session of a trainer if there is one, else of torch's process group, else a single process."""
    host = session_host.current()
    if host is not None:
        return World(host.get_world_size(), host.get_world_rank(), host.get_local_rank())
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return World(dist.get_world_size(), dist.get_rank(), int(os.environ.get("LOCAL_RANK", "0")))
    return World(1, 0, 0)


def need_group(what: str, where: World) -> None:
    """Raise unless torch's process group is there, with several processes."""
    import torch.distributed as dist

    if where.size > 1 and not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            f"{what} needs torch's process group, which these {where.size} workers do not have: use TorchTrainer, or a "
            "DataParallelTrainer with backend_config=TorchConfig()"
        )


def devices() -> list[torch.device]:
    """The devices of this worker: its GPUs, as this process counts them, or the CPU.

    Raises:
        RuntimeError: CUDA_VISIBLE_DEVICES lacks a GPU that the worker was given.
    """
    import torch

    if not torch.cuda.is_available():
        return [torch.device("cpu")]
    given = _given_gpus()
    if given is None:  # a script, or torchrun's
        return [torch.device(f"cuda:{world().local_rank % torch.cuda.device_count()}")]
    if not given:
        return [torch.device("cpu")]
    return [torch.device(f"cuda:{index}") for index in visible_indexes(given, os.environ.get("CUDA_VISIBLE_DEVICES"))]


def visible_indexes(given: list[str], visible: str | None) -> list[int]:
    """Which of the visible GPUs those are that were given."""
    if not visible:
        return [int(gpu) for gpu in given]
    order = [name.strip() for name in visible.split(",")]
    missing = [gpu for gpu in given if gpu not in order]
    if missing:
        raise RuntimeError(
            f"CUDA_VISIBLE_DEVICES={visible} lacks GPU {', '.join(missing)}, which this worker was given: do not change it in "
            "the training loop, nor in a runtime environment"
        )
    return [order.index(gpu) for gpu in given]


def _given_gpus() -> list[str] | None:
    """The GPUs of this worker, as CUDA counts them on its machine; None where no trainer runs."""
    if session_host.current() is None:
        return None
    import aktis

    return [str(gpu) for gpu in aktis.get_gpu_ids()]


# -- what a worker remembers between calls -------------------------------------------------------------------------------


class Run:
    """What one training loop has set: :func:`accelerate`, :func:`enable_reproducibility`.

    Attributes:
        amp: None: :func:`accelerate` was not called. Else whether it asked for mixed precision.
        scaler: Keeps gradients of float16 above zero; None where that is not needed.
        seed: What :func:`enable_reproducibility` was given; None when it was not called.
    """

    def __init__(self) -> None:
        self.amp: bool | None = None
        self.scaler: Any = None
        self.seed: int | None = None


_runs: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()
_alone = Run()


def current_run() -> Run:
    """That of the session; outside of one, that of the process."""
    host = session_host.current()
    return _alone if host is None else _runs.setdefault(host, Run())
