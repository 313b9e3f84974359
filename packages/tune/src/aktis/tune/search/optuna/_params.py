"""Variables of a Tune space as parameters of an Optuna trial.

Parameters show in Optuna's storage and dashboard, so they hold the values themselves wherever Optuna has a distribution for
them. Where it has none, the name says what is kept instead: ``"x (quantile)"`` of a normal distribution, ``"x (step)"``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search.sample import Categorical, Float, Integer, Quantized

__all__ = ["CAPABILITIES", "suggest", "to_param"]

CAPABILITIES = Capabilities("Optuna", log_real=True, log_integer=True)


def suggest(trial: Any, axis: Axis) -> Any:
    """Have the trial suggest the variable, and give its place on the axis."""
    if axis.form == "choice":
        choices = _choices(axis)
        return choices.index(trial.suggest_categorical(axis.name, choices))
    if axis.scale == "steps":
        step = _native_step(axis)
        if step is None:
            return trial.suggest_int(f"{axis.name} (step)", int(axis.low), int(axis.high))
        low, high = axis.decode(axis.low), axis.decode(axis.high)
        draw = trial.suggest_int if isinstance(axis.domain, Integer) else trial.suggest_float
        return axis.encode(draw(axis.name, low, high, step=step))
    if axis.form == "integer":
        return trial.suggest_int(axis.name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(_name(axis), axis.low, axis.high, log=axis.log)


def to_param(axis: Axis, raw: Any) -> tuple[str, Any]:
    """Name and value of the parameter for a place on the axis."""
    if axis.form == "choice":
        return axis.name, _choices(axis)[raw]
    if axis.scale == "steps":
        if _native_step(axis) is None:
            return f"{axis.name} (step)", raw
        return axis.name, axis.decode(raw)
    return _name(axis), raw


def _name(axis: Axis) -> str:
    return f"{axis.name} (quantile)" if axis.scale == "normal" else axis.name


def _choices(axis: Axis) -> list[Any]:
    """The categories themselves, where Optuna's storages can keep them, else their numbers."""
    assert isinstance(axis.domain, Categorical)
    categories = axis.domain.categories
    simple = all(value is None or isinstance(value, (bool, int, float, str)) for value in categories)
    distinct = simple and len(set(categories)) == len(categories)  # True is 1, so one of the two would be lost
    return list(categories) if distinct and all(value == value for value in categories) else list(range(axis.size))


def _native_step(axis: Axis) -> float | int | None:
    """The step, where Optuna finds that it divides the range; it counts in decimals."""
    sampler = axis.domain.get_sampler()
    assert isinstance(sampler, Quantized)
    if isinstance(axis.domain, Integer):
        return int(sampler.q)
    assert isinstance(axis.domain, Float)
    width = Decimal(str(float(axis.domain.upper))) - Decimal(str(float(axis.domain.lower)))
    return float(sampler.q) if width % Decimal(str(float(sampler.q))) == 0 else None
