"""What a training loop of torch calls, so that it runs on several workers as it does on one.

The same calls do the right thing where no trainer runs: in a script of torchrun they use its process group, and alone they
only move things to the device. So a loop can be tried by hand.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.train.torch import _world
from aktis.train.torch._need import need_torch

if TYPE_CHECKING:
    import torch

__all__ = [
    "TorchWorkerProfiler",
    "accelerate",
    "backward",
    "enable_reproducibility",
    "get_device",
    "get_devices",
    "prepare_data_loader",
    "prepare_model",
    "prepare_optimizer",
]


def get_device() -> torch.device:
    """The device of this worker: its (first) GPU, as this process counts them, or the CPU."""
    return get_devices()[0]


def get_devices() -> list[torch.device]:
    """All devices of this worker: its GPUs, as this process counts them, or the CPU.

    Raises:
        RuntimeError: CUDA_VISIBLE_DEVICES lacks a GPU that the worker was given.
    """
    need_torch("aktis.train.torch.get_devices")
    return _world.devices()


def prepare_model(
    model: torch.nn.Module,
    move_to_device: bool | torch.device = True,
    parallel_strategy: str | None = "ddp",
    parallel_strategy_kwargs: dict[str, Any] | None = None,
    *,
    wrap_ddp: bool | None = None,
    ddp_kwargs: dict[str, Any] | None = None,
) -> torch.nn.Module:
    """A model that is trained together with those of the other workers. Alone, it is only moved to the device.

    Args:
        model: The model of this worker. DistributedDataParallel starts all workers with the parameters of rank 0.
        move_to_device: Whether it goes to :func:`get_device`; a device: to that one.
        parallel_strategy: "ddp" (DistributedDataParallel), "fsdp" (FullyShardedDataParallel; ``fully_shard`` on CPUs),
            "fsdp2" (``fully_shard`` everywhere), or None: the model is left alone.
        parallel_strategy_kwargs: For DistributedDataParallel, FullyShardedDataParallel or ``fully_shard``. On CPUs ``fully_shard``
            understands the main ones of FullyShardedDataParallel (``auto_wrap_policy``, ``sharding_strategy``,
            ``mixed_precision``, ``sync_module_states``).
        wrap_ddp: How Ray before 2.3 said ``parallel_strategy="ddp"`` (or None).
        ddp_kwargs: How it said ``parallel_strategy_kwargs``.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: an unknown strategy.
        RuntimeError: several workers without torch's process group.
    """
    torch = need_torch("aktis.train.torch.prepare_model")
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"prepare_model needs a torch.nn.Module, not {type(model).__name__}: {model!r:.80}")
    if wrap_ddp is not None:
        parallel_strategy = "ddp" if wrap_ddp else None
    if ddp_kwargs is not None:
        parallel_strategy_kwargs = ddp_kwargs
    from aktis.train.torch import _amp, _parallel

    if parallel_strategy is not None and parallel_strategy not in _parallel.STRATEGIES:
        raise ValueError(f"parallel_strategy must be 'ddp', 'fsdp', 'fsdp2' or None, not {parallel_strategy!r}")
    where = _world.world()
    device = torch.device(move_to_device) if isinstance(move_to_device, (str, torch.device)) else get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    wrapped = parallel_strategy is not None and where.size > 1
    if move_to_device and not (wrapped and parallel_strategy == "fsdp" and device.type == "cuda"):
        model = model.to(device)  # what FSDP shards, it moves itself, since it may not fit as a whole
    if _world.current_run().amp:
        _amp.autocast_forward(model, device)
    if wrapped:
        assert parallel_strategy is not None
        _world.need_group("prepare_model", where)
        model = _parallel.wrap(model, parallel_strategy, device, parallel_strategy_kwargs)
    return model


def prepare_data_loader(
    data_loader: torch.utils.data.DataLoader,
    add_dist_sampler: bool = True,
    move_to_device: bool = True,
    auto_transfer: bool = True,
) -> torch.utils.data.DataLoader:
    """A loader of which each worker gets its part, on its device.

    The part is that of a ``DistributedSampler``, which shuffles if the loader did (unless it goes through its data set in order,
    it does). Each iteration over the loader is the next epoch, as after ``sampler.set_epoch(0)``, ``set_epoch(1)``, ...; to go on
    in the middle of a run, call ``loader.sampler.set_epoch(epoch)`` once. All other arguments of the loader are kept.

    A loader that has a ``DistributedSampler`` or an ``IterableDataset`` is not distributed: it is in the hands of the user. A batch
    sampler of the user's own is kept, and each worker takes every n-th batch of it.

    Args:
        data_loader: The loader of this worker: the same on all.
        add_dist_sampler: Whether it is distributed.
        move_to_device: Whether its batches come on :func:`get_device`.
        auto_transfer: On GPUs, copy the next batch while the current one is worked on.

    Raises:
        TypeError: it is no DataLoader, or one of a class of the user's that cannot be made anew.
    """
    torch = need_torch("aktis.train.torch.prepare_data_loader")
    if not isinstance(data_loader, torch.utils.data.DataLoader):
        raise TypeError(
            f"prepare_data_loader needs a torch.utils.data.DataLoader, not {type(data_loader).__name__}; "
            "for a Dataset use session.get_dataset_shard(name).iter_torch_batches()"
        )
    from aktis.train.torch import _data_loader

    where = _world.world()
    if where.size > 1 and add_dist_sampler:
        data_loader = _data_loader.distribute(data_loader, where)
    seed = _world.current_run().seed
    if seed is not None:
        data_loader = _data_loader.seeded(data_loader, seed)
    device = get_device()
    if move_to_device and device.type != "cpu":
        torch.cuda.set_device(device)
        return _data_loader.PreparedDataLoader(data_loader, device, auto_transfer)
    return data_loader


def accelerate(amp: bool = False) -> None:
    """Turn on what makes training faster, before anything is prepared. Once in each worker.

    Args:
        amp: Whether to compute in mixed precision: float16 on GPUs (with scaled gradients), bfloat16 on CPUs.

    Raises:
        RuntimeError: it was called before in this training loop.
    """
    need_torch("aktis.train.torch.accelerate")
    from aktis.air import session_host

    run = _world.current_run()
    if run.amp is not None and session_host.current() is not None:
        raise RuntimeError(
            f"accelerate(amp={run.amp}) was called in this worker before: call it once, at the beginning of the training loop"
        )
    run.amp = bool(amp)
    run.scaler = None
    if amp:
        from aktis.train.torch import _amp

        run.scaler = _amp.make_scaler(get_device())


def prepare_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer, made ready for what :func:`accelerate` turned on.

    Raises:
        TypeError: it is no optimizer.
    """
    torch = need_torch("aktis.train.torch.prepare_optimizer")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"prepare_optimizer needs a torch.optim.Optimizer, not {type(optimizer).__name__}")
    scaler = _world.current_run().scaler
    if scaler is None:
        return optimizer
    from aktis.train.torch._amp import ScaledOptimizer

    return optimizer if isinstance(optimizer, ScaledOptimizer) else ScaledOptimizer(optimizer, scaler)


def backward(tensor: torch.Tensor) -> None:
    """``tensor.backward()``, scaled as :func:`accelerate` asks for.

    Args:
        tensor: The loss.
    """
    scaler = _world.current_run().scaler
    (tensor if scaler is None else scaler.scale(tensor)).backward()


def enable_reproducibility(seed: int = 0) -> None:
    """Seed Python, numpy and torch, and have torch compute the same each time. Call it before anything is prepared.

    Loaders that are prepared later are seeded, too, and so are their processes. The same number of workers is needed for the
    same results; operations that have no deterministic algorithm raise an error.

    Args:
        seed: The seed, the same on all workers.
    """
    import os

    torch = need_torch("aktis.train.torch.enable_reproducibility")
    import numpy

    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1, not {seed!r}")
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without
    _world.current_run().seed = seed


class TorchWorkerProfiler:
    """Traces of torch's profiler from each worker. Ray has deprecated it: use ``torch.profiler.profile`` in the loop.

    ::

        profiler = TorchWorkerProfiler()
        with torch.profiler.profile(on_trace_ready=profiler.trace_handler) as profile:
            ...
        session.report({"loss": loss, **profiler.get_and_clear_profile_traces()})

    Args:
        trace_dir: Where traces are written; None: into a temporary directory.
    """

    KEY = "_train_torch_profiler"

    def __init__(self, trace_dir: str | None = None) -> None:
        import tempfile
        from pathlib import Path

        need_torch("TorchWorkerProfiler")
        warnings.warn(
            "TorchWorkerProfiler is deprecated: use torch.profiler.profile(on_trace_ready=tensorboard_trace_handler(directory)) "
            "in the training loop",
            DeprecationWarning,
            stacklevel=2,
        )
        self.trace_dir = Path(trace_dir or tempfile.mkdtemp(prefix="aktis_torch_profiler_"))
        self.trace_dir.mkdir(parents=True, exist_ok=True)
        self._traces: list[Any] = []

    def trace_handler(self, profile: Any) -> None:
        """Writes a trace: the ``on_trace_ready`` of ``torch.profiler.profile``."""
        path = self.trace_dir / f"worker_{_world.world().rank}_epoch_{profile.step_num}.pt.trace.json"
        profile.export_chrome_trace(str(path))
        self._traces.append(path)

    def get_and_clear_profile_traces(self) -> Mapping[str, list[tuple[str, str]]]:
        """Names and contents of the traces since the last call, to be reported."""
        traces, self._traces = self._traces, []
        return {self.KEY: [(path.name, path.read_text()) for path in traces]}
