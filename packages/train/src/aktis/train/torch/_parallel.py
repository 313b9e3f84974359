"""Models on several workers: DistributedDataParallel and FSDP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["STRATEGIES", "shard", "unwrapped", "wrap"]

logger = logging.getLogger(__name__)

STRATEGIES = ("ddp", "fsdp", "fsdp2")


def wrap(
    model: torch.nn.Module, strategy: str, device: torch.device, kwargs: Mapping[str, Any] | None
) -> torch.nn.Module:
    """The model, trained together with those of the other workers.

    Args:
        model: A model on ``device``.
        strategy: One of :data:`STRATEGIES`.
        device: Where this worker computes.
        kwargs: For DistributedDataParallel, FullyShardedDataParallel or fully_shard.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        logger.info("%s has no parameter that is trained: it is the same on all workers as it is", type(model).__name__)
        return model
    if strategy == "ddp":
        options: dict[str, Any] = {}
        if device.type == "cuda":
            options = {"device_ids": [device], "output_device": device}
        return torch.nn.parallel.DistributedDataParallel(model, **{**options, **(kwargs or {})})
    if strategy == "fsdp" and device.type != "cpu":
        from torch.distributed.fsdp import FullyShardedDataParallel

        return FullyShardedDataParallel(model, **{"device_id": device, **(kwargs or {})})
    return shard(model, device, **(kwargs or {}))


# What FullyShardedDataParallel takes and fully_shard does not need: tuning of what overlaps with what.
_IGNORED = frozenset(
    {
        "backward_prefetch",
        "device_id",
        "forward_prefetch",
        "limit_all_gathers",
        "process_group",
        "use_orig_params",
    }
)


def shard(
    model: torch.nn.Module,
    device: torch.device,
    *,
    auto_wrap_policy: Callable[..., bool] | None = None,
    sharding_strategy: Any = None,
    mixed_precision: Any = None,
    cpu_offload: Any = None,
    sync_module_states: bool = False,
    **kwargs: Any,
) -> torch.nn.Module:
    """Shard a model in place with ``fully_shard`` (FSDP2), which computes on CPUs, too.

    FullyShardedDataParallel's arguments are understood, so that one loop runs with GPUs and without; others are those of
    ``fully_shard``.

    Args:
        model: The model.
        device: Where it computes.
        auto_wrap_policy: Says which submodules are gathered one by one: ``policy(module=, recurse=, nonwrapped_numel=)``,
            ``ModuleWrapPolicy({Layer})`` for instance. None: the model is gathered as a whole.
        sharding_strategy: FULL_SHARD (also without one) or SHARD_GRAD_OP.
        mixed_precision: ``MixedPrecision(param_dtype=..., reduce_dtype=...)``.
        cpu_offload: Whether parameters wait on the CPU.
        sync_module_states: Start all workers with the parameters of rank 0.
        kwargs: For ``fully_shard``.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard

    options = {name: value for name, value in kwargs.items() if name not in _IGNORED}
    if "mesh" not in options:
        options["mesh"] = init_device_mesh(device.type, (dist.get_world_size(),))
    if sharding_strategy is not None:
        options.setdefault("reshard_after_forward", _reshards(sharding_strategy))
    if mixed_precision is not None:
        policy = MixedPrecisionPolicy(
            param_dtype=mixed_precision.param_dtype, reduce_dtype=mixed_precision.reduce_dtype
        )
        options.setdefault("mp_policy", policy)
    if getattr(cpu_offload, "offload_params", cpu_offload) and device.type != "cpu":
        options.setdefault("offload_policy", CPUOffloadPolicy())
    if sync_module_states:
        _synchronise(model)
    if auto_wrap_policy is not None:
        for module in _chosen(model, auto_wrap_policy):
            fully_shard(module, **options)
    fully_shard(model, **options)
    return model


def _reshards(strategy: Any) -> bool:
    name = getattr(strategy, "name", strategy)
    if name not in ("FULL_SHARD", "SHARD_GRAD_OP"):
        raise ValueError(
            f"sharding_strategy={name} is not possible with fully_shard: use FULL_SHARD, SHARD_GRAD_OP, or a mesh of two "
            "dimensions for hybrid sharding; for NO_SHARD use parallel_strategy='ddp'"
        )
    return bool(name == "FULL_SHARD")


def _chosen(model: torch.nn.Module, policy: Callable[..., bool]) -> list[torch.nn.Module]:
    """The submodules that the policy chooses, the inner ones first."""
    chosen = []
    for module in reversed(list(model.modules())):
        if module is not model and isinstance(module, torch.nn.Module):
            size = sum(parameter.numel() for parameter in module.parameters())
            if size and policy(module=module, recurse=False, nonwrapped_numel=size):
                chosen.append(module)
    return chosen


def _synchronise(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor, src=0)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The user's own model, out of DistributedDataParallel (and of DataParallel).

    Raises:
        ValueError: it is sharded, so that no worker has all of it.
    """
    if isinstance(model, (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)):
        model = model.module
    if is_sharded(model):
        raise ValueError(
            f"{type(model).__name__} is sharded: this worker has a part of it only. Save it with "
            "aktis.train.torch.distributed_checkpoint.save, or collect it on all workers with "
            "aktis.train.torch.distributed_checkpoint.full_state_dict"
        )
    return model


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether FSDP has a hand in it."""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    return any(isinstance(module, (FSDPModule, FullyShardedDataParallel)) for module in model.modules())
