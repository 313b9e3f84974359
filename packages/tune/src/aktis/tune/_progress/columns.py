"""Which columns a table of trials has, and what is in its cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from aktis.air.display import format_duration, format_value
from aktis.air.nested import flatten, lookup

__all__ = ["AUTO_KEYS", "Column", "metric_columns", "parameter_columns", "short_labels", "user_metrics"]

# What every result has without the user's doing.
AUTO_KEYS = frozenset({
    "trial_id", "experiment_id", "date", "timestamp", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "config",
    "time_since_restore", "timesteps_since_restore", "iterations_since_restore", "warmup_time", "done", "timesteps_total",
    "episodes_total", "training_iteration", "experiment_tag", "should_checkpoint", "neg_mean_loss", "time_since_start_s",
    "_timestamp", "_time_this_iter_s", "_training_iteration",  # of Train
})  # fmt: skip

_FIRST = ("episode_reward_mean", "episode_len_mean", "num_env_steps_sampled")

_LABELS = {
    "training_iteration": "iter",
    "time_total_s": "time",
    "timesteps_total": "steps",
    "mean_accuracy": "acc",
    "mean_loss": "loss",
    "episode_reward_mean": "reward",
    "episode_len_mean": "length",
    "num_env_steps_sampled": "steps",
}


def current_value(trial: Any, key: str) -> Any:
    """A parameter as it is now: population based training changes configurations, and not what a trial began with."""
    found = lookup(trial.config, key)
    return lookup(trial.evaluated_params, key) if found is None else found


@dataclass(frozen=True)
class Column:
    """A column: ``key`` is a path, ``kind`` "parameter" or "metric"."""

    key: str
    label: str
    kind: str

    def value(self, trial: Any) -> Any:
        """The trial's value, None when it has none."""
        if self.kind == "metric":
            return lookup(trial.last_result, self.key)
        return current_value(trial, self.key)

    def cell(self, trial: Any, longest: int) -> str:
        """The same as text."""
        value = self.value(trial)
        if self.key.startswith("time_") and self.key.endswith("_s") and isinstance(value, Real):
            return format_duration(float(value))
        return format_value(value, longest)


def _given(columns: Sequence[str] | Mapping[str, str], kind: str) -> list[Column]:
    if isinstance(columns, Mapping):
        return [Column(key, label, kind) for key, label in columns.items()]
    return [Column(key, _LABELS.get(key, key), kind) for key in columns]


def parameter_columns(
    given: Sequence[str] | Mapping[str, str] | None, trials: Iterable[Any], longest: int
) -> list[Column]:
    """The columns that were asked for, else one for each variable of the search space."""
    if given:
        return _given(given, "parameter")
    keys: dict[str, None] = {}
    for trial in trials:
        keys.update(dict.fromkeys(map(str, trial.evaluated_params)))
    if not keys:  # a state that does not say what was searched
        for trial in trials:
            keys.update(dict.fromkeys(flatten(trial.config)))
    labels = short_labels(list(keys), longest)
    return [Column(key, label, "parameter") for key, label in labels.items()]


def short_labels(keys: Sequence[str], longest: int) -> dict[str, str]:
    """The last part of a path where that is enough to tell it from the others."""
    last = [key.rsplit("/", 1)[-1] for key in keys]
    return {
        key: format_value(short if last.count(short) == 1 else key, longest)
        for key, short in zip(keys, last, strict=True)
    }


def metric_columns(
    given: Sequence[str] | Mapping[str, str] | None,
    metrics: Sequence[str],
    trials: Sequence[Any],
    infer_limit: int,
    longest: int,
) -> list[Column]:
    """The columns that were asked for, else what is compared, iteration, time, and ``infer_limit`` of the user's metrics."""
    if given:
        return _given(given, "metric")
    keys = list(metrics)
    inferred = [key for key in user_metrics(trials) if key not in keys]
    keys += ["training_iteration", "time_total_s"]
    keys += inferred[: max(0, infer_limit)]
    labels = {**short_labels(keys, longest), **{key: label for key, label in _LABELS.items() if key in keys}}
    return [Column(key, labels[key], "metric") for key in keys]


def user_metrics(trials: Iterable[Any]) -> list[str]:
    """Numbers that the trials reported by themselves, by path, in the order of the first trial that has them; what algorithms of
    reinforcement learning are judged by comes first."""
    keys: dict[str, None] = {}
    for trial in trials:
        for key, value in flatten({k: v for k, v in trial.last_result.items() if k not in AUTO_KEYS}).items():
            if isinstance(value, Real) and not isinstance(value, bool):
                keys[key] = None
    return [*(key for key in _FIRST if key in keys), *(key for key in keys if key not in _FIRST)]
