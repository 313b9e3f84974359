"""Which trial is the best one."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial

__all__ = ["MODES", "SCOPES", "best_of", "check_mode", "check_scope", "is_usable", "score_of"]

MODES = ("min", "max")
SCOPES = ("all", "last", "avg", "last-5-avg", "last-10-avg")


def check_mode(mode: Any, name: str = "mode") -> str:
    """``mode``, when it is one.

    Raises:
        ValueError: It is neither "min" nor "max".
    """
    if mode not in MODES:
        raise ValueError(f"{name} must be 'min' or 'max', got {mode!r}")
    return str(mode)


def check_scope(scope: Any) -> str:
    """``scope``, when it is one.

    Raises:
        ValueError: It is not.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(map(repr, SCOPES))}, got {scope!r}")
    return str(scope)


def is_usable(value: Any, filter_nan_and_inf: bool = True) -> bool:
    """Whether a value can be compared: a number, and a finite one when asked."""
    return isinstance(value, numbers.Real) and not (filter_nan_and_inf and not math.isfinite(value))


def score_of(trial: Trial, metric: str, mode: str, scope: str) -> Any:
    """A trial's score; None when it never reported the metric."""
    analysis = trial.metric_analysis.get(metric)
    return None if analysis is None else analysis.get(mode if scope == "all" else scope)


def best_of(
    trials: Iterable[Trial], metric: str, mode: str, scope: str, filter_nan_and_inf: bool = True
) -> Trial | None:
    """The trial with the best score, the first of equals; None when no trial has one.

    With ``filter_nan_and_inf=False`` a NaN only wins where nothing else is to be had.
    """
    best, best_score = None, None
    sign = 1 if mode == "max" else -1
    for trial in trials:
        score = score_of(trial, metric, mode, scope)
        if not is_usable(score, filter_nan_and_inf):
            continue
        value = -math.inf if math.isnan(score) else sign * float(score)
        if best_score is None or value > best_score:
            best, best_score = trial, value
    return best
