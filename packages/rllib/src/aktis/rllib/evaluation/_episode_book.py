"""Returns, lengths and numbers of the running episodes of N environments: arrays, not objects."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

__all__ = ["EpisodeBook"]

Array: TypeAlias = Any  # np.ndarray


class EpisodeBook:
    """Keeps account of episodes.

    Args:
        num_envs: N.
        worker_index: Of the worker: its numbers are given by no other.
        generation: How often that worker was made anew: nor by the one that it replaces.
    """

    def __init__(self, num_envs: int, worker_index: int = 0, generation: int = 0) -> None:
        self.returns: Array = np.zeros(num_envs, np.float64)
        self.lengths: Array = np.zeros(num_envs, np.int64)
        first = (worker_index << 44) + (generation << 36)
        self._next_unroll = first
        self.ids: Array = np.arange(first, first + num_envs, dtype=np.int64)
        self._next_episode = first + num_envs
        self._begin = self.lengths.copy()
        self._ids_in_block: list[list[int]] = []

    def begin_block(self) -> None:
        """A block of steps begins."""
        self._begin = self.lengths.copy()
        self._ids_in_block = [[int(number)] for number in self.ids]

    def add(self, rewards: Array) -> None:
        """One step of every environment."""
        self.returns += rewards
        self.lengths += 1

    def restart(self, env: int, *, after_skip: bool = False) -> int:
        """An episode begins; gives its number. ``after_skip``: the step before it was none of any episode."""
        if after_skip:
            self._ids_in_block[env].append(self._new_id())
        self.returns[env] = 0.0
        self.lengths[env] = 0
        number = self._new_id()
        self.ids[env] = number
        if self._ids_in_block:
            self._ids_in_block[env].append(number)
        return number

    def columns(self, ended: Array) -> tuple[Array, Array]:
        """The columns ``t`` and ``eps_id`` of the block, given the last steps of episodes ``[N, T]``."""
        t, number = step_counts(ended, self._begin)
        ids: Array = np.empty(ended.shape, np.int64)
        for env, numbers in enumerate(self._ids_in_block):
            if len(numbers) == 1:
                ids[env] = numbers[0]
            else:
                ids[env] = np.asarray(numbers)[np.minimum(number[env], len(numbers) - 1)]
        return t, ids

    def unroll_ids(self, ends: Array) -> Array:
        """A number for each trajectory of a batch, given the last steps of trajectories ``[N, T]``."""
        flat = ends.reshape(-1)
        number: Array = np.zeros(flat.shape, np.int64)
        np.cumsum(flat[:-1], out=number[1:])
        ids = number + self._next_unroll
        self._next_unroll += int(number[-1]) + 1
        return ids.reshape(ends.shape)

    def _new_id(self) -> int:
        number = self._next_episode
        self._next_episode += 1
        return number


def step_counts(ended: Array, first: Array) -> tuple[Array, Array]:
    """Where each step is in its episode, and which episode of the block it is of.

    Args:
        ended: ``[N, T]`` bool: the last steps of episodes.
        first: ``[N]``: how many steps the episodes had before the block.

    Returns:
        ``[N, T]`` the number of the step within its episode, and ``[N, T]`` how many episodes of that environment ended before it.
    """
    after_end: Array = np.zeros(ended.shape, bool)
    after_end[:, 1:] = ended[:, :-1]
    before = np.cumsum(after_end, axis=1)
    index = np.arange(ended.shape[1])
    # The step at which the running episode began: the one after the latest end.
    began = np.maximum.accumulate(np.where(after_end, index, 0), axis=1)
    return np.where(before == 0, first[:, None] + index, index - began), before
