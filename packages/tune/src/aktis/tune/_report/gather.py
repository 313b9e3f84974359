"""What a report is about: trials, objectives, parameters and results, in the form that its charts need."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from aktis.air.nested import flatten, lookup
from aktis.tune._progress.columns import user_metrics
from aktis.tune.analysis._best import check_mode, check_scope, is_usable, score_of
from aktis.tune.analysis._results import read_results
from aktis.tune.analysis.experiment_analysis import ExperimentAnalysis
from aktis.tune.experiment.trial import Trial

__all__ = ["Gathered", "Objective", "gather", "guess_mode"]

_SMALLER_IS_BETTER = (
    "loss",
    "error",
    "err",
    "cost",
    "regret",
    "mse",
    "mae",
    "rmse",
    "nll",
    "perplexity",
    "latency",
    "logloss",
    "time",
)


@dataclass
class Objective:
    """A metric, and which way is better. ``guessed``: nobody said so."""

    metric: str
    mode: str
    guessed: bool = False

    @property
    def sign(self) -> int:
        return 1 if self.mode == "max" else -1


@dataclass
class Gathered:
    """All that the page shows."""

    analysis: ExperimentAnalysis
    trials: list[Trial]
    objectives: list[Objective]
    scope: str
    parameters: dict[str, list[Any]] = field(default_factory=dict)  # one value per trial, by path
    scores: dict[str, list[float | None]] = field(default_factory=dict)  # one per trial, by metric; None: no usable one
    metrics: list[str] = field(default_factory=list)  # what the trials report, objectives first

    @property
    def main(self) -> Objective | None:
        """The objective that says which trial is best."""
        return self.objectives[0] if self.objectives else None

    @property
    def best(self) -> int | None:
        """The index of the best trial."""
        if self.main is None:
            return None
        known = [(self.main.sign * s, -i) for i, s in enumerate(self.scores[self.main.metric]) if s is not None]
        return -max(known)[1] if known else None

    def shades(self) -> list[float | None]:
        """From 0 (worst) to 1 (best) by rank, so that a few bad trials do not make all others look the same."""
        if self.main is None:
            return [None] * len(self.trials)
        scores = self.scores[self.main.metric]
        known = sorted((self.main.sign * score, index) for index, score in enumerate(scores) if score is not None)
        shades: list[float | None] = [0.0] * len(scores)
        for rank, (_, index) in enumerate(known):
            shades[index] = rank / max(1, len(known) - 1)
        return shades

    def curves(self, metrics: Sequence[str]) -> dict[str, list[tuple[list[float], list[float]]]]:
        """For each metric the iterations and values of each trial: reads all results once."""
        curves: dict[str, list[tuple[list[float], list[float]]]] = {metric: [] for metric in metrics}
        for trial in self.trials:
            results = read_results(trial.logdir) if trial.logdir else []
            if not results and trial.last_result:
                results = [trial.last_result]
            for metric in metrics:
                xs, ys = [], []
                for number, result in enumerate(results, 1):
                    value = lookup(result, metric)
                    if isinstance(value, Real) and not isinstance(value, bool):
                        xs.append(float(result.get("training_iteration") or number))
                        ys.append(float(value))
                curves[metric].append((xs, ys))
        return curves


def guess_mode(metric: str) -> str:
    """Whether a metric of that name is better small."""
    words = metric.lower().replace("/", "_").replace("-", "_").split("_")
    small = any(word in _SMALLER_IS_BETTER for word in words)
    return "max" if metric.startswith("neg_") or not small else "min"


def gather(
    analysis: ExperimentAnalysis, metrics: Sequence[str] = (), modes: Sequence[str] = (), scope: str = "last"
) -> Gathered:
    """Collect what the page shows.

    Args:
        analysis: The experiment.
        metrics: The objectives; when left out those of the run, else the first metric that the trials report.
        modes: "min" or "max" for each; guessed from the name when left out.
        scope: See ``ExperimentAnalysis.get_best_trial``.

    Raises:
        ValueError: More modes than metrics, an unknown mode or scope, or a metric that no trial reported.
    """
    trials = analysis.trials
    reported = user_metrics(trials)
    objectives = _objectives(analysis, metrics, modes, reported)
    found = Gathered(analysis, trials, objectives, check_scope(scope))
    for objective in objectives:
        scores: list[float | None] = []
        for trial in trials:
            score = score_of(trial, objective.metric, objective.mode, scope)
            if score is None and scope == "last":
                score = lookup(trial.last_result, objective.metric)
            scores.append(float(score) if is_usable(score) else None)
        found.scores[objective.metric] = scores
    names = [objective.metric for objective in objectives]
    found.metrics = names + [metric for metric in reported if metric not in names]
    found.parameters = _parameters(trials)
    return found


def _objectives(
    analysis: ExperimentAnalysis, metrics: Sequence[str], modes: Sequence[str], reported: Sequence[str]
) -> list[Objective]:
    known = set(reported) | {key for trial in analysis.trials for key in trial.metric_analysis}
    if not metrics:
        data = _runner_data(analysis)
        metrics = [metric for metric in _listed(data.get("_metric")) if metric in known]
        modes = modes or _listed(data.get("_mode"))[: len(metrics)]
        metrics = metrics or reported[:1]
    if len(modes) > len(metrics):
        raise ValueError(f"there are {len(modes)} modes for {len(metrics)} metrics: give each metric one")
    for metric in metrics:
        if metric not in known:
            names = ", ".join(sorted(known)[:20]) or "none"
            raise ValueError(f"no trial reported the metric {metric!r}; reported were: {names}")
    objectives = []
    for index, metric in enumerate(metrics):
        given = modes[index] if index < len(modes) else None
        objectives.append(Objective(metric, check_mode(given) if given else guess_mode(metric), given is None))
    return objectives


def _runner_data(analysis: ExperimentAnalysis) -> dict[str, Any]:
    try:
        return analysis.runner_data()
    except (OSError, ValueError):  # the trials were given, and there is no state
        return {}


def _listed(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def _parameters(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Values of what was searched; where the state does not say what that was, of all that differs between trials."""
    keys: dict[str, None] = {}
    for trial in trials:
        keys.update(dict.fromkeys(map(str, trial.evaluated_params)))
    configs = [flatten(trial.config) for trial in trials]
    if not keys:
        for config in configs:
            keys.update(dict.fromkeys(config))
    columns: dict[str, list[Any]] = {}
    for key in keys:
        values = [
            _plain(config.get(key, lookup(trial.evaluated_params, key)))
            for trial, config in zip(trials, configs, strict=True)
        ]
        if len(Counter(map(repr, values))) > 1 or (len(trials) == 1 and trials[0].evaluated_params):
            columns[key] = values
    return columns


def _plain(value: Any) -> Any:
    """Numbers and None as they are; others as text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Real):
        number = float(value)
        return (int(value) if isinstance(value, int) else number) if math.isfinite(number) else None
    return str(value)
