"""One variable of a search space in the terms of a library.

Libraries differ in what they know. A :class:`Capabilities` says it, and :func:`make_axis` turns a Tune domain into the
nearest thing: what a library lacks (logarithms, steps, normal distributions, integers) is done here by a change of scale,
so that nothing is dropped and every value of the domain, its bounds too, can be reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from aktis.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Normal, Quantized, Uniform

__all__ = ["Axis", "Capabilities", "Conditions", "make_axis", "only_value"]

Form = Literal["real", "integer", "choice"]
Scale = Literal["linear", "log", "normal", "steps", "choice"]
Conditions = tuple[tuple[str, int], ...]  # the variable exists where all of these choices (name, index) are made

# Normal variables are searched by quantile, up to five standard deviations: 1 draw in 1.7 million would lie outside.
_STANDARD = NormalDist()
_LEAST_QUANTILE = _STANDARD.cdf(-5.0)


@dataclass(frozen=True)
class Capabilities:
    """What a library can do by itself."""

    name: str
    log_real: bool = False
    log_integer: bool = False
    integer: bool = True
    choice: bool = True


@dataclass(frozen=True)
class Axis:
    """A variable for a library: numbers from ``low`` to ``high`` (both included), or indices 0 to ``high`` of choices.

    ``log`` asks the library for a logarithmic scale. ``scale`` says how a number on the axis becomes a value.
    """

    name: str
    domain: Domain
    form: Form
    low: float
    high: float
    log: bool
    scale: Scale
    conditions: Conditions = ()

    @property
    def size(self) -> int:
        """How many choices there are."""
        return int(self.high) + 1

    def decode(self, raw: Any) -> Any:
        """The value (for a choice: its index) at this place of the axis, as a plain Python number."""
        if self.scale == "choice":
            return min(max(int(raw), 0), int(self.high))
        number = float(raw)
        if self.scale == "normal":
            quantile = min(max(number, _LEAST_QUANTILE), 1.0 - _LEAST_QUANTILE)
            number = _normal(self.domain).inv_cdf(quantile)
        elif self.scale == "log":
            number = math.exp(number)
        elif self.scale == "steps":
            number = round(number) * _step(self.domain)
        return settle(self.domain, number)

    def encode(self, value: Any) -> float | int:
        """The place of a value (for a choice: of an index) on the axis; the nearest one where it is off the steps."""
        if self.scale == "choice":
            return int(value)
        number = float(value)
        if self.scale == "normal":
            number = _normal(self.domain).cdf(number)
        elif self.scale == "log":
            number = math.log(number)
        elif self.scale == "steps":
            number = number / _step(self.domain)
        if self.form == "integer":
            return int(min(max(round(number), self.low), self.high))
        return float(min(max(number, self.low), self.high))

    @property
    def middle(self) -> float | int:
        """A place in the middle."""
        if self.form == "choice":
            return 0
        if self.log:
            middle = math.exp((math.log(self.low) + math.log(self.high)) / 2)
        else:
            middle = (self.low + self.high) / 2
        return round(middle) if self.form == "integer" else middle

    def draw(self, unit: float) -> float | int:
        """The place at a fraction of the axis, 0 <= unit < 1."""
        if self.form != "real" and not self.log:
            return int(self.low) + int(unit * (self.high - self.low + 1))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        place = low + unit * (high - low)
        place = min(max(math.exp(place) if self.log else place, self.low), self.high)
        return round(place) if self.form == "integer" else place


def make_axis(name: str, domain: Domain, able: Capabilities, conditions: Conditions = ()) -> Axis:
    """The axis for a domain. ValueError, with the variable's name and what would do, for what no library can search."""
    sampler = domain.get_sampler()
    quantized = isinstance(sampler, Quantized)
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if isinstance(domain, Categorical) and type(inner) is Uniform:
        if not able.choice:
            raise ValueError(
                f"{able.name} searches numbers only, but {name!r} is {domain!r}: use tune.uniform(), tune.randint() or one of "
                "their relatives for it, or another search algorithm (Optuna, HyperOpt, ...)"
            )
        return Axis(name, domain, "choice", 0, len(domain.categories) - 1, False, "choice", conditions)
    if isinstance(domain, Float) and type(inner) is Normal:
        return Axis(name, domain, "real", _LEAST_QUANTILE, 1.0 - _LEAST_QUANTILE, False, "normal", conditions)
    if isinstance(domain, (Float, Integer)) and type(inner) is LogUniform:
        return _log_axis(name, domain, quantized, able, conditions)
    if isinstance(domain, (Float, Integer)) and type(inner) is Uniform:
        return _linear_axis(name, domain, quantized, able, conditions)
    raise ValueError(
        f"{able.name} cannot search {name!r}, which is {domain!r}: use tune.uniform(), loguniform(), randint(), lograndint(), "
        "randn(), their quantized relatives or choice(), or leave this variable to BasicVariantGenerator"
    )


def _linear_axis(
    name: str, domain: Float | Integer, quantized: bool, able: Capabilities, conditions: Conditions
) -> Axis:
    if isinstance(domain, Float) and not (math.isfinite(domain.lower) and math.isfinite(domain.upper)):
        raise ValueError(
            f"{able.name} needs bounds for {name!r}, which is {domain!r}: use tune.uniform(lower, upper) or tune.randn()"
        )
    if isinstance(domain, Float) and not quantized:
        return Axis(name, domain, "real", domain.lower, domain.upper, False, "linear", conditions)
    first, last = _steps(domain)
    scale: Scale = "steps" if quantized else "linear"
    if able.integer:
        return Axis(name, domain, "integer", first, last, False, scale, conditions)
    # Half a step more at each end gives the outermost values the same share as the others.
    return Axis(name, domain, "real", first - 0.5, last + 0.5, False, scale, conditions)


def _log_axis(name: str, domain: Float | Integer, quantized: bool, able: Capabilities, conditions: Conditions) -> Axis:
    if isinstance(domain, Float) and not quantized:
        low, high = float(domain.lower), float(domain.upper)
    else:
        first, last = _steps(domain)
        if not quantized and able.integer and able.log_integer:
            return Axis(name, domain, "integer", first, last, True, "linear", conditions)
        step = _step(domain)
        low, high = (first - 0.5) * step, (last + 0.5) * step
    if able.log_real:
        return Axis(name, domain, "real", low, high, True, "linear", conditions)
    return Axis(name, domain, "real", math.log(low), math.log(high), False, "log", conditions)


def only_value(domain: Domain) -> Any | None:
    """The value (for a choice: the index) of a domain that has only one; None when there are more."""
    if isinstance(domain, Categorical):
        return 0 if len(domain.categories) == 1 else None
    if isinstance(domain, Integer) or (isinstance(domain, Float) and isinstance(domain.get_sampler(), Quantized)):
        first, last = _steps(domain)
        return settle(domain, first * _step(domain)) if first == last else None
    if isinstance(domain, Float) and domain.lower == domain.upper:
        return float(domain.lower)
    return None


def settle(domain: Domain, number: float) -> float | int:
    """The value of the domain that is next to ``number``."""
    sampler = domain.get_sampler()
    if isinstance(domain, Integer):
        first, last = _steps(domain)
        step = int(_step(domain))
        return int(min(max(round(number / step), first), last)) * step
    assert isinstance(domain, Float)
    if isinstance(sampler, Quantized):
        number = sampler.multiple(number)
    return float(min(max(number, domain.lower), domain.upper))


def _step(domain: Domain) -> float:
    sampler = domain.get_sampler()
    return sampler.q if isinstance(sampler, Quantized) else 1


def _steps(domain: Float | Integer) -> tuple[float, float]:
    """The first and the last value in steps, both included; infinite ones have no last."""
    if isinstance(domain, Integer):
        first, last = domain.multiples
        return first, last if isinstance(domain.get_sampler(), Quantized) else last - 1
    if not (math.isfinite(domain.lower) and math.isfinite(domain.upper)):
        return domain.lower, domain.upper
    step = _step(domain)
    return round(domain.lower / step), round(domain.upper / step)


def _normal(domain: Domain) -> NormalDist:
    sampler = domain.get_sampler()
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    assert isinstance(inner, Normal)
    return NormalDist(inner.mean, inner.sd)
