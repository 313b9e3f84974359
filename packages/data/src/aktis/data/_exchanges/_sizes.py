"""How many partitions an exchange has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aktis.data._blocks.types import BlockMetadata
from aktis.data._cpus import cpu_count

MIB = 1 << 20

SMALL_BYTES = 64 * MIB
"""Inputs up to this size are combined in a single task: two trips through the store cost more than one core saves."""

MOST_PARTITIONS = 2_000
"""Pieces grow with the square of this number."""


def total_bytes(blocks: Iterable[BlockMetadata]) -> int:
    return sum(block.size_bytes or 0 for block in blocks)


def total_rows(blocks: Iterable[BlockMetadata]) -> int:
    return sum(block.num_rows or 0 for block in blocks)


def partitions_for(size: int, target_bytes: int, cpus: int | None = None) -> int:
    """Partitions of about ``target_bytes``, and at least one for each CPU where that leaves them a few MiB.

    The count is a multiple of the CPUs while it is small, so that the last round of tasks leaves no core idle.
    """
    cpus = cpu_count() if cpus is None else cpus
    count = max(-(-size // target_bytes), min(cpus, size // (4 * MIB)), 1)
    if cpus < count < 8 * cpus:
        count = -(-count // cpus) * cpus
    return min(count, MOST_PARTITIONS)


def known_sizes(inputs: Sequence[Sequence[BlockMetadata]]) -> int:
    """Bytes of all blocks of all inputs."""
    return sum(total_bytes(blocks) for blocks in inputs)
