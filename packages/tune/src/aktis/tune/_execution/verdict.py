"""What a result means: is it complete, is the trial over, is a checkpoint due? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from aktis.air.nested import flatten
from aktis.tune.stopper import should_stop_by_criterion

if TYPE_CHECKING:
    from aktis.tune._execution.settings import BrainSettings
    from aktis.tune.experiment.trial import Trial

# What the library adds by itself: a result that has nothing else reports nothing, so it lacks no metric.
AUTOMATIC_KEYS = frozenset(
    {
        "config", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname", "iterations_since_restore",
        "neg_mean_loss", "node_ip", "pid", "should_checkpoint", "time_since_restore", "time_this_iter_s", "time_total_s",
        "timestamp", "timesteps_since_restore", "timesteps_total", "training_iteration", "trial_id", "warmup_time",
    }
)  # fmt: skip
DEFAULT_METRIC = "_metric"


class Verdict:
    """Rules of one run."""

    def __init__(self, settings: BrainSettings) -> None:
        self._metrics = settings.metrics
        self._stopper = settings.stopper

    def missing_metric(self, trial: Trial, flat: Mapping[str, Any]) -> ValueError | None:
        """The error of a result without the metric that searcher, scheduler or run go by."""
        for metric in self._metrics:
            if metric in flat or metric == DEFAULT_METRIC:
                continue
            reported = sorted(key for key in flat if key not in AUTOMATIC_KEYS)
            if not reported:
                continue
            near = get_close_matches(metric, reported, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            return ValueError(
                f"trial {trial} reported no {metric!r}, the metric that the run goes by; it reported {reported}.{hint} "
                "Report it every time, or set TUNE_DISABLE_STRICT_METRIC_CHECKING=1"
            )
        return None

    def is_over(self, trial: Trial, metrics: dict[str, Any], flat: Mapping[str, Any]) -> bool:
        """Whether the trial is done, by its own word or by a stopping rule."""
        if metrics.get("done"):
            return True
        if trial.stopping_criterion and should_stop_by_criterion(trial.stopping_criterion, flat):
            return True
        return self._stopper is not None and bool(self._stopper(trial.trial_id, metrics))

    def all_over(self) -> bool:
        """Whether the stopping rule ends the whole run."""
        return self._stopper is not None and bool(self._stopper.stop_all())

    @staticmethod
    def wants_checkpoint(trial: Trial, metrics: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is due after this result."""
        if metrics.get("should_checkpoint"):
            return True
        frequency = trial.checkpoint_config.checkpoint_frequency if trial.checkpoint_config is not None else 0
        return bool(frequency) and metrics.get("training_iteration", 0) % frequency == 0


def flat_result(metrics: dict[str, Any]) -> dict[str, Any]:
    """A result with nested values under ``"a/b"``; the same object when nothing is nested."""
    if not any(type(value) is dict for value in metrics.values()):
        return metrics
    return flatten(metrics)
