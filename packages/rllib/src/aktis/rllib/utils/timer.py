"""Timers, at the place of earlier releases."""

from aktis.rllib.utils.metrics.timers import Timer as TimerStat

__all__ = ["TimerStat"]
