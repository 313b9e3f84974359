"""Parameters, gradients and optimizers of the PyTorch backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from aktis.rllib._backend import torch_ops as ops  # noqa: E402


def net(seed: int = 0) -> Any:
    with ops.seeded(seed):
        return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def test_weights_are_the_same_for_the_same_seed_and_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = net(1), net(1), net(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a[0].weight, b[0].weight)
    assert not torch.equal(a[0].weight, c[0].weight)


def test_arrays_of_a_model_go_back_into_it() -> None:
    a, b = net(1), net(2)
    ops.load_arrays(b, ops.named_arrays(a))
    assert torch.equal(a[2].bias, b[2].bias)
    kept = ops.named_arrays(a)
    with torch.no_grad():
        a[0].weight.add_(1.0)
    assert not np.array_equal(kept["0.weight"], a[0].weight.detach().numpy()), "a copy of its own"


def test_arrays_of_another_model_are_refused_by_name() -> None:
    model = net()
    arrays = ops.named_arrays(model)
    with pytest.raises(ValueError, match=r"missing \['0.weight'\]"):
        ops.load_arrays(model, {k: v for k, v in arrays.items() if k != "0.weight"})
    with pytest.raises(ValueError, match="'0.weight' has the shape"):
        ops.load_arrays(model, {**arrays, "0.weight": np.zeros((4, 4))})


def test_copying_parameters_moves_a_target_by_tau() -> None:
    src, dst = net(1), net(2)
    expected = 0.25 * src[0].weight.detach() + 0.75 * dst[0].weight.detach()
    ops.copy_params(src, dst, 0.25)
    torch.testing.assert_close(dst[0].weight.detach(), expected)
    ops.copy_params(src, dst)
    assert torch.equal(src[2].weight, dst[2].weight)


def test_gradients_are_zero_where_a_loss_does_not_depend_on_a_parameter() -> None:
    model, other = net(), torch.nn.Parameter(torch.ones(2))
    grads = ops.gradients(model(torch.ones(5, 3)).sum(), [*ops.parameters(model), other])
    assert torch.equal(grads[-1], torch.zeros(2))
    assert grads[0].abs().sum() > 0


@pytest.mark.parametrize("make", [ops.adam, ops.rmsprop, lambda p, lr: ops.sgd(p, lr, momentum=0.9)])
def test_an_optimizer_goes_on_where_another_was(make: Any) -> None:
    models = [net(1), net(1)]
    optimizers = [make(ops.parameters(m), lr=0.01) for m in models]
    x = torch.linspace(-1, 1, 12).reshape(4, 3)

    def step(i: int) -> None:
        loss = models[i](x).square().sum()
        ops.apply_gradients(optimizers[i], ops.parameters(models[i]), ops.gradients(loss, ops.parameters(models[i])))

    assert ops.optimizer_state(optimizers[0]) == []
    step(0)
    step(0)
    ops.load_arrays(models[1], ops.named_arrays(models[0]))
    ops.load_optimizer_state(optimizers[1], ops.optimizer_state(optimizers[0]))
    step(0)
    step(1)
    assert torch.equal(models[0][0].weight, models[1][0].weight)
    ops.set_lr(optimizers[0], 0.0)
    before = models[0][0].weight.clone()
    step(0)
    assert torch.equal(before, models[0][0].weight)
    with pytest.raises(ValueError, match="arrays"):
        ops.load_optimizer_state(optimizers[0], [np.zeros(1)])
