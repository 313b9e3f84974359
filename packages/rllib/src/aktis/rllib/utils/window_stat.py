"""Means over the last values, at the place of earlier releases."""

from aktis.rllib.utils.metrics.window_stat import WindowStat

__all__ = ["WindowStat"]
