"""Which rows of which policies belong to the same steps of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def ma_timeslices(batches: Mapping[str, Mapping[str, Any]], size: int) -> list[tuple[dict[str, np.ndarray], int]]:
    """Rows of every policy, cut into parts of `size` steps of the environment.

    Args:
        batches: Columns by policy; `eps_id` and `t` are needed, `agent_index` orders rows of one step.
        size: Steps in one part.

    Returns:
        For each part: the rows of each policy in it (policies without any are left out) and how many steps it has.

    Raises:
        ValueError: A policy lacks `eps_id` or `t`.
    """
    for policy_id, batch in batches.items():
        missing = [name for name in ("eps_id", "t") if name not in batch]
        if missing:
            raise ValueError(
                f"the batch of policy {policy_id!r} has no column {missing[0]!r}: which rows are one step?"
            )
    # A step is a pair (episode, time); episodes keep the order in which they are met first.
    keys = {
        policy_id: np.stack([np.asarray(batch["eps_id"], np.int64), np.asarray(batch["t"], np.int64)], axis=1)
        for policy_id, batch in batches.items()
    }
    everything = np.concatenate(list(keys.values()))
    episodes, first_met = np.unique(everything[:, 0], return_index=True)
    rank: np.ndarray = np.empty(len(episodes), np.int64)
    rank[np.argsort(first_met, kind="stable")] = np.arange(len(episodes))
    for pairs in keys.values():
        pairs[:, 0] = rank[np.searchsorted(episodes, pairs[:, 0])]
    steps = np.unique(np.concatenate(list(keys.values())), axis=0)
    width = int(steps[:, 1].max()) + 1
    codes = steps[:, 0] * width + steps[:, 1]
    count = -(-len(steps) // size)
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
    for policy_id, pairs in keys.items():
        part_of = np.searchsorted(codes, pairs[:, 0] * width + pairs[:, 1]) // size
        agents = np.asarray(batches[policy_id].get("agent_index", np.zeros(len(pairs))))
        order = np.lexsort((agents, pairs[:, 1], pairs[:, 0]))
        sorted_parts = part_of[order]
        bounds: Any = np.searchsorted(sorted_parts, np.arange(count + 1))
        for index in range(count):
            if bounds[index + 1] > bounds[index]:
                parts[index][policy_id] = order[bounds[index] : bounds[index + 1]]
    return [(part, min(size, len(steps) - index * size)) for index, part in enumerate(parts)]
