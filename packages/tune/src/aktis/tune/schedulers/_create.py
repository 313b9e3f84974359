"""Schedulers by name."""

from __future__ import annotations

import inspect
from typing import Any

from aktis.tune.schedulers.async_hyperband import AsyncHyperBandScheduler
from aktis.tune.schedulers.hb_bohb import HyperBandForBOHB
from aktis.tune.schedulers.hyperband import HyperBandScheduler
from aktis.tune.schedulers.median_stopping_rule import MedianStoppingRule
from aktis.tune.schedulers.pb2 import PB2
from aktis.tune.schedulers.pbt import PopulationBasedTraining
from aktis.tune.schedulers.pbt_replay import PopulationBasedTrainingReplay
from aktis.tune.schedulers.resource_changing_scheduler import ResourceChangingScheduler
from aktis.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

__all__ = ["SCHEDULERS", "create_scheduler"]

SCHEDULERS: dict[str, type[TrialScheduler]] = {
    "fifo": FIFOScheduler,
    "async_hyperband": AsyncHyperBandScheduler,
    "asynchyperband": AsyncHyperBandScheduler,
    "asha": AsyncHyperBandScheduler,
    "median_stopping_rule": MedianStoppingRule,
    "medianstopping": MedianStoppingRule,
    "hyperband": HyperBandScheduler,
    "hb_bohb": HyperBandForBOHB,
    "pbt": PopulationBasedTraining,
    "pbt_replay": PopulationBasedTrainingReplay,
    "pb2": PB2,
    "resource_changing": ResourceChangingScheduler,
}


def create_scheduler(scheduler: str, **kwargs: Any) -> TrialScheduler:
    """The scheduler of that name.

    Args:
        scheduler: fifo, async_hyperband (also asynchyperband, asha), median_stopping_rule (also medianstopping), hyperband,
            hb_bohb, pbt, pbt_replay, pb2 or resource_changing.
        kwargs: Its arguments. Those that only other schedulers have are left out, so that one set of arguments can serve for
            trying several.

    Raises:
        ValueError: an unknown name.
        TypeError: an argument that no scheduler has.
    """
    name = scheduler.lower()
    if name not in SCHEDULERS:
        raise ValueError(f"there is no scheduler {scheduler!r}: the names are {', '.join(SCHEDULERS)}")
    unknown = sorted(set(kwargs).difference(*map(_arguments, SCHEDULERS.values())))
    if unknown:
        raise TypeError(
            f"no scheduler has the argument {unknown[0]!r}; {name!r} has {sorted(_arguments(SCHEDULERS[name]))}"
        )
    taken = _arguments(SCHEDULERS[name])
    return SCHEDULERS[name](**{key: value for key, value in kwargs.items() if key in taken})


def _arguments(kind: type[TrialScheduler]) -> set[str]:
    parameters = inspect.signature(kind).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL} - {
        "args",
        "kwargs",
    }
