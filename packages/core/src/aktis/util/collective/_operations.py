"""The operations. Arrays are changed in place; every member of the group calls the same, in the same order."""

from __future__ import annotations

from typing import Any

from aktis.util.collective._groups import get_group_handle
from aktis.util.collective.types import ReduceOp


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Combine the arrays of all members; everybody gets the result."""
    get_group_handle(group_name).allreduce(tensor, op)


def reduce(tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Combine the arrays of all members; ``dst_rank`` gets the result."""
    get_group_handle(group_name).reduce(tensor, dst_rank, op)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Everybody gets the array of ``src_rank``."""
    get_group_handle(group_name).broadcast(tensor, src_rank)


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Everybody gets the arrays of all members, in order of rank, in ``tensor_list``."""
    get_group_handle(group_name).allgather(tensor_list, tensor)


def reducescatter(
    tensor: Any, tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Rank i gets, in ``tensor``, the combination of everybody's ``tensor_list[i]``."""
    get_group_handle(group_name).reducescatter(tensor, tensor_list, op)


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send an array to ``dst_rank``, which must call :func:`recv`."""
    get_group_handle(group_name).send(tensor, dst_rank)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Receive an array of the same shape and type from ``src_rank``."""
    get_group_handle(group_name).recv(tensor, src_rank)


def barrier(group_name: str = "default") -> None:
    """Wait until all members are here."""
    get_group_handle(group_name).barrier()
