"""Search spaces: what values a variable may take (a domain) and how they are drawn (its sampler).

Bounds: ``uniform``, ``randint`` and their logarithmic relatives never return the upper bound (up to rounding, for floats);
the quantised ones (``q...``) include both bounds. Nothing ever leaves the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aktis.tune.search._checks import (
    check_order,
    check_positive,
    decimal_places,
    is_number,
    number,
    same,
    takes_one,
    whole,
)
from aktis.tune.search._random import as_rng

if TYPE_CHECKING:
    from aktis.tune.search._random import RandomState, Rng

__all__ = [
    "BaseSampler", "Categorical", "Domain", "Float", "Function", "Grid", "Integer", "LogUniform", "Normal", "Quantized",
    "Sampler", "Uniform", "choice", "grid_search", "lograndint", "loguniform", "qlograndint", "qloguniform", "qrandint",
    "qrandn", "quniform", "randint", "randn", "sample_from", "uniform",
]  # fmt: skip

D = TypeVar("D", bound="Domain")

_INFINITY = float("inf")
_DEFAULT_BASE = 10


class Domain:
    """The values that a variable may take. Domains do not change: methods such as :meth:`Float.uniform` give new ones."""

    sampler: Sampler | None = None
    default_sampler_cls: ClassVar[type[Sampler] | None] = None

    def cast(self, value: Any) -> Any:
        """The value as the type of this domain."""
        return value

    def set_sampler(self, sampler: Sampler, allow_override: bool = False) -> None:
        """Say how values are drawn. ValueError when that was said before, unless ``allow_override``."""
        if self.sampler is not None and not allow_override:
            raise ValueError(
                f"a domain has one sampler: {self!r} draws by {self.sampler!r} already, {sampler!r} cannot be added"
            )
        self.sampler = sampler

    def get_sampler(self) -> Sampler:
        """How values are drawn: what was chosen, else the default of this kind of domain."""
        if self.sampler is not None:
            return self.sampler
        if self.default_sampler_cls is None:
            raise ValueError(f"{self!r} has no sampler: give it one with set_sampler()")
        return self.default_sampler_cls()

    def sample(self, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Draw one value, or ``size`` of them (an array; a list when quantised or categorical).

        Args:
            spec: What a ``sample_from`` function is called with; a list gives each of the values its own.
            size: How many.
            random_state: A seed, a numpy Generator or RandomState, a ``random.Random``; None takes numpy's global state.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size!r}")
        return self.get_sampler().sample(self, spec, size, as_rng(random_state))

    def is_grid(self) -> bool:
        """Whether every value is to be tried, rather than some drawn."""
        return isinstance(self.sampler, Grid)

    def is_function(self) -> bool:
        """Whether a function of the user makes the values."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Whether the domain has this value."""
        raise NotImplementedError(f"{type(self).__name__} does not say which values it has")

    @property
    def domain_str(self) -> str:
        """The domain in a few characters, for tables."""
        return "(unknown)"

    def _with(self: D, sampler: Sampler, allow_override: bool = False) -> D:
        new = copy(self)
        new.set_sampler(sampler, allow_override)
        return new

    # -- how the built-in samplers draw: a scalar when ``size`` is 1 ----------------------------------

    def _draw_uniform(self, rng: Rng, size: int) -> Any:
        raise self._cannot("uniformly")

    def _draw_log(self, base: float, rng: Rng, size: int) -> Any:
        raise self._cannot("uniformly on a logarithmic scale")

    def _draw_normal(self, mean: float, sd: float, rng: Rng, size: int) -> Any:
        raise self._cannot("from a normal distribution")

    def _draw_quantized(self, inner: Sampler, step: Quantized, spec: Any, rng: Rng, size: int) -> Any:
        raise self._cannot("in steps")

    def _cannot(self, how: str) -> ValueError:
        return ValueError(f"values of {self!r} cannot be drawn {how}")


class Sampler:
    """How values of a domain are drawn. Your own one overrides :meth:`sample`."""

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        """Draw one value of ``domain``, or a sequence of ``size`` of them when that is above 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it draws")

    def __str__(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class BaseSampler(Sampler):
    """Calls the function of a :class:`Function` domain."""

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        if not isinstance(domain, Function):
            raise domain._cannot("by calling a function")
        if size == 1:
            return domain.call(spec)
        return [domain.call(spec[index] if isinstance(spec, list) else spec) for index in range(size)]

    def __str__(self) -> str:
        return "Base"


class Uniform(Sampler):
    """Every value is as likely as any other."""

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        return domain._draw_uniform(as_rng(random_state), size)


class LogUniform(Sampler):
    """Every order of magnitude is as likely as any other. The base matters for rounding only."""

    def __init__(self, base: float = _DEFAULT_BASE) -> None:
        self.base = number(base, "base")
        if not 0 < self.base < _INFINITY or self.base == 1:
            raise ValueError(f"the base of a logarithm must be positive and not 1, got {base!r}")

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        return domain._draw_log(self.base, as_rng(random_state), size)

    def __repr__(self) -> str:
        return f"LogUniform({self.base!r})"


class Normal(Sampler):
    """Values follow a normal distribution."""

    def __init__(self, mean: float = 0.0, sd: float = 1.0) -> None:
        self.mean = number(mean, "mean")
        self.sd = number(sd, "sd")
        if not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {mean!r}")
        if not 0 < self.sd < _INFINITY:
            raise ValueError(f"sd (standard deviation) must be positive and finite, got {sd!r}")

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        return domain._draw_normal(self.mean, self.sd, as_rng(random_state), size)

    def __repr__(self) -> str:
        return f"Normal({self.mean!r}, {self.sd!r})"


class Grid(Sampler):
    """Marks a categorical domain of which every value is tried."""

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        raise RuntimeError("values of a grid are not drawn but listed, by the generator of variants")


class Quantized(Sampler):
    """Rounds to multiples of ``q`` what another sampler draws."""

    def __init__(self, sampler: Sampler, q: float) -> None:
        if not isinstance(sampler, Sampler):
            raise TypeError(f"Quantized() needs the sampler whose values it rounds, got {sampler!r}")
        self.sampler = sampler
        self.q = number(q, "q")
        if not 0 < self.q < _INFINITY:
            raise ValueError(f"q, the step between values, must be positive and finite, got {q!r}")
        self._digits = decimal_places(self.q)

    def get_sampler(self) -> Sampler:
        """What draws the values."""
        return self.sampler

    def multiple(self, value: float) -> float:
        """The multiple of ``q`` that is next to ``value``, written as one would (0.3, not 0.30000000000000004)."""
        return round(round(value / self.q) * self.q, self._digits)

    def divides(self, value: float) -> bool:
        """Whether ``value`` is a multiple of ``q``, up to rounding."""
        return math.isclose(value / self.q, round(value / self.q))

    def sample(self, domain: Domain, spec: Any = None, size: int = 1, random_state: RandomState = None) -> Any:
        return domain._draw_quantized(self.sampler, self, spec, as_rng(random_state), size)

    def __repr__(self) -> str:
        return f"Quantized({self.sampler!r}, {self.q!r})"


class Float(Domain):
    """Real numbers from ``lower`` to ``upper``; None is no bound."""

    default_sampler_cls = Uniform

    def __init__(self, lower: float | None = None, upper: float | None = None) -> None:
        self.lower = -_INFINITY if lower is None else number(lower, "lower")
        self.upper = _INFINITY if upper is None else number(upper, "upper")
        check_order(self.lower, self.upper)

    def cast(self, value: Any) -> float:
        return float(value)

    def uniform(self) -> Float:
        """Draw all values equally often."""
        self._check_bounded()
        return self._with(Uniform())

    def loguniform(self, base: float = _DEFAULT_BASE) -> Float:
        """Draw all orders of magnitude equally often."""
        self._check_bounded()
        check_positive(self.lower)
        return self._with(LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Float:
        """Draw from a normal distribution; only where there are no bounds."""
        self._check_unbounded()
        return self._with(Normal(mean, sd))

    def quantized(self, q: float) -> Float:
        """Round to multiples of ``q``, of which the bounds must be some."""
        step = Quantized(self.get_sampler(), q)
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if math.isfinite(bound) and not step.divides(bound):
                raise ValueError(
                    f"the {name} bound {bound!r} is not divisible by the quantization factor q={q!r}: choose bounds that are "
                    "multiples of q"
                )
        return self._with(step, allow_override=True)

    def is_valid(self, value: Any) -> bool:
        if not is_number(value) or not self.lower <= value <= self.upper:
            return False
        return self.sampler.divides(float(value)) if isinstance(self.sampler, Quantized) else True

    @property
    def domain_str(self) -> str:
        return f"({self.lower}, {self.upper})"

    def __repr__(self) -> str:
        return _describe(self, {Uniform: "uniform", LogUniform: "loguniform", Normal: "randn"})

    def _check_bounded(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise ValueError(f"a lower and an upper bound are needed to draw uniformly, got {self.domain_str}")

    def _check_unbounded(self) -> None:
        if math.isfinite(self.lower) or math.isfinite(self.upper):
            raise ValueError(f"a normal distribution has no bounds, got {self.domain_str}: use Float(None, None)")

    def _draw_uniform(self, rng: Rng, size: int) -> Any:
        self._check_bounded()
        if size == 1:
            return float(rng.uniform(self.lower, self.upper))
        return rng.uniform(self.lower, self.upper, size)

    def _draw_log(self, base: float, rng: Rng, size: int) -> Any:
        self._check_bounded()
        check_positive(self.lower)
        if size == 1:
            return min(max(_log_draw(self.lower, self.upper, base, rng), self.lower), self.upper)
        import numpy as np

        return np.clip(_log_draw(self.lower, self.upper, base, rng, size), self.lower, self.upper)

    def _draw_normal(self, mean: float, sd: float, rng: Rng, size: int) -> Any:
        self._check_unbounded()
        return float(rng.normal(mean, sd)) if size == 1 else rng.normal(mean, sd, size)

    def _draw_quantized(self, inner: Sampler, step: Quantized, spec: Any, rng: Rng, size: int) -> Any:
        drawn = inner.sample(self, spec, size, rng)
        if size == 1:
            return min(max(float(step.multiple(drawn)), self.lower), self.upper)
        return [min(max(float(step.multiple(float(value))), self.lower), self.upper) for value in drawn]


class Integer(Domain):
    """Whole numbers from ``lower`` up to ``upper``, which belongs to them only when quantised."""

    default_sampler_cls = Uniform

    def __init__(self, lower: int, upper: int) -> None:
        self.lower = whole(lower, "lower")
        self.upper = whole(upper, "upper")
        check_order(self.lower, self.upper)

    def cast(self, value: Any) -> int:
        return int(value)

    def uniform(self) -> Integer:
        """Draw all values equally often."""
        return self._with(Uniform())

    def loguniform(self, base: float = _DEFAULT_BASE) -> Integer:
        """Draw all orders of magnitude equally often."""
        check_positive(self.lower)
        return self._with(LogUniform(base))

    def quantized(self, q: int) -> Integer:
        """Only multiples of ``q`` within the bounds, both of which may then be among them."""
        new = self._with(Quantized(self.get_sampler(), whole(q, "q")), allow_override=True)
        if new.multiples[0] > new.multiples[1]:
            raise ValueError(f"there is no multiple of q={q!r} from {self.lower} to {self.upper}")
        return new

    @property
    def multiples(self) -> tuple[int, int]:
        """The least and the greatest multiple of ``q`` within the bounds, divided by ``q``."""
        step = int(self.sampler.q) if isinstance(self.sampler, Quantized) else 1
        return -(-self.lower // step), self.upper // step

    def is_valid(self, value: Any) -> bool:
        if not is_number(value) or not math.isfinite(value) or value != int(value):
            return False
        if isinstance(self.sampler, Quantized):
            return self.lower <= value <= self.upper and int(value) % int(self.sampler.q) == 0
        return bool(self.lower <= value < self.upper)

    @property
    def domain_str(self) -> str:
        return f"({self.lower}, {self.upper})"

    def __repr__(self) -> str:
        return _describe(self, {Uniform: "randint", LogUniform: "lograndint"})

    def _check_not_empty(self) -> None:
        if self.lower >= self.upper:
            raise ValueError(
                f"there is no whole number from {self.lower} up to but without {self.upper}: the upper bound is exclusive"
            )

    def _draw_uniform(self, rng: Rng, size: int) -> Any:
        self._check_not_empty()
        if size == 1:
            return int(rng.integers(self.lower, self.upper))
        return rng.integers(self.lower, self.upper, size)

    def _draw_log(self, base: float, rng: Rng, size: int) -> Any:
        self._check_not_empty()
        check_positive(self.lower)
        if size == 1:
            return min(max(int(_log_draw(self.lower, self.upper, base, rng)), self.lower), self.upper - 1)
        import numpy as np

        drawn = np.floor(_log_draw(self.lower, self.upper, base, rng, size)).astype(np.int64)
        return np.clip(drawn, self.lower, self.upper - 1)

    def _draw_quantized(self, inner: Sampler, step: Quantized, spec: Any, rng: Rng, size: int) -> Any:
        q = int(step.q)
        first, last = self.multiples
        if type(inner) is Uniform:  # rounding would draw the outermost values half as often as the others
            factors = rng.integers(first, last + 1) if size == 1 else rng.integers(first, last + 1, size)
        elif type(inner) is LogUniform:
            drawn = _log_draw(first * q, last * q, inner.base, rng, size)
            factors = drawn / q
        else:
            drawn = inner.sample(self, spec, size, rng)
            factors = drawn / q if size == 1 else [value / q for value in drawn]
        if size == 1:
            return min(max(round(factors), first), last) * q
        return [min(max(round(float(factor)), first), last) * q for factor in factors]


class Categorical(Domain):
    """One of some values, which may be anything, other search spaces among them."""

    default_sampler_cls = Uniform

    def __init__(self, categories: Iterable[Any]) -> None:
        if isinstance(categories, (set, frozenset)):  # the order of a set changes from process to process
            self.categories = sorted(categories, key=repr)
        elif hasattr(categories, "tolist"):  # numpy: Python numbers can be written to JSON
            self.categories = list(categories.tolist())
        else:
            try:
                self.categories = list(categories)
            except TypeError:
                raise TypeError(f"choice() needs a list of values, got {categories!r}") from None
        if not self.categories:
            raise ValueError("choice() needs at least one value, got none")

    def uniform(self) -> Categorical:
        """Draw all values equally often."""
        return self._with(Uniform())

    def grid(self) -> Categorical:
        """Try every value."""
        return self._with(Grid())

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, item: Any) -> Any:
        return self.categories[item]

    def is_valid(self, value: Any) -> bool:
        return any(same(value, category) for category in self.categories)

    @property
    def domain_str(self) -> str:
        return f"{self.categories}"

    def __repr__(self) -> str:
        return f"grid_search({self.categories!r})" if self.is_grid() else f"choice({self.categories!r})"

    def _draw_uniform(self, rng: Rng, size: int) -> Any:
        if size == 1:
            return self.categories[int(rng.integers(0, len(self.categories)))]
        return [self.categories[int(index)] for index in rng.integers(0, len(self.categories), size)]


class Function(Domain):
    """Whatever a function of the user returns. It takes either nothing or the specification with the values so far."""

    default_sampler_cls = BaseSampler

    def __init__(self, func: Callable[..., Any]) -> None:
        if not callable(func):
            raise TypeError(f"sample_from() needs a function that takes no argument or one, got {func!r}")
        self.func = func
        self.pass_spec = takes_one(func)

    def call(self, spec: Any) -> Any:
        """One value."""
        return self.func(spec) if self.pass_spec else self.func()

    def is_function(self) -> bool:
        return True

    def is_valid(self, value: Any) -> bool:
        return True  # only the function knows

    @property
    def domain_str(self) -> str:
        return f"{self.func}()"

    def __repr__(self) -> str:
        return f"sample_from({getattr(self.func, '__name__', None) or repr(self.func)})"


# -- what users write ------------------------------------------------------------------------------------


def uniform(lower: float, upper: float) -> Float:
    """A real number from ``lower`` to ``upper``, all equally likely."""
    return Float(lower, upper).uniform()


def quniform(lower: float, upper: float, q: float) -> Float:
    """Like :func:`uniform`, rounded to multiples of ``q``; both bounds belong to it and must be divisible by ``q``."""
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = _DEFAULT_BASE) -> Float:
    """A real number from ``lower`` (above 0) to ``upper``, all orders of magnitude equally likely."""
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = _DEFAULT_BASE) -> Float:
    """Like :func:`loguniform`, rounded to multiples of ``q``; both bounds belong to it and must be divisible by ``q``."""
    return Float(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """A real number of the normal distribution with this mean and standard deviation."""
    return Float(None, None).normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """Like :func:`randn`, rounded to multiples of ``q``."""
    return Float(None, None).normal(mean, sd).quantized(q)


def randint(lower: int, upper: int) -> Integer:
    """A whole number from ``lower`` up to but without ``upper``, all equally likely."""
    domain = Integer(lower, upper).uniform()
    domain._check_not_empty()
    return domain


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """A multiple of ``q`` from ``lower`` to ``upper``, which belongs to it, all equally likely."""
    return Integer(lower, upper).uniform().quantized(q)


def lograndint(lower: int, upper: int, base: float = _DEFAULT_BASE) -> Integer:
    """A whole number from ``lower`` (above 0) up to but without ``upper``, all orders of magnitude equally likely."""
    domain = Integer(lower, upper).loguniform(base)
    domain._check_not_empty()
    return domain


def qlograndint(lower: int, upper: int, q: int, base: float = _DEFAULT_BASE) -> Integer:
    """Like :func:`lograndint`, rounded to a multiple of ``q``; ``upper`` belongs to it."""
    return Integer(lower, upper).loguniform(base).quantized(q)


def choice(categories: Sequence[Any]) -> Categorical:
    """One of these values, all equally likely. They may be, or hold, search spaces themselves."""
    return Categorical(categories).uniform()


def sample_from(func: Callable[..., Any]) -> Function:
    """What ``func()`` or ``func(spec)`` returns; ``spec.config.a.b`` is the value of ``{"a": {"b": ...}}`` in this variant."""
    return Function(func)


def grid_search(values: Iterable[Any]) -> dict[str, list[Any]]:
    """Try every one of these values, each as often as ``num_samples`` says."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise TypeError(f"grid_search() needs a list of values, got {values!r}")
    listed: list[Any] = Categorical(values).categories
    return {"grid_search": listed}


# -- helpers ------------------------------------------------------------------------------------------


def _log_draw(lower: float, upper: float, base: float, rng: Rng, size: int = 1) -> Any:
    """``base ** u`` for uniform ``u``; rounding may put it a hair outside of the bounds."""
    scale = math.log(base)
    exponents = sorted((math.log(lower) / scale, math.log(upper) / scale))
    if size == 1:
        return base ** float(rng.uniform(exponents[0], exponents[1]))
    return base ** rng.uniform(exponents[0], exponents[1], size)


def _describe(domain: Float | Integer, names: dict[type[Sampler], str]) -> str:
    """The domain as one would write it."""
    sampler = domain.sampler
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    name = names.get(type(inner)) if inner is not None else None
    if name is None:
        drawn = f".set_sampler({sampler!r})" if sampler is not None else ""
        return f"{type(domain).__name__}({domain.lower!r}, {domain.upper!r}){drawn}"
    arguments = [inner.mean, inner.sd] if isinstance(inner, Normal) else [domain.lower, domain.upper]
    words = [repr(argument) for argument in arguments]
    if isinstance(sampler, Quantized):
        name = f"q{name}"
        words.append(repr(sampler.q))
    if isinstance(inner, LogUniform) and inner.base != _DEFAULT_BASE:
        words.append(f"base={inner.base!r}")
    return f"{name}({', '.join(words)})"
