"""A group of processes over torch.distributed's gloo, independent of torch's default group: there can be several."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aktis.util.collective._store import KeyValues, torch_store
from aktis.util.collective.types import ReduceOp


def import_torch() -> Any:
    """torch.distributed, or an error that says what to install."""
    try:
        import torch.distributed
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "collective groups need torch: pip install aktis-core[collective]", name="torch"
        ) from None
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        raise RuntimeError("this build of torch has no gloo; install one of the usual wheels of torch")
    return torch.distributed


class GlooGroup:
    """This process's membership in a group."""

    def __init__(self, name: str, world_size: int, rank: int, values: KeyValues, timeout: float, hostname: str) -> None:
        self.name, self.world_size, self.rank = name, world_size, rank
        dist = self._dist = import_torch()
        options = dist.ProcessGroupGloo._Options()
        options._timeout = timedelta(seconds=timeout)
        options._devices = [dist.ProcessGroupGloo.create_device(hostname=hostname)]
        self._group: Any = dist.ProcessGroupGloo(torch_store(values, timeout), rank, world_size, options)
        self.barrier()  # everybody is connected: the addresses are of no further use
        values.delete_mine()

    def allreduce(self, array: Any, op: ReduceOp) -> None:
        options = self._dist.AllreduceOptions()
        options.reduceOp = self._op(op)
        self._group.allreduce([_tensor(array)], options).wait()

    def reduce(self, array: Any, root: int, op: ReduceOp) -> None:
        options = self._dist.ReduceOptions()
        options.rootRank, options.reduceOp = self._rank(root), self._op(op)
        self._group.reduce([_tensor(array)], options).wait()

    def broadcast(self, array: Any, root: int) -> None:
        options = self._dist.BroadcastOptions()
        options.rootRank = self._rank(root)
        self._group.broadcast([_tensor(array)], options).wait()

    def allgather(self, outputs: Sequence[Any], array: Any) -> None:
        self._group.allgather([self._one_per_rank(outputs)], [_tensor(array)]).wait()

    def reducescatter(self, output: Any, arrays: Sequence[Any], op: ReduceOp) -> None:
        options = self._dist.ReduceScatterOptions()
        options.reduceOp = self._op(op)
        self._group.reduce_scatter([_tensor(output)], [self._one_per_rank(arrays)], options).wait()

    def send(self, array: Any, to: int) -> None:
        self._group.send([_tensor(array)], self._peer(to), 0).wait()

    def recv(self, array: Any, source: int) -> None:
        self._group.recv([_tensor(array)], self._peer(source), 0).wait()

    def barrier(self) -> None:
        self._group.barrier().wait()

    def close(self) -> None:
        self._group = None

    def _op(self, op: ReduceOp) -> Any:
        if not isinstance(op, ReduceOp):
            raise TypeError(f"op must be a ReduceOp, not {op!r}")
        return getattr(self._dist.ReduceOp, op.name)

    def _rank(self, rank: int) -> int:
        if isinstance(rank, bool) or not isinstance(rank, int) or not 0 <= rank < self.world_size:
            raise ValueError(f"group {self.name!r} has ranks 0 to {self.world_size - 1}; there is no rank {rank!r}")
        return rank

    def _peer(self, rank: int) -> int:
        if self._rank(rank) == self.rank:
            raise ValueError(f"rank {rank} is this process itself; sending to oneself never ends")
        return rank

    def _one_per_rank(self, arrays: Sequence[Any]) -> list[Any]:
        if not isinstance(arrays, (list, tuple)) or len(arrays) != self.world_size:
            raise ValueError(f"group {self.name!r} needs a list of {self.world_size} arrays, one per rank")
        return [_tensor(array) for array in arrays]


def _tensor(array: Any) -> Any:
    """A tensor on the same memory, so that results appear in the caller's array."""
    import torch

    if isinstance(array, torch.Tensor):
        if not array.is_contiguous():
            raise ValueError("collectives work in place and need a contiguous tensor: call .contiguous() first")
        return array.detach()
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise TypeError(f"collectives take NumPy arrays and torch tensors, not {type(array).__name__}")
    if not array.flags.writeable:
        raise ValueError("collectives work in place, and this array is read-only (as what aktis.get returns): copy it")
    if not array.flags.c_contiguous:
        raise ValueError("collectives work in place and need a contiguous array: use np.ascontiguousarray first")
    return torch.from_numpy(array)
