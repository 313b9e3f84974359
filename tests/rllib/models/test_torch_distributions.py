"""Action distributions in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from tests.rllib.models.distribution_checks import Checks  # noqa: E402

from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402
from aktis.rllib.models.torch import torch_action_dist  # noqa: E402


class TestTorchDistributions(Checks):
    framework = "torch"

    def tensor(self, x: Any) -> Any:
        return torch.as_tensor(x)

    def array(self, x: Any) -> Any:
        return x.detach().numpy()


def test_gumbel_softmax_is_that_of_torch() -> None:
    logits, x = torch.randn(4, 3), torch.softmax(torch.randn(4, 3), -1)
    want = torch.distributions.RelaxedOneHotCategorical(torch.tensor(0.6), logits=logits).log_prob(x)
    torch.testing.assert_close(
        torch_action_dist.TorchGumbelSoftmax(logits, None, 0.6).logp(x), want, rtol=1e-4, atol=1e-4
    )


def test_samples_of_gaussian_squashed_and_beta_have_gradients() -> None:
    for cls in (
        torch_action_dist.TorchDiagGaussian,
        torch_action_dist.TorchSquashedGaussian,
        torch_action_dist.TorchBeta,
    ):
        inputs = torch.randn(3, 4, requires_grad=True)
        cls(inputs, None).sample().sum().backward()
        assert inputs.grad is not None and torch.isfinite(inputs.grad).all() and inputs.grad.abs().sum() > 0


def test_the_same_in_torch_distributions() -> None:
    dist = torch_action_dist.TorchCategorical(torch.tensor([[1.0, 2.0]]))
    torch.testing.assert_close(dist.dist.entropy(), dist.entropy())
    gaussian = torch_action_dist.TorchDiagGaussian(torch.zeros(1, 4))
    torch.testing.assert_close(gaussian.dist.entropy().sum(1), gaussian.entropy())


class _Laplace(torch_action_dist.TorchDistributionWrapper):
    """A distribution as users write it."""

    def __init__(self, inputs: Any, model: Any = None) -> None:
        super().__init__(inputs, model)
        self.dist = torch.distributions.Independent(
            torch.distributions.Laplace(self.inputs, torch.ones_like(self.inputs)), 1
        )

    @staticmethod
    def required_model_output_shape(action_space: Any, model_config: Any) -> int:
        return int(np.prod(action_space.shape))


def test_a_distribution_of_ones_own() -> None:
    from gymnasium import spaces

    ModelCatalog.register_custom_action_dist("laplace", _Laplace)
    config = {**MODEL_DEFAULTS, "custom_action_dist": "laplace"}
    made, size = ModelCatalog.get_action_dist(spaces.Box(-1, 1, (3,)), config)
    assert (made, size) == (_Laplace, 3)
    dist = made(np.zeros((2, 3), np.float32))
    action = dist.sample()
    torch.testing.assert_close(dist.sampled_action_logp(), dist.logp(action))
    assert dist.entropy().shape == dist.kl(made(torch.ones(2, 3))).shape == (2,)
    assert dist.deterministic_sample().tolist() == [[0.0] * 3] * 2
    with pytest.raises(ValueError, match=r"'laplac'.*Did you mean 'laplace'"):
        ModelCatalog.get_action_dist(spaces.Box(-1, 1, (3,)), {**MODEL_DEFAULTS, "custom_action_dist": "laplac"})
