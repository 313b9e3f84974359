"""The ``stop`` argument of a run, in all of its forms."""

from __future__ import annotations

import datetime
import numbers
import time
from collections.abc import Callable, Mapping
from typing import Any

from aktis.air.nested import lookup
from aktis.tune._lookup import MISSING, what_there_is
from aktis.tune.error import TuneError
from aktis.tune.stopper.function_stopper import FunctionStopper
from aktis.tune.stopper.stopper import CombinedStopper, NoopStopper, Stopper
from aktis.tune.stopper.timeout import TimeoutStopper

__all__ = ["resolve_stop", "should_stop_by_criterion"]


def resolve_stop(
    stop: Any,
    time_budget_s: float | datetime.timedelta | None = None,
    clock: Callable[[], float] = time.time,
) -> tuple[dict[str, Any], Stopper]:
    """What a user gave as ``stop``, as a criterion and a stopper (one of them usually does nothing).

    Args:
        stop: None; ``{"metric": value}``, where reaching any of the values ends a trial; a function of ``(trial_id, result)``;
            a :class:`Stopper`, or a list of them.
        time_budget_s: After which time the run ends, beside all of that.
        clock: What the time budget goes by.
    """
    criterion: dict[str, Any] = {}
    stoppers: list[Stopper] = []
    if isinstance(stop, Mapping):
        criterion = _checked_criterion(stop)
    elif isinstance(stop, (list, tuple)):
        wrong = [each for each in stop if not isinstance(each, Stopper)]
        if wrong:
            raise ValueError(
                f"a list given as stop must hold stoppers only, got {wrong[0]!r} ({type(wrong[0]).__name__}): "
                "wrap functions in FunctionStopper"
            )
        stoppers = list(stop)
    elif isinstance(stop, Stopper):
        stoppers = [stop]
    elif stop is not None:
        if not FunctionStopper.is_valid_function(stop):
            raise ValueError(
                "stop must be a dict of metrics and values, a function of (trial_id, result), a Stopper or a list of stoppers, "
                f"got {stop!r} ({type(stop).__name__})"
            )
        stoppers = [FunctionStopper(stop)]
    if time_budget_s is not None:
        stoppers.append(TimeoutStopper(time_budget_s, clock))
    if not stoppers:
        return criterion, NoopStopper()
    return criterion, stoppers[0] if len(stoppers) == 1 else CombinedStopper(*stoppers)


def _checked_criterion(stop: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in stop.items():
        if not isinstance(key, str):
            raise ValueError(f"a metric given in stop must be a name, got {key!r}")
        if isinstance(value, Mapping):
            inner = next(iter(value), "metric")
            raise ValueError(
                f"nested metrics in stop are written as paths: {{'{key}/{inner}': ...}}, got {{{key!r}: {value!r}}}"
            )
        if not isinstance(value, numbers.Real) and not hasattr(value, "__ge__"):
            raise ValueError(f"stop says {key!r} ends at {value!r}, which is nothing that a metric can reach")
        if isinstance(value, str) or value is None or callable(value):
            raise ValueError(f"stop says {key!r} ends at {value!r}: give the number at which a trial ends")
    return dict(stop)


def should_stop_by_criterion(criterion: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Whether a result reaches any of the values, that is: is equal to it or above, also for what is minimised.

    TuneError when a metric is not in the result (``"a/b"`` is nested), and when it cannot be compared.
    """
    for key, limit in criterion.items():
        value = lookup(result, key, MISSING)
        if value is MISSING:
            raise TuneError(f"stop names the metric {key!r}, which is not in the result: {what_there_is(result, key)}")
        try:
            reached = bool(value >= limit)
        except (TypeError, ValueError) as error:
            raise TuneError(f"stop cannot compare {key!r}={value!r} with {limit!r}: {error}") from error
        if reached:
            return True
    return False
