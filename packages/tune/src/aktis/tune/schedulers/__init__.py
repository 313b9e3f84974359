"""Schedulers: who runs, who waits, who stops early."""

from __future__ import annotations

from aktis.tune.schedulers._create import create_scheduler
from aktis.tune.schedulers.async_hyperband import ASHAScheduler, AsyncHyperBandScheduler
from aktis.tune.schedulers.hb_bohb import HyperBandForBOHB
from aktis.tune.schedulers.hyperband import HyperBandScheduler
from aktis.tune.schedulers.median_stopping_rule import MedianStoppingRule
from aktis.tune.schedulers.pb2 import PB2
from aktis.tune.schedulers.pbt import PopulationBasedTraining
from aktis.tune.schedulers.pbt_replay import PopulationBasedTrainingReplay
from aktis.tune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
    ResourceChangingScheduler,
)
from aktis.tune.schedulers.trial_scheduler import FIFOScheduler, TrialController, TrialScheduler

__all__ = [
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "create_scheduler",
    "DistributeResources",
    "DistributeResourcesToTopJob",
    "FIFOScheduler",
    "HyperBandForBOHB",
    "HyperBandScheduler",
    "MedianStoppingRule",
    "PB2",
    "PopulationBasedTraining",
    "PopulationBasedTrainingReplay",
    "ResourceChangingScheduler",
    "TrialController",
    "TrialScheduler",
]
