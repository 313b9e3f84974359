"""Layers and parts of networks in PyTorch, against NumPy and against themselves step by step."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402
from aktis.rllib.models.modelv2 import DenseLayer  # noqa: E402
from aktis.rllib.models.torch.attention_net import AttentionWrapper, GTrXLNet  # noqa: E402
from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork, Layers  # noqa: E402
from aktis.rllib.models.torch.misc import AppendBiasLayer, Reshape, SlimConv2d, same_padding  # noqa: E402
from aktis.rllib.models.torch.modules.gtrxl import RelativeAttention, TransformerUnit, sinusoids  # noqa: E402
from aktis.rllib.models.torch.noop import TorchNoopModel  # noqa: E402
from aktis.rllib.models.torch.recurrent_net import LSTMWrapper, add_time, without_time  # noqa: E402
from aktis.rllib.models.torch.torch_action_dist import (  # noqa: E402
    TorchBeta,
    TorchCategorical,
    TorchDiagGaussian,
    TorchDirichlet,
    TorchMultiActionDistribution,
    TorchMultiCategorical,
    TorchSquashedGaussian,
    get_torch_categorical_class_with_temperature,
)
from aktis.rllib.models.torch.visionnet import ImageTrunk  # noqa: E402
from aktis.rllib.models.utils import get_initializer  # noqa: E402
from aktis.rllib.policy.torch_mixins import TargetNetworkMixin  # noqa: E402
from aktis.rllib.policy.torch_policy import call_with  # noqa: E402
from aktis.rllib.utils import torch_utils  # noqa: E402

VECTOR = spaces.Box(-1, 1, (4,))
ACTIONS = spaces.Discrete(3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch_utils.set_torch_seed(3)


def array(x: Any) -> Any:
    return x.detach().numpy()


# -- layers


def test_biases_are_appended_to_each_row() -> None:
    layer = AppendBiasLayer(2)
    layer.log_std.data = torch.tensor([0.5, -1.0])
    out = layer(torch.arange(6.0).reshape(2, 3))
    assert out.tolist() == [[0, 1, 2, 0.5, -1], [3, 4, 5, 0.5, -1]]
    out.sum().backward()
    assert layer.log_std.grad.tolist() == [2, 2]


def test_reshape() -> None:
    assert Reshape((-1, 2))(torch.arange(6)).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_padding_of_a_convolution_keeps_the_size() -> None:
    padding, out = same_padding((7, 10), (3, 4), 2)
    layer = SlimConv2d(1, 1, (3, 4), 2, padding, torch.nn.init.ones_, activation_fn=None)
    image = torch.rand(1, 1, 7, 10)
    got = layer(image)
    assert got.shape[2:] == out
    left, right, top, bottom = padding
    padded = np.pad(image[0, 0].numpy(), ((top, bottom), (left, right)))
    want = [[padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 4].sum() for c in range(out[1])] for r in range(out[0])]
    np.testing.assert_allclose(array(got)[0, 0], want, rtol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_to_features(kind: Any) -> None:
    space = spaces.Box(0, 255, (6, 6, 2), kind)
    config = {"conv_filters": [[3, [6, 6], 1]], "conv_activation": "tanh", "post_fcnet_hiddens": [5]}
    trunk = ImageTrunk(space, config)
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 2)).astype(kind)
    seen = images / 255.0 if kind is np.uint8 else images / 1.0
    kernel, bias = array(trunk.convs[0].conv.weight), array(trunk.convs[0].conv.bias)
    features = np.tanh(np.einsum("bhwc,ochw->bo", seen, kernel) + bias)
    want = np.maximum(features @ array(trunk.post[0].weight).T + array(trunk.post[0].bias), 0)
    np.testing.assert_allclose(array(trunk(torch.as_tensor(images))), want, rtol=1e-3, atol=1e-4)
    assert trunk.out_size == 5
    assert ImageTrunk(space, config, with_post=False).out_size == 3


def test_layers_as_the_configuration_says() -> None:
    make = Layers({"fcnet_weights_initializer": "orthogonal"})
    (hidden,) = make.stack(4, [3], ["relu"])
    np.testing.assert_allclose(array(hidden.weight @ hidden.weight.T), 2 * np.eye(3), atol=1e-5)
    for policy, length in ((True, 0.01), (False, 1.0)):
        assert float(make.head(4, 1, policy).weight.detach().norm()) == pytest.approx(length, rel=1e-4)
    normed = Layers({}).stack(4, [3], ["relu"])[0].weight
    np.testing.assert_allclose(array(normed.norm(dim=1)), 1.0, rtol=1e-5)
    head, log_std = Layers({}).output(4, 6, {"free_log_std": True})
    assert head.weight.shape == (3, 4) and log_std.tolist() == [0, 0, 0]
    head, log_std = Layers({}).output(4, 6, {})
    assert head.weight.shape == (6, 4) and log_std is None
    assert Layers({}).output(4, None, {}) == (None, None)


def test_initializers_by_name() -> None:
    weights = torch.empty(3, 5)
    get_initializer("normc")(weights)
    np.testing.assert_allclose(array(weights.norm(dim=1)), 1.0, rtol=1e-5)
    get_initializer("zeros_")(weights)
    assert not weights.any()
    with pytest.raises(ValueError, match="zeroes"):
        get_initializer("zeroes")


def test_dense_layers_are_what_the_network_computes() -> None:
    config = {**MODEL_DEFAULTS, "fcnet_hiddens": [5], "fcnet_activation": "tanh"}
    model = FullyConnectedNetwork(VECTOR, ACTIONS, 3, config)
    network = model.layers()
    first, second = network.trunk + network.policy
    assert isinstance(first, DenseLayer) and (first.activation, second.activation) == ("tanh", "linear")
    x = torch.randn(2, 4)
    by_hand = torch.tanh(x @ first.weight.T + first.bias) @ second.weight.T + second.bias
    np.testing.assert_allclose(array(model({"obs": x})[0]), array(by_hand), rtol=1e-5, atol=1e-7)


# -- time


@pytest.mark.parametrize("time_major", [False, True])
def test_an_axis_of_time_comes_and_goes(time_major: bool) -> None:
    rows = torch.arange(12).reshape(6, 2)
    there = add_time(rows, torch.tensor([3, 2]), time_major)
    assert there.shape == ((3, 2, 2) if time_major else (2, 3, 2))
    second = there[:, 1] if time_major else there[1]
    assert second.tolist() == rows[3:].tolist()
    assert without_time(there, time_major).tolist() == rows.tolist()
    assert add_time(rows, None, False).shape == (6, 1, 2)


def wrapped(cls: Any, **config: Any) -> Any:
    kind = type("Wrapped", (cls,), {"wrapped_class": FullyConnectedNetwork})
    settings = {**MODEL_DEFAULTS, "fcnet_hiddens": [6], "lstm_cell_size": 5, "attention_dim": 8, **config}
    settings = {**settings, "attention_memory_inference": 3, "attention_memory_training": 3, "attention_head_dim": 4}
    return kind(VECTOR, ACTIONS, 3, settings, "m")


MODELS: list[Any] = [
    lambda: wrapped(LSTMWrapper),
    lambda: wrapped(LSTMWrapper, lstm_use_prev_action=True, lstm_use_prev_reward=True),
    lambda: wrapped(AttentionWrapper),
    lambda: wrapped(AttentionWrapper, attention_use_n_prev_actions=2, attention_use_n_prev_rewards=3),
    lambda: GTrXLNet(
        VECTOR, ACTIONS, 3, MODEL_DEFAULTS, "g", num_transformer_units=2, attention_dim=8, head_dim=4,
        memory_inference=3, memory_training=3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("make", MODELS)
def test_a_sequence_gives_what_its_steps_give_one_by_one(make: Any) -> None:
    model = make()
    steps = 6
    rows = {
        "obs": torch.randn(2 * steps, 4),
        "prev_actions": torch.randint(3, (2 * steps,)),
        "prev_rewards": torch.randn(2 * steps),
    }
    begin = [torch.as_tensor(s)[None].repeat(2, *([1] * s.ndim)) for s in model.get_initial_state()]
    whole, end = model(dict(rows), begin, torch.tensor([steps, steps]))
    values = model.value_function()
    assert whole.shape == (2 * steps, 3) and values.shape == (2 * steps,)
    state = begin
    for t in range(steps):
        at = [t, steps + t]
        out, state = model({key: x[at] for key, x in rows.items()}, state, torch.tensor([1, 1]))
        np.testing.assert_allclose(array(out), array(whole[at]), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(array(model.value_function()), array(values[at]), rtol=1e-3, atol=1e-5)
    for mine, theirs in zip(state, end, strict=True):
        np.testing.assert_allclose(array(mine), array(theirs), rtol=1e-3, atol=1e-5)


def test_a_model_that_does_nothing() -> None:
    model = TorchNoopModel(VECTOR, ACTIONS, 4, MODEL_DEFAULTS, "noop")
    obs = np.arange(8).reshape(2, 4)
    out, state = model({"obs": torch.as_tensor(obs)})
    assert out.dtype == torch.float32 and out.tolist() == obs.tolist() and state == []
    assert list(model.parameters()) == []


# -- attention


def test_sinusoids_are_those_of_the_paper() -> None:
    distance = np.array([2, 1, 0])[:, None]  # what RLlib's RelativePositionEmbedding(4) gives for three steps
    want = np.concatenate([np.sin(distance * [1, 0.01]), np.cos(distance * [1, 0.01])], axis=1)
    np.testing.assert_allclose(array(sinusoids(3, 4)), want, atol=1e-6)
    assert sinusoids(3, 5).shape == (3, 5)


def test_relative_attention_by_hand() -> None:
    width, heads, size, memory, steps = 6, 2, 3, 2, 4
    layer = RelativeAttention(width, heads, size)
    torch.nn.init.normal_(layer.content_bias)
    torch.nn.init.normal_(layer.position_bias)
    x, past = torch.randn(1, steps, width), torch.randn(1, memory, width)
    valid = torch.tensor([[False, True]])
    got = array(layer(x, past, valid))[0]
    x, past = x[0].numpy(), past[0].numpy()
    weights = {name: array(getattr(layer, name).weight) for name in ("query", "key_value", "position", "out")}
    u, v = array(layer.content_bias), array(layer.position_bias)
    both = np.concatenate([past, x])
    known = [False, True] + [True] * steps
    encodings = array(sinusoids(memory + 1, width))
    for t in range(steps):
        parts = []
        for h in range(heads):
            of_head = slice(h * size, (h + 1) * size)
            query = (weights["query"] @ x[t])[of_head]
            seen = [j for j in range(t, t + memory + 1) if known[j]]
            keys = [(weights["key_value"] @ both[j])[: heads * size][of_head] for j in seen]
            values = [(weights["key_value"] @ both[j])[heads * size :][of_head] for j in seen]
            places = [(weights["position"] @ encodings[j - t])[of_head] for j in seen]
            scores = [(query + u[h]) @ k + (query + v[h]) @ p for k, p in zip(keys, places, strict=True)]
            e = np.exp(np.array(scores) / np.sqrt(size))
            parts.append((e / e.sum()) @ np.array(values))
        np.testing.assert_allclose(got[t], weights["out"] @ np.concatenate(parts), rtol=1e-4, atol=1e-5)


def test_a_transformer_unit_begins_as_nearly_nothing_with_a_large_bias() -> None:
    """Section 3.2: the bias of the gates makes the unit pass on what comes in at first."""
    x, memory = torch.randn(2, 3, 6), torch.randn(2, 2, 6)
    valid = torch.ones(2, 2, dtype=torch.bool)
    shut = TransformerUnit(6, 2, 3, 8, gate_bias=40.0)
    np.testing.assert_allclose(array(shut(x, memory, valid)), array(x), atol=1e-5)
    unit = TransformerUnit(6, 2, 3, 8, gate_bias=0.0)
    out = unit(x, memory, valid)
    assert float((out - x).detach().abs().max()) > 0.05
    later = x.clone()
    later[:, 2] += 1.0
    np.testing.assert_allclose(array(unit(later, memory, valid)[:, :2]), array(out[:, :2]), atol=1e-6)


# -- distributions: numbers of RLlib 2.3


def test_a_categorical_with_temperature() -> None:
    dist = get_torch_categorical_class_with_temperature(0.5)(torch.tensor([[1.0, 2.0]]))
    assert isinstance(dist, TorchCategorical)
    assert float(dist.logp(torch.tensor([1]))) == pytest.approx(-0.1269, abs=1e-4)


def test_several_choices() -> None:
    dist = TorchMultiCategorical(torch.tensor([[0.0, 1.0, 0.5, 0.0, 2.0]]), None, [2, 3])
    assert dist.deterministic_sample().tolist() == [[1, 2]]
    np.testing.assert_allclose(dist.multi_entropy(), [[0.5822, 0.7520]], atol=1e-4)
    assert float(dist.logp(torch.tensor([[1, 0]]))) == pytest.approx(-2.1196, abs=1e-4)


def test_actions_of_several_parts() -> None:
    space = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (1,)))
    dist = TorchMultiActionDistribution(
        torch.tensor([[0.0, 1.0, 0.5, 0.0]]),
        None,
        child_distributions=[TorchCategorical, TorchDiagGaussian],
        input_lens=[2, 2],
        action_space=space,
    )
    action = dist.deterministic_sample()
    assert action["a"].tolist() == [1] and action["b"].tolist() == [[0.5]]
    assert float(dist.sampled_action_logp()) == pytest.approx(-1.2322, abs=1e-4)
    assert float(dist.entropy()) == pytest.approx(2.0011, abs=1e-4)
    structured = {"a": torch.tensor([0]), "b": torch.tensor([[0.1]])}
    for x in (structured, torch.tensor([[0.0, 0.1]])):
        assert float(dist.logp(x)) == pytest.approx(-2.3122, abs=1e-4)
    assert dist.required_model_output_shape(space, {}) == 4


def test_shares() -> None:
    inputs = torch.tensor([[0.0, 1.0]])
    dist = TorchDirichlet(inputs)
    wanted = torch.distributions.Dirichlet(torch.exp(inputs))
    np.testing.assert_allclose(dist.entropy(), wanted.entropy(), rtol=1e-4)
    np.testing.assert_allclose(dist.deterministic_sample(), wanted.mean, rtol=1e-4)
    shares = torch.tensor([[0.25, 0.75]])
    np.testing.assert_allclose(dist.logp(shares), wanted.log_prob(shares), rtol=1e-4)
    other = torch.distributions.Dirichlet(torch.exp(torch.ones(1, 2)))
    kl = torch.distributions.kl.kl_divergence(wanted, other)
    np.testing.assert_allclose(dist.kl(TorchDirichlet(torch.ones(1, 2))), kl, rtol=1e-4)
    assert float(dist.sample().sum()) == pytest.approx(1.0)


def test_bounds_may_differ_by_dimension() -> None:
    low, high = np.array([-1.0, -2.0], np.float32), np.array([1.0, 2.0], np.float32)
    inputs = torch.tensor([[0.3, -0.2, 0.1, -0.5]])
    dist = TorchSquashedGaussian(inputs, None, low=low, high=high)
    np.testing.assert_allclose(dist.deterministic_sample(), np.tanh([[0.3, -0.2]]) * high, rtol=1e-5)
    x = torch.tensor([[0.5, 0.5]])
    each = [TorchSquashedGaussian(inputs[:, i::2], None, low=float(low[i]), high=float(high[i])) for i in range(2)]
    np.testing.assert_allclose(dist.logp(x), sum(d.logp(x[:, i : i + 1]) for i, d in enumerate(each)), rtol=1e-4)
    np.testing.assert_allclose(dist.entropy(), sum(d.entropy() for d in each), rtol=1e-4)
    with pytest.raises(ValueError, match="below the upper one"):
        TorchSquashedGaussian(inputs, None, low=high, high=low)
    beta = TorchBeta(torch.zeros(1, 4), None, low=low, high=high)
    np.testing.assert_allclose(beta.deterministic_sample(), [[0.0, 0.0]], atol=1e-6)
    parts = [TorchBeta(torch.zeros(1, 2), None, low=float(low[i]), high=float(high[i])) for i in range(2)]
    np.testing.assert_allclose(beta.logp(x), sum(d.logp(x[:, i : i + 1]) for i, d in enumerate(parts)), rtol=1e-4)


# -- helpers of policies


def test_masked_numbers_stand_for_infinity() -> None:
    low, high = torch.tensor(torch_utils.FLOAT_MIN), torch.tensor(torch_utils.FLOAT_MAX)
    assert torch.isfinite(low) and torch.isfinite(high) and torch.isinf(high * 2)
    logits = torch.stack([low, torch.tensor(1.0)])
    assert torch.softmax(logits, 0).tolist() == [0.0, 1.0]
    assert torch.isfinite(logits + 1e5).all()


def test_seeds() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch_utils.set_torch_seed(seed)
        drawn.append(float(torch.rand(())))
    assert drawn[0] == drawn[1] != drawn[2]
    torch_utils.set_torch_seed(None)  # leaves the generator as it is
    assert float(torch.rand(())) not in drawn


def test_errors_of_all_towers() -> None:
    towers = [torch.tensor([1.0, 2.0]), torch.tensor([[6.0]])]
    policy = SimpleNamespace(get_tower_stats=lambda name: towers if name == "td_error" else [])
    found = torch_utils.concat_multi_gpu_td_errors(policy)
    assert found["td_error"].tolist() == [1.0, 2.0, 6.0] and float(found["mean_td_error"]) == 3.0


def test_infinite_divergences_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    ready, early = (SimpleNamespace(loss_initialized=lambda value=value: value) for value in (True, False))
    with caplog.at_level(logging.WARNING):
        torch_utils.warn_if_infinite_kl_divergence(ready, torch.tensor(1.0))
        torch_utils.warn_if_infinite_kl_divergence(early, torch.tensor(float("inf")))
        assert not caplog.records
        torch_utils.warn_if_infinite_kl_divergence(ready, torch.tensor(float("inf")))
    assert "infinite" in caplog.text


def test_functions_are_called_with_what_they_take() -> None:
    given: Any = ("policy", "model", "obs", ["s"], {"explore": True, "timestep": 3})
    functions: list[Any] = [
        lambda policy, model, obs_batch, explore: (obs_batch, explore),
        lambda policy, model, observations, *, explore: (observations, explore),
        lambda policy, model, input_dict, explore=False: (input_dict, explore),
        lambda policy, model, input_dict, **kwargs: (input_dict, kwargs["explore"]),
        lambda policy, model, obs_batch, **kwargs: (obs_batch, kwargs["explore"]),
        lambda policy, model, observations, **kwargs: (observations, kwargs["explore"]),
        lambda policy, model, **kwargs: (kwargs["obs_batch"], kwargs["explore"]),
    ]
    for function in functions:
        assert call_with(function, *given) == ("obs", True)


def test_a_target_follows() -> None:
    class Base:
        def set_weights(self, weights: Any) -> None:
            self.model.load_state_dict(weights)

    class Policy(TargetNetworkMixin, Base):
        def __init__(self) -> None:
            self.config = {"tau": 0.25}
            self.model, self.target_model = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
            TargetNetworkMixin.__init__(self)

    policy = Policy()
    assert policy.model.weight.tolist() == policy.target_model.weight.tolist()
    old = array(policy.target_model.weight).copy()
    policy.model.weight.data += 1.0
    policy.update_target()
    np.testing.assert_allclose(array(policy.target_model.weight), old + 0.25, rtol=1e-5)
    policy.update_target(tau=1.0)
    np.testing.assert_allclose(array(policy.target_model.weight), old + 1.0, rtol=1e-5)
    policy.set_weights({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
    assert policy.target_model.weight.tolist() == [[1.0, 1.0]]


def test_a_critic_that_sees_both_agents() -> None:
    from aktis.rllib.examples.models.centralized_critic_models import YetAnotherTorchCentralizedCriticModel

    space = spaces.Dict(own_obs=spaces.Discrete(3), opponent_obs=spaces.Discrete(3), opponent_action=ACTIONS)
    preprocessor = ModelCatalog.get_preprocessor_for_space(space)
    config = {**MODEL_DEFAULTS, "fcnet_hiddens": [8]}
    model = YetAnotherTorchCentralizedCriticModel(preprocessor.observation_space, ACTIONS, 3, config, "m")

    def evaluated(**obs: int) -> tuple[list[float], float]:
        out, _ = model({"obs": torch.as_tensor(preprocessor.transform(obs))[None]})
        return out[0].tolist(), float(model.value_function()[0])

    first, value = evaluated(own_obs=1, opponent_obs=0, opponent_action=2)
    same, other_value = evaluated(own_obs=1, opponent_obs=2, opponent_action=0)
    other, _ = evaluated(own_obs=0, opponent_obs=0, opponent_action=2)
    assert first == same != other and value != other_value
