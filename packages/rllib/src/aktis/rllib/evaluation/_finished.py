"""Whole episodes out of blocks of steps, for batches that hold complete episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Finished", "split_episodes"]

Array: TypeAlias = Any  # np.ndarray


@dataclass
class Finished:
    """An episode that ended.

    Attributes:
        columns: ``[L, ...]`` by name.
        cut: If it was truncated: what was observed at its end, and the recurrent states there. None: it was terminated.
    """

    columns: dict[str, Array]
    cut: Any = None

    @property
    def length(self) -> int:
        """L."""
        return len(self.columns["rewards"])


def split_episodes(
    columns: dict[str, Array],
    mask: Array | None,
    cuts: dict[tuple[int, int], Any],
    partial: list[list[dict[str, Array]]],
) -> list[Finished]:
    """The episodes that end in a block, in the order in which they ended.

    Args:
        columns: Of the block, ``[N, T, ...]``.
        mask: Which steps count, ``[N, T]``; None: all.
        cuts: By (environment, step): what was observed after truncated steps.
        partial: For each environment, the beginning of its running episode, from earlier blocks; changed to what is so
            after this one.
    """
    ended = columns["terminateds"] | columns["truncateds"]
    found: list[tuple[int, int, Finished]] = []
    for env in range(len(ended)):
        first = 0
        for last in [*np.flatnonzero(ended[env]).tolist(), None]:
            end = ended.shape[1] if last is None else last + 1
            if end > first and (mask is None or mask[env, first]):
                # Copies: a slice would keep the whole block in memory.
                partial[env].append({name: column[env, first:end].copy() for name, column in columns.items()})
            if last is not None and (mask is None or mask[env, last]) and partial[env]:
                pieces, partial[env] = partial[env], []
                whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
                found.append((last, env, Finished(whole, cuts.get((env, last)))))
            first = end
    return [episode for _, _, episode in sorted(found, key=lambda entry: entry[:2])]
