"""Schedulers: who runs, who waits, who stops early."""

from __future__ import annotations

from aktis.tune.schedulers.trial_scheduler import FIFOScheduler, TrialController, TrialScheduler

__all__ = ["FIFOScheduler", "TrialController", "TrialScheduler"]
