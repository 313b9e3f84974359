"""map_groups: a function of all rows of a group."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aktis.data._blocks import slice_rows, to_batch
from aktis.data._blocks.types import Block
from aktis.data._exchanges._gather import gather
from aktis.data._exchanges._groups import find_groups, group_slices
from aktis.data._exchanges._keys import Key, key_columns
from aktis.data._exchanges.group_rows import without_nan
from aktis.data._transforms._base import TaskContext, Transform
from aktis.data._transforms.user_code import UserFunction, batch_block, calling


class ApplyGroups(Transform):
    """Calls a function once for each group. All rows of a group must be in one block: see ``GroupRows``."""

    def __init__(self, keys: Sequence[Key], function: UserFunction, batch_format: str | None = "default") -> None:
        self.keys = tuple(keys)
        self.function = function
        self.batch_format = batch_format
        self.name = f"MapGroups({function.name})"

    def setup(self) -> None:
        self.function.setup()

    def __call__(self, blocks: Iterator[Block], task: TaskContext) -> Iterator[Block]:
        for block in blocks:
            if block.num_rows:
                yield from self._groups(block, task)

    def _groups(self, block: Block, task: TaskContext) -> Iterator[Block]:
        columns = [without_nan(column) for column in key_columns(block, self.keys, "groupby()")]
        groups, keys = find_groups(columns, block.num_rows)
        order, ranges = group_slices(groups)
        if np.any(order[1:] < order[:-1]):
            block = gather(block, order)
        labels = [key if isinstance(key, list) else key.to_pylist() for key in keys]
        for number, (start, stop) in enumerate(ranges):
            batch = to_batch(slice_rows(block, start, stop), self.batch_format, copy=True)
            yield from self._call(batch, [label[number] for label in labels], task)

    def _call(self, batch: Any, key: list[Any], task: TaskContext) -> Iterator[Block]:
        name = self.function.name

        def where() -> str:
            return "all rows" if not key else f"group {key[0] if len(key) == 1 else tuple(key)!r}"

        with calling(task, self.name, name, batch, where):
            result = self.function.call(batch)
        if not inspect.isgenerator(result):
            yield batch_block(result, task, self.name, name)
            return
        while True:
            with calling(task, self.name, name, batch, where):
                try:
                    part = next(result)
                except StopIteration:
                    return
            yield batch_block(part, task, self.name, name)
