"""Rows: Python objects, one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data._blocks.schemas import kind_of
from aktis.data._blocks.types import ITEM, TENSOR, Block


def from_rows(rows: Sequence[Any]) -> Block:
    """A block of these rows: mappings become columns, arrays a tensor column, everything else simple items."""
    if rows and isinstance(rows[0], Mapping):
        return pa.table({name: pa.array([row[name] for row in rows]) for name in rows[0]})
    if rows and isinstance(rows[0], np.ndarray):
        return pa.table({TENSOR: pa.array([row.tolist() for row in rows])})
    return pa.table({ITEM: pa.array(rows)})


def to_rows(block: Block) -> list[Any]:
    """The rows as Python objects: dicts, or for simple blocks the items themselves."""
    kind = kind_of(block)
    if kind != "table":
        return block.column(0).to_pylist()
    return block.to_pylist()
