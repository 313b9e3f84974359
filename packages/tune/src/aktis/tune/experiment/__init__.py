"""Trials, and what an experiment is made of."""

from aktis.tune.experiment._checks import can_save
from aktis.tune.experiment.experiment import Experiment
from aktis.tune.experiment.trial import Trial

__all__ = ["Experiment", "Trial", "can_save"]
