"""A block of steps of many environments, as policies get it after sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Rollout"]

Array: TypeAlias = Any  # np.ndarray


@dataclass
class Rollout:
    """T steps of N environments, and what is needed to value what follows them.

    Attributes:
        columns: ``[N, T, ...]`` by name, environment-major: obs, actions, rewards, terminateds, truncateds, and what
            the policy gave
            with its actions (vf_preds, action_logp, ...).
        cuts: ``[K]`` flat indices ``n * T + t`` of steps after which a trajectory ends without being terminated, in rising order.
        cut_obs: ``[K, ...]`` what was observed after them (the final observation of the episode, never that of the reset).
        cut_states: Recurrent state after them, each ``[K, ...]``.
    """

    columns: dict[str, Array]
    cuts: Array
    cut_obs: Array
    cut_states: list[Array] = field(default_factory=list)

    @property
    def num_envs(self) -> int:
        """N."""
        return int(self.columns["rewards"].shape[0])

    @property
    def num_steps(self) -> int:
        """T."""
        return int(self.columns["rewards"].shape[1])

    def ends(self) -> Array:
        """``[N, T]`` bool: the last steps of trajectories: terminated, truncated, or the last of the fragment."""
        found: Array = self.columns["terminateds"] | self.columns["truncateds"]
        found[:, -1] = True
        found.reshape(-1)[self.cuts] = True
        return found

    def segments(self) -> Array:
        """``[S, 2]`` flat indices (first, last + 1) of the trajectories, in order."""
        last = np.flatnonzero(self.ends())
        return np.stack([np.concatenate([[0], last[:-1] + 1]), last + 1], axis=1)
