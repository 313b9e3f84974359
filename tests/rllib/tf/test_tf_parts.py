"""Layers, parts of networks and helpers in TensorFlow, against NumPy and against themselves step by step."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.tensorflow
tf = pytest.importorskip("tensorflow")

from aktis.rllib.models.catalog import MODEL_DEFAULTS  # noqa: E402
from aktis.rllib.models.tf.attention_net import AttentionWrapper, GTrXLNet  # noqa: E402
from aktis.rllib.models.tf.fcnet import FullyConnectedNetwork, Layers, append_log_std  # noqa: E402
from aktis.rllib.models.tf.gtrxl import RelativeAttention, TransformerUnit, sinusoids  # noqa: E402
from aktis.rllib.models.tf.keras_model import KerasModelV2, keras_model_class  # noqa: E402
from aktis.rllib.models.tf.misc import Conv2d, activation_function, xavier_uniform  # noqa: E402
from aktis.rllib.models.tf.recurrent_net import LSTMWrapper, add_time, steps_known, without_time  # noqa: E402
from aktis.rllib.models.tf.tf_action_dist import (  # noqa: E402
    Beta,
    Categorical,
    SquashedGaussian,
    get_categorical_class_with_temperature,
)
from aktis.rllib.models.tf.visionnet import ImageTrunk  # noqa: E402
from aktis.rllib.models.utils import get_initializer  # noqa: E402
from aktis.rllib.policy.dynamic_tf_policy import DynamicTFPolicy  # noqa: E402
from aktis.rllib.policy.dynamic_tf_policy_v2 import DynamicTFPolicyV2  # noqa: E402
from aktis.rllib.policy.eager_tf_policy import EagerTFPolicy  # noqa: E402
from aktis.rllib.policy.eager_tf_policy_v2 import LEARNER_STATS  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402
from aktis.rllib.policy.tf_mixins import GradStatsMixin, TargetNetworkMixin  # noqa: E402
from aktis.rllib.policy.tf_policy import TFPolicy  # noqa: E402
from aktis.rllib.utils import tf_utils  # noqa: E402

VECTOR = spaces.Box(-1, 1, (4,))
ACTIONS = spaces.Discrete(3)
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return tf.constant(RNG.normal(size=shape), tf.float32)


# -- layers


def test_log_deviations_are_appended_to_each_row() -> None:
    means = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    assert append_log_std(means, None) is means
    assert append_log_std(means, tf.constant([0.5, -1.0])).numpy().tolist() == [[1, 2, 0.5, -1], [3, 4, 0.5, -1]]


def test_initial_weights() -> None:
    drawn = xavier_uniform(2.0)((30, 20, 3, 3))
    bound = 2.0 * np.sqrt(6.0 / ((30 + 20) * 9))
    assert 0.98 * bound < np.abs(drawn).max() <= bound
    np.testing.assert_allclose(np.linalg.norm(get_initializer("normc", "tf2")((3, 5)), axis=1), 1.0, rtol=1e-5)
    make = Layers({"fcnet_weights_initializer": "orthogonal"})
    (hidden,) = make.stack(4, [3], ["relu"])
    np.testing.assert_allclose(hidden.weight.numpy() @ hidden.weight.numpy().T, 2 * np.eye(3), atol=1e-5)
    assert np.linalg.norm(make.head(4, 1, True).weight) == pytest.approx(0.01, rel=1e-4)
    head, log_std = Layers({}).output(4, 6, {"free_log_std": True})
    assert tuple(head.weight.shape) == (3, 4) and log_std.numpy().tolist() == [0, 0, 0]


def test_activations() -> None:
    assert activation_function("linear") is None and activation_function(tf.tanh) is tf.tanh
    x = tf.constant([-2.0, 3.0])
    for name, wanted in (
        ("relu", [0, 3]),
        ("leaky_relu", [-0.02, 3]),
        ("swish", [-2 / (1 + np.e**2), 3 / (1 + np.e**-3)]),
    ):
        np.testing.assert_allclose(activation_function(name)(x), wanted, rtol=1e-5)


def test_a_convolution_by_hand() -> None:
    layer = Conv2d(2, 3, (2, 3), (2, 1), padding=(1, 0, 0, 1), activation_fn="tanh")
    image = RNG.normal(size=(1, 3, 4, 2)).astype(np.float32)
    padded = np.pad(image[0], ((0, 1), (1, 0), (0, 0)))
    kernel = layer.conv.weight.numpy()
    want = [
        [np.tanh(np.einsum("hwc,ochw->o", padded[2 * r : 2 * r + 2, c : c + 3], kernel)) for c in range(3)]
        for r in range(2)
    ]
    np.testing.assert_allclose(layer(tf.constant(image))[0], want, rtol=1e-4, atol=1e-5)


def test_images_to_features() -> None:
    space = spaces.Box(0, 255, (6, 6, 2), np.uint8)
    trunk = ImageTrunk(space, {"conv_filters": [[3, [6, 6], 1]], "conv_activation": "tanh", "post_fcnet_hiddens": [5]})
    images = RNG.integers(0, 256, (4, 6, 6, 2)).astype(np.uint8)
    features = np.tanh(np.einsum("bhwc,ochw->bo", images / 255.0, trunk.convs[0].conv.weight.numpy()))
    want = np.maximum(features @ trunk.post[0].weight.numpy().T, 0)
    np.testing.assert_allclose(trunk(tf.constant(images)), want, rtol=1e-3, atol=1e-4)
    assert trunk.out_size == 5


# -- time


@pytest.mark.parametrize("time_major", [False, True])
def test_an_axis_of_time_comes_and_goes(time_major: bool) -> None:
    rows = tf.reshape(tf.range(12), (6, 2))
    there = add_time(rows, tf.constant([3, 2]), time_major)
    assert tuple(there.shape) == ((3, 2, 2) if time_major else (2, 3, 2))
    second = there[:, 1] if time_major else there[1]
    assert second.numpy().tolist() == rows[3:].numpy().tolist()
    assert without_time(there, time_major).numpy().tolist() == rows.numpy().tolist()
    assert tuple(add_time(rows, None, False).shape) == (6, 1, 2)
    with steps_known(2):
        assert tuple(add_time(rows, tf.constant([3, 2]), False).shape) == (3, 2, 2)


def wrapped(cls: Any, **config: Any) -> Any:
    kind = type("Wrapped", (cls,), {"wrapped_class": FullyConnectedNetwork})
    settings = {**MODEL_DEFAULTS, "fcnet_hiddens": [6], "lstm_cell_size": 5, "attention_dim": 8, **config}
    settings = {**settings, "attention_memory_inference": 3, "attention_memory_training": 3, "attention_head_dim": 4}
    return kind(VECTOR, ACTIONS, 3, settings, "m")


MODELS: list[Any] = [
    lambda: wrapped(LSTMWrapper, lstm_use_prev_action=True, lstm_use_prev_reward=True),
    lambda: wrapped(AttentionWrapper, attention_use_n_prev_actions=2, attention_use_n_prev_rewards=3),
    lambda: GTrXLNet(
        VECTOR, ACTIONS, 3, MODEL_DEFAULTS, "g", num_transformer_units=2, attention_dim=8, head_dim=4,
        memory_inference=3, memory_training=3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("make", MODELS)
def test_a_sequence_gives_what_its_steps_give_one_by_one(make: Any) -> None:
    model = make()
    steps = 5
    rows = {
        "obs": RNG.normal(size=(2 * steps, 4)).astype(np.float32),
        "prev_actions": RNG.integers(3, size=2 * steps),
        "prev_rewards": RNG.normal(size=2 * steps).astype(np.float32),
    }
    begin = [tf.constant(np.stack([s, s])) for s in model.get_initial_state()]
    whole, end = model({key: tf.constant(x) for key, x in rows.items()}, begin, tf.constant([steps, steps]))
    values, state = model.value_function(), begin
    for t in range(steps):
        at = [t, steps + t]
        out, state = model({key: tf.constant(x[at]) for key, x in rows.items()}, state, tf.constant([1, 1]))
        np.testing.assert_allclose(out, whole.numpy()[at], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(model.value_function(), values.numpy()[at], rtol=1e-3, atol=1e-5)
    for mine, theirs in zip(state, end, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5)


# -- attention


def test_sinusoids_are_those_of_the_paper() -> None:
    distance = np.array([2, 1, 0])[:, None]
    want = np.concatenate([np.sin(distance * [1, 0.01]), np.cos(distance * [1, 0.01])], axis=1)
    np.testing.assert_allclose(sinusoids(3, 4), want, atol=1e-6)


def test_attention_without_positions_is_a_softmax_over_the_window() -> None:
    layer = RelativeAttention(6, 1, 3)
    layer.position.weight.assign(tf.zeros_like(layer.position.weight))
    x, memory = normal(1, 4, 6), normal(1, 2, 6)
    got = layer(x, memory, tf.constant([[False, True]])).numpy()[0]
    both = np.concatenate([memory[0], x[0]])
    query, out = layer.query.weight.numpy(), layer.out.weight.numpy()
    key, value = np.split(layer.key_value.weight.numpy(), 2)
    for t in range(4):
        seen = both[max(t, 1) : t + 3]  # the first step of the memory is not valid
        scores = (seen @ key.T) @ (query @ both[t + 2]) / np.sqrt(3)
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(got[t], out @ (weights @ (seen @ value.T)), rtol=1e-3, atol=1e-5)


def test_a_transformer_unit_begins_as_nearly_nothing_with_a_large_bias() -> None:
    x, memory, valid = normal(2, 3, 6), normal(2, 2, 6), tf.ones((2, 2), tf.bool)
    np.testing.assert_allclose(TransformerUnit(6, 2, 3, 8, 40.0)(x, memory, valid), x, atol=1e-5)
    assert float(tf.reduce_max(tf.abs(TransformerUnit(6, 2, 3, 8, 0.0)(x, memory, valid) - x))) > 0.05


# -- distributions


def test_a_categorical_with_temperature() -> None:
    dist = get_categorical_class_with_temperature(0.5)(tf.constant([[1.0, 2.0]]))
    assert isinstance(dist, Categorical)
    assert float(dist.logp(tf.constant([1]))[0]) == pytest.approx(-0.1269, abs=1e-4)


@pytest.mark.parametrize("cls", [SquashedGaussian, Beta])
def test_bounds_may_differ_by_dimension(cls: Any) -> None:
    low, high = np.array([-1.0, -2.0]), np.array([1.0, 2.0])
    inputs, x = tf.constant([[0.3, -0.2, 0.1, -0.5]]), tf.constant([[0.5, 0.5]])
    dist = cls(inputs, None, low=low, high=high)
    each = [cls(inputs[:, i::2], None, low=low[i], high=high[i]) for i in range(2)]
    parts = [d.deterministic_sample() for d in each]
    np.testing.assert_allclose(dist.deterministic_sample(), tf.concat(parts, 1), rtol=1e-5)
    np.testing.assert_allclose(dist.logp(x), sum(d.logp(x[:, i : i + 1]) for i, d in enumerate(each)), rtol=1e-4)
    np.testing.assert_allclose(dist.entropy(), sum(d.entropy() for d in each), rtol=1e-4)


# -- models of Keras


def test_a_function_that_makes_a_model_of_keras() -> None:
    import keras

    def made(obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str) -> Any:
        inputs = keras.layers.Input(obs_space.shape)
        return keras.Model(inputs, [keras.layers.Dense(num_outputs)(inputs), keras.layers.Dense(1)(inputs)])

    cls = keras_model_class(made)
    assert issubclass(cls, KerasModelV2)
    model = cls(VECTOR, ACTIONS, 3, {}, "m")
    x = normal(2, 4)
    out, state = model({"obs": x})
    first, second = model.base_model(x)
    np.testing.assert_allclose(out, first)
    np.testing.assert_allclose(model.value_function(), second[:, 0])
    assert state == []
    with pytest.raises(TypeError, match="not 5"):
        keras_model_class(5)


# -- helpers


def test_arrays_become_tensors_and_back() -> None:
    tensors = tf_utils.convert_to_tf_tensor({"a": np.ones(2), "b": [np.arange(2)]})
    assert tensors["a"].dtype == tf.float32 and tensors["b"][0].dtype.is_integer

    @tf_utils.make_tf_callable(None)
    def function(x: Any, *, scale: Any) -> Any:
        assert tf.is_tensor(x) and tf.is_tensor(scale)
        return {"y": x * scale}

    got = function(np.array([1.0, 2.0], np.float32), scale=np.float32([3.0]))
    assert isinstance(got["y"], np.ndarray) and got["y"].tolist() == [3, 6]
    zeros = tf_utils.zero_logps_from_actions({"a": np.ones((3, 2)), "b": np.ones(3)})
    assert zeros.numpy().tolist() == [0, 0, 0] and zeros.dtype == tf.float32


def test_what_is_there() -> None:
    assert len(tf_utils.get_gpu_devices()) == len(tf.config.list_physical_devices("GPU"))
    assert tf_utils.get_tf_eager_cls_if_necessary(TFPolicy, {"framework": "tf2"}) is TFPolicy
    assert DynamicTFPolicy is EagerTFPolicy is TFPolicy and issubclass(TFPolicy, DynamicTFPolicyV2)


def test_infinite_divergences_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    ready, early = (SimpleNamespace(loss_initialized=lambda value=value: value) for value in (True, False))
    with caplog.at_level(logging.WARNING):
        tf_utils.warn_if_infinite_kl_divergence(ready, tf.constant(1.0))
        tf_utils.warn_if_infinite_kl_divergence(early, tf.constant(np.inf))
        assert not caplog.records
        tf_utils.warn_if_infinite_kl_divergence(ready, tf.constant(np.inf))
    assert "infinite" in caplog.text


def test_gradients_are_reported_and_a_target_follows() -> None:
    assert float(GradStatsMixin().grad_stats_fn({}, [tf.constant([3.0]), (tf.constant([4.0]),)])["grad_gnorm"]) == 5.0

    class Policy(TargetNetworkMixin):
        def __init__(self) -> None:
            self.config = {"tau": 0.25}
            config = {**MODEL_DEFAULTS, "fcnet_hiddens": [4]}
            self.model, self.target_model = (FullyConnectedNetwork(VECTOR, ACTIONS, 3, config) for _ in range(2))
            super().__init__()

    policy = Policy()
    pairs = list(zip(policy.q_func_vars, policy.target_q_func_vars, strict=True))
    before = [target.numpy() for _, target in pairs]
    for old, (variable, _) in zip(before, pairs, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
        variable.assign_add(tf.ones_like(variable))
    policy.update_target()
    for old, (_, target) in zip(before, pairs, strict=True):
        np.testing.assert_allclose(target.numpy(), old + 0.25, rtol=1e-4, atol=1e-6)


def test_a_policy_made_with_functions() -> None:
    from aktis.rllib.algorithms.pg import PGConfig

    config = PGConfig().framework("tf2").training(model={"fcnet_hiddens": [4]})

    def loss(policy: Any, model: Any, dist_class: Any, batch: Any) -> Any:
        out, _ = model({"obs": batch["obs"]})
        return tf.reduce_mean(tf.square(out - 1.0))

    policy = TFPolicy(VECTOR, ACTIONS, config, loss=loss, get_batch_divisibility_req=lambda policy: 2)
    assert policy.get_batch_divisibility_req() == 2
    obs = RNG.uniform(-1, 1, (8, 4)).astype(np.float32)
    batch = {"obs": obs, "actions": np.zeros(8, np.int64), "rewards": np.zeros(8, np.float32)}

    def away() -> float:
        return float(tf.reduce_mean(tf.square(policy.model({"obs": tf.constant(obs)})[0] - 1.0)))

    first = away()
    for _ in range(3):
        assert LEARNER_STATS in policy.learn_on_batch(SampleBatch(batch))
    assert away() < first


def test_a_custom_loss_that_imitates_a_file(tmp_path: Any) -> None:
    from aktis.rllib.algorithms.pg import PGConfig
    from aktis.rllib.examples.models.custom_loss_model import CustomLossModel
    from aktis.rllib.offline import JsonWriter

    obs = RNG.uniform(-1, 1, (32, 4)).astype(np.float32)
    recorded = SampleBatch(obs=obs, actions=np.full(32, 2), rewards=np.zeros(32), eps_id=np.zeros(32))
    with JsonWriter(str(tmp_path)) as writer:
        writer.write(recorded)
    model = {
        "custom_model": CustomLossModel,
        "custom_model_config": {"input_files": str(tmp_path), "imitation_coeff": 1.0},
        "fcnet_hiddens": [8],
    }
    config = PGConfig().framework("tf2", eager_tracing=True).training(model=model, lr=0.05)
    from aktis.rllib.algorithms.pg.pg_tf_policy import PGTF2Policy

    policy = PGTF2Policy(VECTOR, ACTIONS, config)
    batch = SampleBatch(obs=obs, actions=np.zeros(32, np.int64), advantages=np.zeros(32, np.float32))
    imitated = []
    for _ in range(20):
        imitated.append(float(policy.learn_on_batch(batch.copy())["model"]["imitation_loss"]))
    assert imitated[0] == pytest.approx(np.log(3), abs=0.1) and imitated[-1] < 0.3
    assert policy.compute_actions(obs, explore=False)[0].tolist() == [2] * 32
