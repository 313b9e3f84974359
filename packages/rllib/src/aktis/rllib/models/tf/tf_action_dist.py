"""Action distributions in TensorFlow 2: the classes of `aktis.rllib.models._distributions` over its operations."""

from __future__ import annotations

from typing import Any

from aktis.rllib._backend import tf_ops
from aktis.rllib.models import _distributions as d
from aktis.rllib.models.action_dist import ActionDistribution

Tensor = Any


class TFActionDistribution(ActionDistribution):
    """Base class for distributions of one's own: define `sample`, `deterministic_sample`, `logp`, `entropy` and `kl`."""

    ops = tf_ops

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        super().__init__(inputs if tf_ops.is_tensor(inputs) else tf_ops.from_numpy(inputs), model)


class Categorical(d.Categorical, TFActionDistribution):
    """One of several choices."""


class MultiCategorical(d.MultiCategorical, TFActionDistribution):
    """Several independent choices."""

    child_class = Categorical


class DiagGaussian(d.DiagGaussian, TFActionDistribution):
    """Independent normal distributions."""


class SquashedGaussian(d.SquashedGaussian, TFActionDistribution):
    """Normal distributions through tanh."""


class Beta(d.Beta, TFActionDistribution):
    """Beta distributions."""


class Deterministic(d.Deterministic, TFActionDistribution):
    """The model's output is the action."""


class GumbelSoftmax(d.GumbelSoftmax, TFActionDistribution):
    """A differentiable relaxation of a choice."""


class Dirichlet(d.Dirichlet, TFActionDistribution):
    """Shares that sum to one."""


class MultiActionDistribution(d.MultiActionDistribution, TFActionDistribution):
    """Independent distributions for the parts of a Dict or Tuple."""


def get_categorical_class_with_temperature(t: float) -> type[Categorical]:
    """The class of a Categorical with temperature ``t``."""

    class CategoricalWithTemperature(Categorical):
        def __init__(self, inputs: Tensor, model: Any = None, temperature: float = t) -> None:
            super().__init__(inputs, model, temperature)

    return CategoricalWithTemperature
