"""From a reader, or from blocks that are there, to a Dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aktis.data._blocks import metadata_of
from aktis.data._blocks.types import Block
from aktis.data._execution.handle import BlockHandle
from aktis.data._plan.logical import InputBlocks, Read
from aktis.data.context import DatasetContext
from aktis.data.dataset import Dataset, MaterializedDataset
from aktis.data.datasource._base import Reader

_RESOURCES = frozenset({"num_cpus", "num_gpus", "memory", "resources"})


def read_dataset(
    reader: Reader,
    label: str,
    *,
    parallelism: int = -1,
    override_num_blocks: int | None = None,
    concurrency: int | None = None,
    remote_args: Mapping[str, Any] | None = None,
    driver_only: bool = False,
    **resources: Any,
) -> Dataset:
    """The lazy dataset of a reader."""
    options = dict(remote_args or {})
    options.update({name: value for name, value in resources.items() if value is not None})
    if driver_only:
        options.setdefault("scheduling_strategy", _here())
    if concurrency is not None and (
        isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1
    ):
        raise ValueError(f"concurrency is a positive integer (tasks at a time), got {concurrency!r}")
    blocks = num_blocks(parallelism, override_num_blocks)
    return Dataset(Read(reader=reader, label=label, parallelism=blocks, remote_args=options, concurrency=concurrency))


def num_blocks(parallelism: int, override_num_blocks: int | None) -> int:
    """The one number that users gave under either name; -1 for automatic."""
    for name, value in (("parallelism", parallelism), ("override_num_blocks", override_num_blocks)):
        allowed = value is None or (isinstance(value, int) and (value > 0 or (value == -1 and name == "parallelism")))
        if isinstance(value, bool) or not allowed:
            raise ValueError(f"{name} is a positive number of blocks (or left out for automatic), got {value!r}")
    if override_num_blocks is not None and parallelism != -1:
        raise ValueError("give either parallelism or override_num_blocks, which mean the same")
    return parallelism if override_num_blocks is None else override_num_blocks


def blocks_dataset(blocks: Iterable[Block], label: str) -> Dataset:
    """A dataset of blocks in this process."""
    handles = tuple(BlockHandle(block, metadata_of(block)) for block in blocks)
    return MaterializedDataset(InputBlocks(handles=handles, label=label))


def capped(block: Block) -> list[Block]:
    """The block, cut into several where it is larger than blocks ought to be. Nothing is copied."""
    from aktis.data._blocks import OutputBuffer

    buffer = OutputBuffer(DatasetContext.get_current().target_max_block_size)
    return [*buffer.add(block), *buffer.flush()]


def _here() -> Any:
    """Tasks stay on the driver's machine: other machines do not see its files."""
    import aktis
    from aktis.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not aktis.is_initialized():
        return "DEFAULT"  # a session that is started for this plan has one machine: this one
    return NodeAffinitySchedulingStrategy(aktis.get_runtime_context().get_node_id(), soft=False)
