"""Sums and minima of parts of an array of which entries change, in logarithmic time (Schaul et al. 2016, appendix B.2.1)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["MinSegmentTree", "SegmentTree", "SumSegmentTree"]


class SegmentTree:
    """An array; ``reduce(start, end)`` combines the entries of a part.

    Args:
        capacity: Entries: a power of two.
        operation: Combines two; associative.
        neutral_element: What entries are at first: it changes nothing.

    Raises:
        ValueError: the capacity is no power of two.
    """

    def __init__(self, capacity: int, operation: Callable[[Any, Any], Any], neutral_element: Any = None) -> None:
        if capacity < 1 or capacity & (capacity - 1):
            raise ValueError(f"capacity must be a power of two, not {capacity}")
        if neutral_element is None:
            neutral_element = {operator.add: 0.0, min: math.inf, max: -math.inf}[operation]
        self.capacity = capacity
        self.operation = operation
        self.neutral_element = neutral_element
        self._nodes = [neutral_element] * (
            2 * capacity
        )  # node i has the children 2 i and 2 i + 1; entries begin at `capacity`

    def _index(self, idx: int) -> int:
        if not -self.capacity <= idx < self.capacity:
            raise IndexError(f"the tree has {self.capacity} entries: there is no entry {idx}")
        return int(idx) % self.capacity + self.capacity

    def __setitem__(self, idx: int, val: float) -> None:
        node = self._index(idx)
        self._nodes[node] = val
        while node > 1:
            node //= 2
            self._nodes[node] = self.operation(self._nodes[2 * node], self._nodes[2 * node + 1])

    def __getitem__(self, idx: int) -> Any:
        return self._nodes[self._index(idx)]

    def reduce(self, start: int = 0, end: int | None = None) -> Any:
        """Entries from `start` to before `end`, combined; a negative end counts from the end, None is all."""
        end = self.capacity if end is None else end + self.capacity if end < 0 else end
        low, high = start + self.capacity, end + self.capacity
        left = right = self.neutral_element
        while low < high:
            if low % 2:
                left, low = self.operation(left, self._nodes[low]), low + 1
            if high % 2:
                high -= 1
                right = self.operation(self._nodes[high], right)
            low, high = low // 2, high // 2
        return self.operation(left, right)

    def get_state(self) -> dict[str, Any]:
        """All entries."""
        return {"capacity": self.capacity, "values": self._nodes[self.capacity :]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Those that :meth:`get_state` gave."""
        self.__init__(state["capacity"], self.operation, self.neutral_element)  # type: ignore[misc]
        for i, value in enumerate(state["values"]):
            self[i] = value


class SumSegmentTree(SegmentTree):
    """Sums of parts of an array.

    Args:
        capacity: Entries: a power of two.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, operator.add)

    def sum(self, start: int = 0, end: int | None = None) -> Any:
        """Of the entries from `start` to before `end`."""
        return self.reduce(start, end)

    def find_prefixsum_idx(self, prefixsum: float) -> int:
        """The highest entry before which the sum is at most `prefixsum`: drawn evenly from [0, sum), entry i is found in
        proportion to what it is."""
        node = 1
        while node < self.capacity:
            node *= 2
            if self._nodes[node] <= prefixsum:
                prefixsum -= self._nodes[node]
                node += 1
        return node - self.capacity


class MinSegmentTree(SegmentTree):
    """Minima of parts of an array.

    Args:
        capacity: Entries: a power of two.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity, min)

    def min(self, start: int = 0, end: int | None = None) -> Any:
        """Of the entries from `start` to before `end`."""
        return self.reduce(start, end)
