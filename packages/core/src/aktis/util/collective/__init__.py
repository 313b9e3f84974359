"""Allreduce, broadcast and the like between actors or tasks, on NumPy arrays and torch tensors.

    class Worker:
        def train(self, rank):
            collective.init_collective_group(world_size=2, rank=rank, group_name="all")
            gradient = np.ones(10, dtype=np.float32)
            collective.allreduce(gradient, group_name="all")  # in place

Every member of a group must make the same calls in the same order. The work is done by torch.distributed's gloo,
directly between the processes; torch is imported when the first group is made.
"""

from __future__ import annotations

from aktis.util.collective._groups import (
    create_collective_group,
    destroy_collective_group,
    get_collective_group_size,
    get_group_handle,
    get_rank,
    gloo_available,
    init_collective_group,
    is_backend_available,
    is_group_initialized,
    nccl_available,
)
from aktis.util.collective._operations import (
    allgather,
    allreduce,
    barrier,
    broadcast,
    recv,
    reduce,
    reducescatter,
    send,
)
from aktis.util.collective.types import Backend, ReduceOp

__all__ = [
    "Backend",
    "ReduceOp",
    "allgather",
    "allreduce",
    "barrier",
    "broadcast",
    "create_collective_group",
    "destroy_collective_group",
    "get_collective_group_size",
    "get_group_handle",
    "get_rank",
    "gloo_available",
    "init_collective_group",
    "is_backend_available",
    "is_group_initialized",
    "nccl_available",
    "recv",
    "reduce",
    "reducescatter",
    "send",
]
