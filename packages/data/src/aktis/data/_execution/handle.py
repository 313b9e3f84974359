"""A block that is somewhere: in the object store, or right here in the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import pyarrow as pa

import aktis
from aktis.data._blocks.types import Block, BlockMetadata


@dataclass(frozen=True, slots=True)
class BlockHandle:
    """``where`` is a table (plans that ran in the driver) or a reference to one."""

    where: Union[Block, aktis.ObjectRef[Block]]
    metadata: BlockMetadata

    def load(self) -> Block:
        """The block. Raises what made the reference fail."""
        if isinstance(self.where, pa.Table):
            return self.where
        return aktis.get(self.where)

    def ref(self) -> aktis.ObjectRef[Block]:
        """A reference to the block, which is put into the object store where it is not there yet."""
        if isinstance(self.where, pa.Table):
            from aktis.data._blocks import compact

            return aktis.put(compact(self.where))
        return self.where

    @property
    def num_rows(self) -> int:
        return self.metadata.num_rows or 0

    @property
    def size_bytes(self) -> int:
        return self.metadata.size_bytes or 0
