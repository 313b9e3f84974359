"""``TrialRunner``, which schedulers of one's own name in annotations: what their hooks are given."""

from aktis.tune.schedulers.trial_scheduler import TrialController as TrialRunner

__all__ = ["TrialRunner"]
