"""The module that trials were in until Ray 2.0."""

from aktis.tune.experiment.trial import Trial

__all__ = ["Trial"]
