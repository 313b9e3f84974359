"""Action distributions in PyTorch: the classes of `aktis.rllib.models._distributions` over its operations."""

from __future__ import annotations

from typing import Any

import torch

from aktis.rllib._backend import torch_ops
from aktis.rllib.models import _distributions as d
from aktis.rllib.models.action_dist import ActionDistribution

Tensor = Any


class TorchDistributionWrapper(ActionDistribution):
    """Base class for distributions of one's own over one of torch.distributions: set ``self.dist`` in ``__init__``."""

    ops = torch_ops
    dist: Any

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        super().__init__(inputs if isinstance(inputs, torch.Tensor) else torch_ops.from_numpy(inputs), model)

    def sample(self) -> Tensor:
        self.last_sample = self.dist.sample()
        return self.last_sample

    def deterministic_sample(self) -> Tensor:
        self.last_sample = self.dist.mean
        return self.last_sample

    def logp(self, x: Tensor) -> Tensor:
        return self.dist.log_prob(x)

    def entropy(self) -> Tensor:
        return self.dist.entropy()

    def kl(self, other: Any) -> Tensor:
        return torch.distributions.kl.kl_divergence(self.dist, other.dist)


class TorchCategorical(d.Categorical, TorchDistributionWrapper):
    """One of several choices."""

    @property
    def dist(self) -> Any:
        """The same in torch.distributions."""
        return torch.distributions.Categorical(logits=self.inputs)


class TorchMultiCategorical(d.MultiCategorical, TorchDistributionWrapper):
    """Several independent choices."""

    child_class = TorchCategorical


class TorchDiagGaussian(d.DiagGaussian, TorchDistributionWrapper):
    """Independent normal distributions."""

    @property
    def dist(self) -> Any:
        """The same in torch.distributions."""
        return torch.distributions.Normal(self.mean, self.std)


class TorchSquashedGaussian(d.SquashedGaussian, TorchDistributionWrapper):
    """Normal distributions through tanh."""


class TorchBeta(d.Beta, TorchDistributionWrapper):
    """Beta distributions."""


class TorchDeterministic(d.Deterministic, TorchDistributionWrapper):
    """The model's output is the action."""


class TorchGumbelSoftmax(d.GumbelSoftmax, TorchDistributionWrapper):
    """A differentiable relaxation of a choice."""


class TorchDirichlet(d.Dirichlet, TorchDistributionWrapper):
    """Shares that sum to one."""


class TorchMultiActionDistribution(d.MultiActionDistribution, TorchDistributionWrapper):
    """Independent distributions for the parts of a Dict or Tuple."""


def get_torch_categorical_class_with_temperature(t: float) -> type[TorchCategorical]:
    """The class of a Categorical with temperature ``t``."""

    class TorchCategoricalWithTemperature(TorchCategorical):
        def __init__(self, inputs: Tensor, model: Any = None, temperature: float = t) -> None:
            super().__init__(inputs, model, temperature)

    return TorchCategoricalWithTemperature
