"""Rewards divided by the running deviation of the discounted return, so that values have a size which networks learn easily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RewardScale"]


class RewardScale:
    """Statistics of returns so far (Engstrom et al. 2020, "Implementation matters", section 3; continuous detail c7 and c8).

    Args:
        gamma: The discount of a step.
        clip: Scaled rewards are at most so large; None: no limit.
    """

    def __init__(self, gamma: float, clip: float | None) -> None:
        self._gamma = gamma
        self._clip = clip
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._open: dict[int, float] = {}  # episode -> the return so far, of episodes that go on

    @property
    def deviation(self) -> float:
        """Of the returns; 1 before the first."""
        return float(np.sqrt(self._squares / self._count + 1e-8)) if self._count else 1.0

    def scale(
        self, rewards: NDArray[Any], ends: NDArray[Any], over: NDArray[Any], episodes: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Take note of rewards, and give them scaled.

        Args:
            rewards: [R] of trajectories one after the other.
            ends: [R] bool: a trajectory ends with this step.
            over: [R] bool: its episode ends, too.
            episodes: [R] the number of the episode.
        """
        returns, so_far, begins = [], 0.0, True
        rows = zip(rewards.tolist(), ends.tolist(), over.tolist(), episodes.tolist(), strict=True)
        for reward, end, ended, episode in rows:
            if begins:
                so_far = self._open.pop(episode, 0.0)
            so_far = so_far * self._gamma + reward
            returns.append(so_far)
            begins = end
            if end and not ended:
                self._open[episode] = so_far
        self._add(np.array(returns))
        scaled = np.asarray(rewards, np.float64) / self.deviation
        if self._clip is not None:
            scaled = np.clip(scaled, -self._clip, self._clip)
        return scaled.astype(np.float32)

    def _add(self, x: NDArray[np.float64]) -> None:
        """Welford's update with a batch (Chan et al. 1979)."""
        count = self._count + len(x)
        delta = float(x.mean()) - self._mean
        self._squares += float(((x - x.mean()) ** 2).sum()) + delta**2 * self._count * len(x) / count
        self._mean += delta * len(x) / count
        self._count = count

    def get_state(self) -> dict[str, Any]:
        """The statistics."""
        return {"count": self._count, "mean": self._mean, "squares": self._squares}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over statistics."""
        self._count, self._mean, self._squares = int(state["count"]), float(state["mean"]), float(state["squares"])
        self._open.clear()
