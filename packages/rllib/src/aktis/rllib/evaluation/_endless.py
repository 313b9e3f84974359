"""Whole episodes are waited for, and none ends: that is no error, but nobody should have to guess."""

from __future__ import annotations

import logging

__all__ = ["EndlessWatch"]

logger = logging.getLogger(__name__)

FIRST_WARNING = 50_000  # steps of each environment; the longest episodes of known benchmarks (Atari) have 27,000


class EndlessWatch:
    """Warns after many steps in which no episode ended, and again after twice as many."""

    def __init__(self) -> None:
        self._steps = 0
        self._warn_at = FIRST_WARNING

    def step(self, ended: bool) -> None:
        """Each environment has done a step; with it, some episode ended or not."""
        if ended:
            self._steps = 0
            self._warn_at = FIRST_WARNING
            return
        self._steps += 1
        if self._steps >= self._warn_at:
            self._warn_at *= 2
            logger.warning(
                "no episode has ended in %d steps of each environment, and batch_mode='complete_episodes' waits for ends (all "
                "steps are kept until then): limit episodes with gymnasium.wrappers.TimeLimit, or set "
                "batch_mode='truncate_episodes'",
                self._steps,
            )
