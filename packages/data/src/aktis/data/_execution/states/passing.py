"""Operators that only pass blocks on: they launch no tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from aktis.data._execution.states._base import OperatorState

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data._plan.physical import LimitOp, SourceOp


class SourceState(OperatorState):
    """Blocks that are there already: handed on when the operator below has room for more."""

    def __init__(self, index: int, op: SourceOp) -> None:
        super().__init__(index, op.name, 0)
        self._handles = deque(op.handles)
        self.blocks_total = len(op.handles)
        self.wanted: Callable[[], bool] = lambda: True  # set by the brain: whether the receiver has little to do

    def settle(self) -> None:
        while self._handles and not self.finished and self.wanted():
            handle = self._handles.popleft()
            self.blocks_done += 1
            self.rows_out += handle.num_rows
            self.emit(handle)
        if not self._handles:
            self.finished = True

    def abandon(self) -> None:
        self._handles.clear()
        super().abandon()


class LimitState(OperatorState):
    """Passes blocks on until there are enough rows."""

    def __init__(self, index: int, op: LimitOp) -> None:
        super().__init__(index, op.name, 1)
        self._left = op.limit
        self._any = False

    def receive(self, port: int, handle: BlockHandle) -> None:
        if self._left <= 0 and self._any:
            return
        part = handle.slice(0, min(self._left, handle.num_rows))
        self._left -= part.num_rows
        self._any = True
        self.rows_out += part.num_rows
        self.blocks_done += 1
        self.emit(part)

    def satisfied(self) -> bool:
        """Whether everything above may stop. One block is always waited for, so that the schema is known."""
        return self._left <= 0 and self._any

    def settle(self) -> None:
        self.finished = self.finished or self.satisfied() or self.ended_ports[0]


class UnionState(OperatorState):
    """The blocks of the first input, then those of the second, ..."""

    def __init__(self, index: int, name: str, ports: int, *, ordered: bool) -> None:
        super().__init__(index, name, ports)
        self._ordered = ordered
        self.active = 0
        self._waiting: list[deque[BlockHandle]] = [deque() for _ in range(ports)]

    def receive(self, port: int, handle: BlockHandle) -> None:
        if port == self.active or not self._ordered:
            self._give(handle)
        else:
            self.held += handle.size_bytes
            self._waiting[port].append(handle)

    def _give(self, handle: BlockHandle) -> None:
        self.rows_out += handle.num_rows
        self.blocks_done += 1
        self.emit(handle)

    def settle(self) -> None:
        while self.active < len(self.ended_ports) and self.ended_ports[self.active]:
            self.active += 1
            if self.active < len(self._waiting):
                while self._waiting[self.active]:
                    handle = self._waiting[self.active].popleft()
                    self.held -= handle.size_bytes
                    self._give(handle)
        self.finished = self.finished or all(self.ended_ports)

    def abandon(self) -> None:
        for queue in self._waiting:
            queue.clear()
        super().abandon()
