"""Several batches, learned from in turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["MinibatchBuffer"]

T = TypeVar("T")


class MinibatchBuffer(Generic[T]):
    """Takes batches from somewhere, and gives each of them several times.

    Args:
        take: Gives a new batch; may wait for it.
        size: How many batches are kept, and given in turns.
        num_passes: How often each is given.
    """

    def __init__(self, take: Callable[[], T], size: int = 1, num_passes: int = 1) -> None:
        if size < 1 or num_passes < 1:
            raise ValueError(f"size and num_passes must be at least 1, not {size} and {num_passes}")
        self._take = take
        self._num_passes = num_passes
        self._slots: list[tuple[T, int] | None] = [None] * size  # a batch, and how often it may still be given
        self._at = 0

    def get(self) -> tuple[T, bool]:
        """The next batch, and whether this is its last time."""
        slot = self._slots[self._at]
        batch, left = (self._take(), self._num_passes) if slot is None else slot
        self._slots[self._at] = (batch, left - 1) if left > 1 else None
        self._at = (self._at + 1) % len(self._slots)
        return batch, left == 1
