"""Where a replay buffer keeps its rows: columns in rings of arrays, or whole pieces of trajectories in a ring of slots.

Both give each entry a slot (0 .. capacity - 1), which it keeps until it is dropped; the oldest goes first.
Priorities are kept by slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy._columns import map_column
from aktis.rllib.policy.sample_batch import SampleBatch, concat_samples

Slots = np.ndarray[Any, np.dtype[np.int64]]

# Rows that a column begins with; it doubles up to the capacity, so that memory follows what is in the buffer.
_FIRST_ROWS = 1024


class ColumnRing:
    """Single timesteps, each column in one array: adding and taking thousands of rows costs a few calls of NumPy.

    Arguments:
        capacity: greatest number of rows.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0  # rows that are there
        self.next = 0  # the slot of the next row
        self.row_bytes = 0
        self._rows = 0  # rows that the arrays have room for
        self._columns: dict[str, Any] = {}

    def __len__(self) -> int:
        return self.size

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that are there."""
        return self.size * self.row_bytes

    def add(self, batch: SampleBatch) -> tuple[Slots, Slots]:
        """Copies all rows of a batch. Returns their slots and those of rows that made room for them.

        Raises:
            ValueError: the batch has other columns, shapes or kinds of numbers than what is there.
        """
        count = batch.count
        columns = {key: value for key, value in dict.items(batch) if key != SampleBatch.SEQ_LENS}
        if count > self.capacity:  # only the last can stay
            columns = map_column(lambda leaf: leaf[count - self.capacity :], columns)
            count = self.capacity
        self._make_room(columns, min(self.capacity, self.next + count))
        first = min(count, self.capacity - self.next)
        self._write(columns, self.next, slice(0, first))
        if first < count:
            self._write(columns, 0, slice(first, count))
        slots: Slots = (np.arange(count) + self.next) % self.capacity
        evicted = slots[max(0, self.capacity - self.size) :] if self.size + count > self.capacity else slots[:0]
        self.next = (self.next + count) % self.capacity
        self.size = min(self.capacity, self.size + count)
        return slots, evicted

    def put(self, batch: SampleBatch, slots: Slots) -> None:
        """Copies the rows of a batch to slots that are in use."""
        columns = {key: value for key, value in dict.items(batch) if key != SampleBatch.SEQ_LENS}
        self._make_room(columns, self._rows)
        for key, stored in self._columns.items():
            map_column(lambda array, new: array.__setitem__(slots, new), stored, columns[key])

    def gather(self, slots: Slots | Sequence[int]) -> SampleBatch:
        """The rows of slots, as a batch of its own."""
        index = np.asarray(slots)
        return SampleBatch(
            {
                key: stored.take(index, axis=0)
                if isinstance(stored, np.ndarray)
                else map_column(lambda leaf: leaf[index], stored)
                for key, stored in self._columns.items()
            }
        )

    def lengths(self, slots: Slots) -> Slots:
        """Timesteps of each entry: one."""
        return np.ones(len(slots), np.int64)

    def live(self) -> Slots:
        """The slots in use, oldest first."""
        return (np.arange(self.size) + (self.next - self.size)) % self.capacity

    def get_state(self) -> dict[str, Any]:
        """Everything, as arrays (copies, only as long as the rows in use)."""
        return {
            "columns": map_column(lambda array: array[: self.size].copy(), self._columns),
            "size": self.size,
            "next": self.next,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave. Raises ValueError where it does not fit into this capacity."""
        if state["size"] > self.capacity:
            raise ValueError(
                f"A state of {state['size']} rows does not fit into a replay buffer of capacity {self.capacity}: "
                "raise its capacity."
            )
        self.size = self.next = self._rows = 0
        self._columns = {}
        if state["size"]:
            full = state["size"] == self.capacity
            # Not full: rows 0 .. size - 1 in order of time. A full ring of another capacity is unrolled to begin at 0.
            columns = state["columns"]
            if not full and state["next"] != state["size"]:
                columns = map_column(lambda array: np.roll(np.asarray(array), -state["next"], axis=0), columns)
            self.add(SampleBatch(columns))
            self.next = state["next"] if full else self.next

    # ------------------------------------------------------------------------------------------------------------------------------

    def _make_room(self, columns: dict[str, Any], rows: int) -> None:
        """Arrays for `rows` rows, after a check that the columns are those that are there."""
        if not self._columns:
            self._columns = map_column(lambda leaf: np.empty((0, *np.shape(leaf)[1:]), np.asarray(leaf).dtype), columns)
            leaves: list[Any] = []
            map_column(lambda leaf: leaves.append(leaf), self._columns)
            self.row_bytes = sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in leaves)
        if columns.keys() != self._columns.keys():
            raise ValueError(
                f"A batch with the columns {sorted(columns)} cannot be added to a replay buffer with {sorted(self._columns)}: "
                "all batches of a buffer need the same columns."
            )
        if rows > self._rows:
            self._rows = min(self.capacity, max(_FIRST_ROWS, rows, 2 * self._rows))

            def grow(array: NDArray[Any]) -> NDArray[Any]:
                larger = np.empty((self._rows, *array.shape[1:]), array.dtype)
                larger[: len(array)] = array
                return larger

            self._columns = map_column(grow, self._columns)

    def _write(self, columns: dict[str, Any], start: int, part: slice) -> None:
        target = slice(start, start + part.stop - part.start)
        for key, stored in self._columns.items():
            new = columns[key]
            if isinstance(stored, np.ndarray):
                _assign(key, stored, target, new, part)
            else:
                map_column(lambda array, leaf, key=key: _assign(key, array, target, leaf, part), stored, new)


def _assign(key: str, stored: NDArray[Any], target: slice, new: Any, part: slice) -> None:
    new = np.asarray(new)
    if new.shape[1:] != stored.shape[1:] or not (
        new.dtype == stored.dtype or np.can_cast(new.dtype, stored.dtype, "same_kind")
    ):
        raise ValueError(
            f"Column {key!r} has rows of {new.dtype} {new.shape[1:]}, but those in the replay buffer are {stored.dtype} "
            f"{stored.shape[1:]}."
        )
    stored[target] = new[part]


class ItemRing:
    """Episodes, fragments or sequences: batches of different lengths, of which at most `capacity` timesteps are kept.

    Arguments:
        capacity: greatest number of timesteps of all items together.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.timesteps = 0
        self.nbytes = 0
        self.next = 0  # the slot of the next item (no item is empty, so there are never more items than slots)
        self._items: dict[int, Any] = {}  # by slot, oldest first

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Any) -> tuple[Slots, Slots]:
        """Keeps a batch (the caller gives it up). Returns its slot and those of items that were dropped for it.

        Raises:
            ValueError: the item alone is longer than the capacity.
        """
        if item.count > self.capacity:
            raise ValueError(
                f"An item of {item.count} timesteps does not fit into a replay buffer of capacity {self.capacity}: "
                "raise its capacity."
            )
        evicted = []
        while self.timesteps + item.count > self.capacity:
            slot = next(iter(self._items))
            self._drop(slot)
            evicted.append(slot)
        slot = self.next
        self._items[slot] = item
        self.timesteps += item.count
        self.nbytes += item.size_bytes()
        self.next = (slot + 1) % self.capacity
        return np.array([slot]), np.array(evicted, np.int64)

    def put(self, item: Any, slots: Slots) -> None:
        """An item instead of the one of a slot."""
        (slot,) = (int(slot) for slot in slots)
        old = self._items[slot]
        self._items[slot] = item
        self.timesteps += item.count - old.count
        self.nbytes += item.size_bytes() - old.size_bytes()

    def gather(self, slots: Slots | Sequence[int]) -> Any:
        """The items of slots, one after the other."""
        return concat_samples([self._items[int(slot)] for slot in slots])

    def lengths(self, slots: Slots) -> Slots:
        """Rows of each item."""
        return np.array([self._items[int(slot)].count for slot in slots], np.int64)  # type: ignore[no-any-return]

    def live(self) -> Slots:
        """The slots in use, oldest first."""
        return np.fromiter(self._items, np.int64, len(self._items))  # type: ignore[no-any-return]

    def get_state(self) -> dict[str, Any]:
        """Everything: items as dicts of arrays."""
        return {"items": [(slot, _item_state(item)) for slot, item in self._items.items()], "next": self.next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what `get_state` gave."""
        self._items = {slot: _item_of(item) for slot, item in state["items"]}
        self.timesteps = sum(item.count for item in self._items.values())
        self.nbytes = sum(item.size_bytes() for item in self._items.values())
        self.next = state["next"]
        if self.timesteps > self.capacity:
            raise ValueError(
                f"A state of {self.timesteps} timesteps does not fit into a replay buffer of capacity {self.capacity}: "
                "raise its capacity."
            )

    def _drop(self, slot: int) -> None:
        item = self._items.pop(slot)
        self.timesteps -= item.count
        self.nbytes -= item.size_bytes()


def _item_state(item: Any) -> dict[str, Any]:
    """A batch as plain dicts."""
    if isinstance(item, SampleBatch):
        return {"columns": dict(dict.items(item))}
    return {
        "policies": {pid: dict(dict.items(batch)) for pid, batch in item.policy_batches.items()},
        "env_steps": item.env_steps(),
    }


def _item_of(state: dict[str, Any]) -> Any:
    from aktis.rllib.policy.sample_batch import MultiAgentBatch

    if "columns" in state:
        return SampleBatch(state["columns"])
    return MultiAgentBatch(
        {pid: SampleBatch(columns) for pid, columns in state["policies"].items()}, state["env_steps"]
    )
