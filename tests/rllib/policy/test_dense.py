"""Small networks in NumPy: derivatives against differences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from aktis.rllib.policy._neural.dense import DenseNet
from aktis.rllib.policy._neural.dense_training import FlatAdam
from aktis.rllib.policy._neural.numpy_dists import NumpyCategorical, NumpyDeterministic, NumpyDiagGaussian


class Layer(NamedTuple):
    weight: Any
    bias: Any
    activation: str


class Network(NamedTuple):
    trunk: list[Layer]
    policy: list[Layer]
    value: list[Layer]
    log_std: Any = None


RNG = np.random.default_rng(0)


def layer(n: int, m: int, activation: str = "linear") -> Layer:
    return Layer(RNG.normal(size=(m, n)).astype(np.float32), RNG.normal(size=m).astype(np.float32), activation)


def two(activation: str) -> Network:
    def own(out: int) -> list[Layer]:
        return [layer(3, 5, activation), layer(5, 5, activation), layer(5, out)]

    return Network([], own(2), own(1))


NETWORKS = {
    "two networks, tanh": two("tanh"),
    "two networks, relu": two("relu"),
    "shared layers": Network([layer(3, 5, "tanh")], [layer(5, 2)], [layer(5, 1)]),
    "linear": Network([], [layer(3, 2)], [layer(3, 1)]),
    "standard deviations": Network(
        [layer(3, 4, "tanh")], [layer(4, 2)], [layer(4, 1)], np.array([0.1, -0.3], np.float32)
    ),
}


def loaded(network: Network) -> DenseNet:
    net = DenseNet(network)
    net.load([piece.parameter for piece in net.pieces])
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_is_layer_after_layer(name: str) -> None:
    network = NETWORKS[name]
    x = RNG.normal(size=(7, 3)).astype(np.float32)

    def run(layers: list[Layer], h: Any) -> Any:
        for weight, bias, activation in layers:
            h = h @ weight.T + bias
            h = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "linear": lambda z: z}[activation](h)
        return h

    h = run(network.trunk, x)
    outputs, values = loaded(network).forward(x)
    expected = run(network.policy, h)
    if network.log_std is not None:
        expected = np.concatenate([expected, np.tile(network.log_std, (7, 1))], axis=1)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values, run(network.value, h)[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_backward_agrees_with_differences(name: str) -> None:
    net = loaded(NETWORKS[name])
    x = RNG.normal(size=(6, 3)).astype(np.float32)
    outputs, values = net.forward(x, keep=True)
    by_outputs, by_values = RNG.normal(size=outputs.shape), RNG.normal(size=values.shape)
    gradient = net.backward(by_outputs.astype(np.float32), by_values.astype(np.float32)).copy()

    def loss() -> float:
        o, v = net.forward(x)
        return float((o * by_outputs).sum() + (v * by_values).sum())

    for i in RNG.choice(len(net.flat), size=min(25, len(net.flat)), replace=False):
        kept, step = net.flat[i], 1e-2
        net.flat[i] = kept + step
        above = loss()
        net.flat[i] = kept - step
        below = loss()
        net.flat[i] = kept
        assert gradient[i] == pytest.approx((above - below) / (2 * step), rel=0.05, abs=0.05)


@pytest.mark.parametrize(
    "network",
    [
        Network([], [layer(3, 5, "sigmoid"), layer(5, 2)], [layer(3, 5, "sigmoid"), layer(5, 1)]),
        Network([], [layer(3, 5, "tanh"), layer(5, 2)], [layer(3, 4, "tanh"), layer(4, 1)]),
        Network([], [layer(3, 2, "tanh")], [layer(3, 1)]),
        Network([], [layer(3, 5, "tanh"), layer(5, 2)], [layer(3, 1)]),
        Network([], [], [layer(3, 1)]),
    ],
)
def test_other_networks_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match=r".+"):
        DenseNet(network)


@pytest.mark.parametrize("kind", [NumpyCategorical, NumpyDiagGaussian])
def test_derivatives_of_distributions_agree_with_differences(kind: Any) -> None:
    inputs, before = (RNG.normal(size=(5, 4)) for _ in range(2))
    old = kind(before)
    actions = RNG.integers(4, size=5) if kind is NumpyCategorical else RNG.normal(size=(5, 2))
    g = RNG.normal(size=5)
    quantities = {
        "logp": (lambda d: d.logp(actions), kind(inputs).d_logp(actions, g)),
        "entropy": (lambda d: d.entropy(), kind(inputs).d_entropy(g)),
        "kl": (lambda d: d.kl_from(old), kind(inputs).d_kl_from(old, g)),
    }
    for name, (quantity, derivative) in quantities.items():
        for i, j in np.ndindex(*inputs.shape):
            up, down = inputs.copy(), inputs.copy()
            up[i, j] += 1e-5
            down[i, j] -= 1e-5
            difference = ((quantity(kind(up)) - quantity(kind(down))) * g).sum() / 2e-5
            assert derivative[i, j] == pytest.approx(difference, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("choices", [2, 5])
def test_samples_are_as_likely_as_they_should_be(choices: int) -> None:
    logits = np.linspace(-1, 1, choices).astype(np.float32)
    dist = NumpyCategorical(np.tile(logits, (20_000, 1)))
    drawn = dist.sample(np.random.default_rng(0))
    assert drawn.dtype == np.int64
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, dist.p_BA[0], atol=0.015)
    assert set(dist.deterministic_sample()) == {choices - 1}


def test_samples_of_a_gaussian_and_of_what_is_certain() -> None:
    inputs = np.tile(np.array([1.0, -2.0, 0.0, -1.0], np.float32), (20_000, 1))
    drawn = NumpyDiagGaussian(inputs).sample(np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(0), [1, -2], atol=0.03)
    np.testing.assert_allclose(drawn.std(0), np.exp([0, -1]), atol=0.03)
    np.testing.assert_array_equal(NumpyDeterministic(inputs).sample(np.random.default_rng(0)), inputs)


def test_adam_is_that_of_the_paper() -> None:
    network = NETWORKS["linear"]
    net = loaded(network)
    adam = FlatAdam(net.pieces, net.flat, lr=0.01, eps=1e-5)
    expected = net.flat.astype(np.float64)
    m = v = np.zeros(len(expected))
    for t in range(1, 6):
        g = RNG.normal(size=len(expected))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected = expected - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-5)
        adam.step(g.astype(np.float32))
    np.testing.assert_allclose(net.flat, expected, rtol=1e-5, atol=1e-6)
    other = FlatAdam(net.pieces, net.flat, lr=0.01)
    assert other.state_of() == []
    other.load_state_of(adam.state_of())
    np.testing.assert_array_equal(other.first, adam.first)
    assert other.steps == 5
    with pytest.raises(ValueError, match="arrays"):
        other.load_state_of([np.zeros(1)])
