"""Columns ``[N, T, ...]`` that are filled one step of all environments at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["Block"]

Array: TypeAlias = Any  # np.ndarray


class Block:
    """Preallocated columns; a column comes to be when its first value is written, of that value's type.

    Args:
        num_envs: N.
        capacity: For how many steps there is room at first; it grows when need be.
    """

    def __init__(self, num_envs: int, capacity: int) -> None:
        self.num_envs = num_envs
        self.capacity = capacity
        self.steps = 0  # T so far
        self.columns: dict[str, Array] = {}
        self.valid: Array | None = None  # [N, capacity]; None: every step counts

    def grow(self) -> None:
        """Double the room."""
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, np.zeros_like(column)], axis=1)
        if self.valid is not None:
            self.valid = np.concatenate([self.valid, np.ones_like(self.valid)], axis=1)
        self.capacity *= 2

    def write(self, name: str, values: Any) -> None:
        """What all environments have in this column in the current step, ``[N, ...]``."""
        column = self.columns.get(name)
        if column is None:
            values = np.asarray(values)
            column = self.columns[name] = np.zeros((self.num_envs, self.capacity, *values.shape[1:]), values.dtype)
        column[:, self.steps] = values

    def write_objects(self, name: str, values: list[Any]) -> None:
        """The same for Python objects (infos)."""
        column = self.columns.get(name)
        if column is None:
            column = self.columns[name] = np.empty((self.num_envs, self.capacity), object)
        step = self.steps
        for index, value in enumerate(values):
            column[index, step] = value

    def drop(self, env: int, first: int, last: int) -> None:
        """Steps ``first`` to ``last`` of an environment do not count."""
        if self.valid is None:
            self.valid = np.ones((self.num_envs, self.capacity), bool)
        self.valid[env, first : last + 1] = False

    def trimmed(self) -> dict[str, Array]:
        """The columns ``[N, T, ...]``."""
        if self.steps == self.capacity:
            return self.columns
        return {name: column[:, : self.steps] for name, column in self.columns.items()}

    def mask(self) -> Array | None:
        """Which steps count, ``[N, T]``; None: all."""
        return None if self.valid is None else self.valid[:, : self.steps]
