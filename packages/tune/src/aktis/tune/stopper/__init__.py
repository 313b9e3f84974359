"""When trials end, and when the run does."""

from aktis.tune.stopper.criteria import resolve_stop, should_stop_by_criterion
from aktis.tune.stopper.experiment_plateau import ExperimentPlateauStopper
from aktis.tune.stopper.function_stopper import FunctionStopper
from aktis.tune.stopper.maximum_iteration import MaximumIterationStopper
from aktis.tune.stopper.stopper import CombinedStopper, NoopStopper, Stopper
from aktis.tune.stopper.timeout import TimeoutStopper, set_clock
from aktis.tune.stopper.trial_plateau import TrialPlateauStopper

__all__ = [
    "CombinedStopper", "ExperimentPlateauStopper", "FunctionStopper", "MaximumIterationStopper", "NoopStopper", "Stopper",
    "TimeoutStopper", "TrialPlateauStopper", "resolve_stop", "set_clock", "should_stop_by_criterion",
]  # fmt: skip
