"""Columns that are filled one step of all environments at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["Block"]

Array: TypeAlias = Any  # np.ndarray


class Block:
    """Preallocated columns; a column comes to be when its first value is written, of that value's type.

    They are filled as ``[T, N, ...]``, so that each step is one piece of memory, and handed out as ``[N, T, ...]``.

    Args:
        num_envs: N.
        capacity: For how many steps there is room at first; it grows when need be.
    """

    def __init__(self, num_envs: int, capacity: int) -> None:
        self.num_envs = num_envs
        self.capacity = capacity
        self.steps = 0  # T so far
        self._columns: dict[str, Array] = {}
        self._valid: Array | None = None  # [capacity, N]; None: every step counts

    def grow(self) -> None:
        """Double the room."""
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate([column, np.zeros_like(column)])
        if self._valid is not None:
            self._valid = np.concatenate([self._valid, np.ones_like(self._valid)])
        self.capacity *= 2

    def write(self, name: str, values: Any) -> None:
        """What all environments have in this column in the current step, ``[N, ...]``."""
        column = self._columns.get(name)
        if column is None:
            values = np.asarray(values)
            column = self._columns[name] = np.zeros((self.capacity, *values.shape), values.dtype)
        column[self.steps] = values

    def write_objects(self, name: str, values: list[Any]) -> None:
        """The same for Python objects (infos)."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = np.empty((self.capacity, self.num_envs), object)
        step = self.steps
        for index, value in enumerate(values):
            column[step, index] = value

    def current(self, name: str) -> Array:
        """What was written to a column in the current step."""
        return self._columns[name][self.steps]

    def drop(self, env: int, first: int) -> None:
        """The steps of an environment from ``first`` to the current one do not count; what follows has nothing to do with them."""
        if self._valid is None:
            self._valid = np.ones((self.capacity, self.num_envs), bool)
        self._valid[first : self.steps + 1, env] = False
        self._columns["terminateds"][self.steps, env] = True

    def columns(self) -> dict[str, Array]:
        """The columns ``[N, T, ...]``."""
        return {name: _by_env(column[: self.steps]) for name, column in self._columns.items()}

    def mask(self) -> Array | None:
        """Which steps count, ``[N, T]``; None: all."""
        return None if self._valid is None else _by_env(self._valid[: self.steps])


def _by_env(column: Array) -> Array:
    """``[T, N, ...]`` as ``[N, T, ...]``."""
    return np.ascontiguousarray(np.swapaxes(column, 0, 1))
