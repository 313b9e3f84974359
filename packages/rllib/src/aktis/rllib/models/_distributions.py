"""Action distributions, written once over the operations of a framework (`self.ops`, see aktis.rllib._backend).

Shapes: B rows, A choices, D dimensions of the action.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tree
from gymnasium import spaces

from aktis.rllib.models.action_dist import ActionDistribution
from aktis.rllib.utils.spaces.space_utils import flatten_space, get_base_struct_from_space

Tensor = Any

MIN_LOG_STD, MAX_LOG_STD = -20.0, 2.0  # of SquashedGaussian: Haarnoja et al. (2018), the authors' code
SMALL_NUMBER = 1e-6
LOWEST_LOGP = -1e30  # instead of -inf for what a mask forbids: 0 * -inf is no number
LOG_2PI = math.log(2.0 * math.pi)


class Categorical(ActionDistribution):
    """One of A choices; inputs are logits [B, A]."""

    def __init__(self, inputs: Tensor, model: Any = None, temperature: float = 1.0) -> None:
        if temperature <= 0.0:
            raise ValueError(f"The temperature of a Categorical is above zero: temperature={temperature}")
        super().__init__(inputs if temperature == 1.0 else inputs / temperature, model)
        self._logp_BA: Tensor | None = None

    def log_probs(self) -> Tensor:
        """Of all choices, [B, A]."""
        if self._logp_BA is None:
            self._logp_BA = self.ops.maximum(self.ops.log_softmax(self.inputs, -1), LOWEST_LOGP)
        return self._logp_BA

    def sample(self) -> Tensor:
        self.last_sample = self.ops.categorical(self.inputs, self.generator)
        return self.last_sample

    def deterministic_sample(self) -> Tensor:
        self.last_sample = self.ops.argmax(self.inputs, -1)
        return self.last_sample

    def logp(self, x: Tensor) -> Tensor:
        return self.ops.gather_rows(self.log_probs(), self.ops.reshape(x, (-1,)))

    def entropy(self) -> Tensor:
        logp = self.log_probs()
        return -self.ops.sum(self.ops.exp(logp) * logp, -1)

    def kl(self, other: Any) -> Tensor:
        logp = self.log_probs()
        return self.ops.sum(self.ops.exp(logp) * (logp - other.log_probs()), -1)

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return int(action_space.n)


class MultiCategorical(ActionDistribution):
    """Several independent choices; inputs are the logits of all, side by side.

    Args:
        inputs: [B, sum(input_lens)].
        model: The model.
        input_lens: Number of choices of each.
        action_space: Gives the shape of an action where it is not (len(input_lens),).
    """

    child_class: type[Any] = Categorical

    def __init__(
        self, inputs: Tensor, model: Any = None, input_lens: Sequence[int] = (), action_space: Any = None
    ) -> None:
        super().__init__(inputs, model)
        self.input_lens = np.ravel(input_lens).astype(int).tolist()
        shape = getattr(action_space, "shape", None)
        self._shape = tuple(shape) if shape is not None and len(shape) != 1 else None
        self.cats = [self.child_class(logits, model) for logits in self.ops.split(inputs, self.input_lens, -1)]

    def _joined(self, columns: list[Tensor]) -> Tensor:
        joined = self.ops.stack(columns, 1)
        self.last_sample = joined if self._shape is None else self.ops.reshape(joined, (-1, *self._shape))
        return self.last_sample

    def sample(self) -> Tensor:
        return self._joined([cat.sample() for cat in self.cats])

    def deterministic_sample(self) -> Tensor:
        return self._joined([cat.deterministic_sample() for cat in self.cats])

    def logp(self, x: Tensor) -> Tensor:
        columns = self.ops.unstack(self.ops.reshape(self.ops.cast(x, "int64"), (-1, len(self.cats))), 1)
        return self.ops.sum(self.ops.stack([cat.logp(c) for cat, c in zip(self.cats, columns)], 0), 0)

    def multi_entropy(self) -> Tensor:
        return self.ops.stack([cat.entropy() for cat in self.cats], 1)

    def entropy(self) -> Tensor:
        return self.ops.sum(self.multi_entropy(), 1)

    def multi_kl(self, other: Any) -> Tensor:
        return self.ops.stack([mine.kl(theirs) for mine, theirs in zip(self.cats, other.cats)], 1)

    def kl(self, other: Any) -> Tensor:
        return self.ops.sum(self.multi_kl(other), 1)

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return sum(choices_of(action_space))


def choices_of(space: spaces.Space[Any]) -> list[int]:
    """Number of choices of each entry of MultiDiscrete, MultiBinary and Box of integers."""
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in np.ravel(space.nvec)]
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    return [int(n) for n in np.ravel(space.high.astype(np.int64) - space.low.astype(np.int64) + 1)]


class _OverVectors(ActionDistribution):
    """Distributions over vectors [B, D], given to the outside in the shape of the action space."""

    def __init__(self, inputs: Tensor, model: Any = None, *, action_space: Any = None) -> None:
        super().__init__(inputs, model)
        shape = getattr(action_space, "shape", None)
        self._shape = tuple(shape) if shape is not None and len(shape) != 1 else None

    def _out(self, x_BD: Tensor) -> Tensor:
        self.last_sample = x_BD if self._shape is None else self.ops.reshape(x_BD, (-1, *self._shape))
        return self.last_sample

    def _in(self, x: Tensor, like: Tensor) -> Tensor:
        if len(x.shape) != 2:  # also [B] of spaces without axes
            x = self.ops.reshape(x, (-1, like.shape[-1]))
        return self.ops.cast(x, "float32")

    def _scaling(self, low: Any, high: Any) -> tuple[Any, Any, Any, Any]:
        """Bounds, the range between, and its logarithm: numbers, or tensors [D] of bounds that differ by dimension."""
        if not np.all(np.less(low, high)):
            kind = type(self).__name__
            raise ValueError(f"The lower bound of a {kind} is below the upper one: low={low}, high={high}")
        if np.ndim(low) == np.ndim(high) == 0:
            return float(low), float(high), float(high) - float(low), math.log(float(high) - float(low))
        bounds = np.broadcast_arrays(low, high)
        lower: np.ndarray[Any, Any] = np.ravel(bounds[0]).astype(np.float32)
        upper: np.ndarray[Any, Any] = np.ravel(bounds[1]).astype(np.float32)
        device, convert = self.ops.device_of(self.inputs), self.ops.from_numpy
        return (
            convert(lower, device),
            convert(upper, device),
            convert(upper - lower, device),
            convert(np.log(upper - lower), device),
        )

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return 2 * int(np.prod(action_space.shape, dtype=np.int64))


class DiagGaussian(_OverVectors):
    """Independent normal distributions; inputs are means and logarithms of standard deviations, [B, 2 D]."""

    def __init__(self, inputs: Tensor, model: Any = None, *, action_space: Any = None) -> None:
        super().__init__(inputs, model, action_space=action_space)
        half = inputs.shape[-1] // 2
        self.mean = inputs[..., :half]
        self.log_std = inputs[..., half:]
        self._std: Tensor | None = None

    @property
    def std(self) -> Tensor:
        """Standard deviations, [B, D]."""
        if self._std is None:
            self._std = self.ops.exp(self.log_std)
        return self._std

    def _draw(self) -> Tensor:
        noise = self.ops.normal(self.ops.shape(self.mean), self.generator, self.ops.device_of(self.mean))
        return self.mean + self.std * noise

    def sample(self) -> Tensor:
        return self._out(self._draw())

    def deterministic_sample(self) -> Tensor:
        return self._out(self.mean)

    def logp(self, x: Tensor) -> Tensor:
        z = (self._in(x, self.mean) - self.mean) / self.std
        return -self.ops.sum(0.5 * self.ops.square(z) + self.log_std, -1) - 0.5 * LOG_2PI * self.mean.shape[-1]

    def entropy(self) -> Tensor:
        return self.ops.sum(self.log_std, -1) + 0.5 * (LOG_2PI + 1.0) * self.mean.shape[-1]

    def kl(self, other: Any) -> Tensor:
        z = (self.ops.square(self.std) + self.ops.square(self.mean - other.mean)) / (2.0 * self.ops.square(other.std))
        return self.ops.sum(other.log_std - self.log_std + z - 0.5, -1)


class SquashedGaussian(DiagGaussian):
    """Normal distributions through tanh, scaled to [low, high]: Haarnoja et al. (2018), appendix C."""

    # Gauss-Hermite quadrature: the mean over z ~ N(0, 1) of f(z) is sum(w f(x)).
    _NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(24)

    def __init__(
        self, inputs: Tensor, model: Any = None, low: float = -1.0, high: float = 1.0, *, action_space: Any = None
    ) -> None:
        super().__init__(inputs, model, action_space=action_space)
        self.low, self.high, self._range, self._log_range = self._scaling(low, high)
        self.log_std = self.ops.clip(self.log_std, MIN_LOG_STD, MAX_LOG_STD)

    def _squash(self, u: Tensor) -> Tensor:
        return (self.ops.tanh(u) + 1.0) * (0.5 * self._range) + self.low

    def _log_slope(self, u: Tensor) -> Tensor:
        """log d squash(u) / du, without loss of digits for large u: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u))."""
        return 2.0 * (math.log(2.0) - u - self.ops.softplus(-2.0 * u)) + (self._log_range - math.log(2.0))

    def sample(self) -> Tensor:
        self._last_u = self._draw()
        return self._out(self._squash(self._last_u))

    def deterministic_sample(self) -> Tensor:
        self._last_u = self.mean
        return self._out(self._squash(self.mean))

    def sample_logp(self) -> tuple[Tensor, Tensor]:
        """A sample, differentiable in the inputs, and the logarithm of its density [B]."""
        action = self.sample()
        return action, self._logp_of(self._last_u)

    def sampled_action_logp(self) -> Tensor:
        return super().sampled_action_logp() if self.last_sample is None else self._logp_of(self._last_u)

    def _logp_of(self, u: Tensor) -> Tensor:
        return super().logp(u) - self.ops.sum(self._log_slope(u), -1)

    def logp(self, x: Tensor) -> Tensor:
        unit = (self._in(x, self.mean) - self.low) * (2.0 / self._range) - 1.0
        return self._logp_of(self.ops.atanh(self.ops.clip(unit, -1.0 + SMALL_NUMBER, 1.0 - SMALL_NUMBER)))

    def entropy(self) -> Tensor:
        """That of the normal distribution plus the mean of the slope's logarithm, by quadrature (there is no closed form)."""
        total = super().entropy()
        for x, w in zip(self._NODES, self._WEIGHTS / math.sqrt(2.0 * math.pi)):
            total = total + float(w) * self.ops.sum(self._log_slope(self.mean + float(x) * self.std), -1)
        return total

    # KL is that of the normal distributions: it does not change under a transformation that both share.


class Beta(_OverVectors):
    """Beta distributions scaled to [low, high]; inputs give alpha and beta, [B, 2 D], each above one (Chou et al., 2017)."""

    def __init__(
        self, inputs: Tensor, model: Any = None, low: float = 0.0, high: float = 1.0, *, action_space: Any = None
    ) -> None:
        super().__init__(inputs, model, action_space=action_space)
        self.low, self.high, self._range, self._log_range = self._scaling(low, high)
        half = inputs.shape[-1] // 2
        shapes = self.ops.softplus(self.ops.clip(inputs, math.log(SMALL_NUMBER), -math.log(SMALL_NUMBER))) + 1.0
        self.alpha, self.beta = shapes[..., :half], shapes[..., half:]

    def sample(self) -> Tensor:
        x, y = self.ops.gamma(self.alpha, self.generator), self.ops.gamma(self.beta, self.generator)
        return self._out(x / (x + y) * self._range + self.low)

    def deterministic_sample(self) -> Tensor:
        return self._out(self.alpha / (self.alpha + self.beta) * self._range + self.low)

    def _log_normalizer(self) -> Tensor:
        lgamma = self.ops.lgamma
        return lgamma(self.alpha) + lgamma(self.beta) - lgamma(self.alpha + self.beta)

    def logp(self, x: Tensor) -> Tensor:
        unit = (self._in(x, self.alpha) - self.low) / self._range
        unit = self.ops.clip(unit, SMALL_NUMBER, 1.0 - SMALL_NUMBER)
        logp = (self.alpha - 1.0) * self.ops.log(unit) + (self.beta - 1.0) * self.ops.log1p(-unit)
        return self.ops.sum(logp - self._log_normalizer() - self._log_range, -1)

    def entropy(self) -> Tensor:
        a, b, psi = self.alpha, self.beta, self.ops.digamma
        entropy = self._log_normalizer() - (a - 1.0) * psi(a) - (b - 1.0) * psi(b) + (a + b - 2.0) * psi(a + b)
        return self.ops.sum(entropy + self._log_range, -1)

    def kl(self, other: Any) -> Tensor:
        a, b, psi = self.alpha, self.beta, self.ops.digamma
        da, db = a - other.alpha, b - other.beta
        kl = other._log_normalizer() - self._log_normalizer() + da * psi(a) + db * psi(b) - (da + db) * psi(a + b)
        return self.ops.sum(kl, -1)


class Deterministic(_OverVectors):
    """The inputs are the action, [B, D]."""

    def deterministic_sample(self) -> Tensor:
        return self._out(self.inputs)

    def sample(self) -> Tensor:
        return self._out(self.inputs)

    def _zeros(self) -> Tensor:
        return self.ops.zeros_like(self.inputs[..., 0])

    def sampled_action_logp(self) -> Tensor:
        return self._zeros()

    def logp(self, x: Tensor) -> Tensor:
        return self._zeros()

    def entropy(self) -> Tensor:
        return self._zeros()

    def kl(self, other: Any) -> Tensor:
        return self._zeros()

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return int(np.prod(action_space.shape, dtype=np.int64))


class GumbelSoftmax(ActionDistribution):
    """A differentiable relaxation of Categorical: samples are shares of A choices (Jang et al., 2017; Maddison et al., 2017)."""

    def __init__(self, inputs: Tensor, model: Any = None, temperature: float = 1.0) -> None:
        if temperature < 0.0:
            raise ValueError(f"The temperature of a GumbelSoftmax is not negative: temperature={temperature}")
        super().__init__(inputs, model)
        self.temperature = max(float(temperature), SMALL_NUMBER)

    def _log_probs(self) -> Tensor:
        return self.ops.maximum(self.ops.log_softmax(self.inputs, -1), LOWEST_LOGP)

    def sample(self) -> Tensor:
        ops = self.ops
        u = ops.uniform(ops.shape(self.inputs), self.generator, 1e-20, 1.0, ops.device_of(self.inputs))
        gumbel = -ops.log(ops.maximum(-ops.log(u), 1e-20))
        self.last_sample = ops.softmax((self.inputs + gumbel) / self.temperature, -1)
        return self.last_sample

    def deterministic_sample(self) -> Tensor:
        self.last_sample = self.ops.softmax(self.inputs, -1)
        return self.last_sample

    def logp(self, x: Tensor) -> Tensor:
        """Density of the shares ``x`` [B, A]: Maddison et al. (2017), equation 5."""
        ops, n, tau = self.ops, self.inputs.shape[-1], self.temperature
        log_x = ops.log(ops.maximum(x, 1e-20))
        score = self._log_probs() - tau * log_x
        constant = math.lgamma(n) + (n - 1) * math.log(tau)
        return constant + ops.sum(score - log_x, -1) - n * ops.logsumexp(score, -1)

    def entropy(self) -> Tensor:
        """That of the Categorical behind it."""
        logp = self._log_probs()
        return -self.ops.sum(self.ops.exp(logp) * logp, -1)

    def kl(self, other: Any) -> Tensor:
        """That of the Categoricals behind them."""
        logp = self._log_probs()
        return self.ops.sum(self.ops.exp(logp) * (logp - other._log_probs()), -1)

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return int(action_space.n) if hasattr(action_space, "n") else int(np.prod(action_space.shape, dtype=np.int64))


class Dirichlet(ActionDistribution):
    """Shares that sum to one, of a `Simplex`; the concentration is the exponential of the inputs [B, n]."""

    def __init__(self, inputs: Tensor, model: Any = None, *, action_space: Any = None) -> None:
        super().__init__(inputs, model)
        shape = tuple(getattr(action_space, "shape", None) or (inputs.shape[-1],))
        self._shape = shape
        self.concentration = self.ops.reshape(
            self.ops.exp(self.ops.clip(inputs, -15.0, 15.0)) + 1e-7, (-1, *shape)
        )  # [B, ..., n]

    def _sum(self, x: Tensor) -> Tensor:
        """Over all axes but the batch's."""
        return self.ops.sum(x, tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else x

    def sample(self) -> Tensor:
        drawn = self.ops.maximum(self.ops.gamma(self.concentration, self.generator), 1e-20)
        self.last_sample = drawn / self.ops.sum(drawn, -1, True)
        return self.last_sample

    def deterministic_sample(self) -> Tensor:
        self.last_sample = self.concentration / self.ops.sum(self.concentration, -1, True)
        return self.last_sample

    def _log_normalizer(self) -> Tensor:
        lgamma = self.ops.lgamma
        return self.ops.sum(lgamma(self.concentration), -1) - lgamma(self.ops.sum(self.concentration, -1))

    def logp(self, x: Tensor) -> Tensor:
        x = self.ops.maximum(self.ops.reshape(x, (-1, *self._shape)), 1e-20)
        return self._sum(self.ops.sum((self.concentration - 1.0) * self.ops.log(x), -1) - self._log_normalizer())

    def entropy(self) -> Tensor:
        c, psi = self.concentration, self.ops.digamma
        total = self.ops.sum(c, -1)
        entropy = self._log_normalizer() + (total - c.shape[-1]) * psi(total)
        return self._sum(entropy - self.ops.sum((c - 1.0) * psi(c), -1))

    def kl(self, other: Any) -> Tensor:
        c, psi = self.concentration, self.ops.digamma
        digammas = psi(c) - psi(self.ops.sum(c, -1, True))
        kl = other._log_normalizer() - self._log_normalizer()
        return self._sum(kl + self.ops.sum((c - other.concentration) * digammas, -1))

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        return int(np.prod(action_space.shape, dtype=np.int64))


class MultiActionDistribution(ActionDistribution):
    """Independent distributions for the parts of a Dict or Tuple of actions.

    Args:
        inputs: [B, sum(input_lens)].
        model: The model.
        child_distributions: Class of each part, in the order of `flatten_space`.
        input_lens: Inputs of each part.
        action_space: The space; actions have its structure.
    """

    def __init__(
        self,
        inputs: Tensor,
        model: Any = None,
        *,
        child_distributions: Sequence[Any],
        input_lens: Sequence[int],
        action_space: Any,
    ) -> None:
        super().__init__(inputs, model)
        self.action_space_struct = get_base_struct_from_space(action_space)
        self.leaf_spaces = flatten_space(action_space)
        self.input_lens = np.ravel(input_lens).astype(int).tolist()
        parts = self.ops.split(inputs, self.input_lens, -1)
        self.flat_child_distributions = [make(part, model) for make, part in zip(child_distributions, parts)]

    def _structured(self, leaves: list[Tensor]) -> Any:
        self.last_sample = tree.unflatten_as(self.action_space_struct, leaves)
        return self.last_sample

    def sample(self) -> Any:
        return self._structured([child.sample() for child in self.flat_child_distributions])

    def deterministic_sample(self) -> Any:
        return self._structured([child.deterministic_sample() for child in self.flat_child_distributions])

    def logp(self, x: Any) -> Tensor:
        """Of actions in their structure, or flattened to one row of numbers each."""
        leaves = [
            child.logp(self._typed(leaf, space))
            for child, leaf, space in zip(self.flat_child_distributions, self._leaves(x), self.leaf_spaces)
        ]
        return self.ops.sum(self.ops.stack(leaves, 0), 0)

    def _leaves(self, x: Any) -> list[Tensor]:
        if isinstance(x, dict | tuple | list):
            return list(tree.flatten(x))
        sizes = [int(np.prod(space.shape or (), dtype=np.int64)) for space in self.leaf_spaces]
        parts = self.ops.split(x, sizes, -1)
        return [self.ops.reshape(part, (-1, *(space.shape or ()))) for part, space in zip(parts, self.leaf_spaces)]

    def _typed(self, leaf: Tensor, space: spaces.Space[Any]) -> Tensor:
        discrete = not np.issubdtype(space.dtype, np.floating)
        return self.ops.cast(leaf, "int64") if discrete else leaf

    def sampled_action_logp(self) -> Tensor:
        if self.last_sample is None:
            return super().sampled_action_logp()
        return self.ops.sum(self.ops.stack([c.sampled_action_logp() for c in self.flat_child_distributions], 0), 0)

    def multi_entropy(self) -> Tensor:
        return self.ops.stack([child.entropy() for child in self.flat_child_distributions], 1)

    def entropy(self) -> Tensor:
        return self.ops.sum(self.multi_entropy(), 1)

    def multi_kl(self, other: Any) -> Tensor:
        pairs = zip(self.flat_child_distributions, other.flat_child_distributions)
        return self.ops.stack([mine.kl(theirs) for mine, theirs in pairs], 1)

    def kl(self, other: Any) -> Tensor:
        return self.ops.sum(self.multi_kl(other), 1)

    def required_model_output_shape(self, action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:  # type: ignore[override]
        return sum(self.input_lens)
