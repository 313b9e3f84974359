"""Networks in TensorFlow 2: what they compute, their variables, and models of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.tensorflow
tf = pytest.importorskip("tensorflow")
import keras  # noqa: E402

from aktis.rllib._backend import tf_ops  # noqa: E402
from aktis.rllib.examples.models.action_mask_model import ActionMaskModel  # noqa: E402
from aktis.rllib.examples.models.rnn_model import RNNModel  # noqa: E402
from aktis.rllib.examples.models.shared_weights_model import SharedWeightsModel, TF2SharedWeightsModel  # noqa: E402
from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402
from aktis.rllib.models.tf.layers.noisy_layer import NoisyLayer  # noqa: E402
from aktis.rllib.models.tf.misc import Dense, initializer, normc_initializer  # noqa: E402
from aktis.rllib.models.tf.recurrent_net import RecurrentNetwork  # noqa: E402
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2  # noqa: E402

VECTOR = spaces.Box(-1, 1, (4,))
IMAGE = spaces.Box(0, 255, (42, 42, 1), np.uint8)
PARTS = spaces.Dict(camera=IMAGE, mode=spaces.Discrete(3), grid=spaces.Box(-1, 1, (2, 2)))
ACTIONS = spaces.Dict(move=spaces.Discrete(2), push=spaces.Box(-1, 1, (2,)))
SMALL = {"fcnet_hiddens": [8], "post_fcnet_hiddens": [8], "conv_filters": [[4, 8, 8], [8, 4, 4]]}


def make(obs_space: Any, action_space: Any = ACTIONS, framework: str = "tf2", **config: Any) -> Any:
    _, size = ModelCatalog.get_action_dist(action_space, MODEL_DEFAULTS, framework=framework)
    preprocessor = ModelCatalog.get_preprocessor_for_space(obs_space, config)
    return ModelCatalog.get_model_v2(preprocessor.observation_space, action_space, size, config, framework)


def observe(obs_space: Any, rows: int) -> Any:
    obs_space.seed(3)
    preprocessor = ModelCatalog.get_preprocessor_for_space(obs_space)
    return np.stack([preprocessor.transform(obs_space.sample()) for _ in range(rows)])


MEMORY: list[dict[str, Any]] = [
    {},
    {"vf_share_layers": False, "free_log_std": True},
    {"use_lstm": True, "lstm_cell_size": 6, "lstm_use_prev_action": True, "lstm_use_prev_reward": True},
    {"use_lstm": True, "lstm_cell_size": 6, "_time_major": True},
    {
        "use_attention": True,
        "attention_use_n_prev_actions": 2,
        "attention_use_n_prev_rewards": 3,
        "attention_num_transformer_units": 2,
        "attention_memory_inference": 3,
        "attention_dim": 8,
        "attention_num_heads": 2,
    },
]


@pytest.mark.parametrize("config", MEMORY, ids=["shared", "own", "lstm", "time major", "attention"])
@pytest.mark.parametrize("obs_space", [VECTOR, IMAGE, PARTS], ids=["vector", "image", "dict"])
def test_sequences_give_what_single_steps_give(obs_space: Any, config: dict[str, Any]) -> None:
    model = make(obs_space, **{**SMALL, **config})
    sequences, steps = 2, 5
    rng = np.random.default_rng(0)
    actions = rng.uniform(size=(10, 3)).astype(np.float32)
    actions[:, 0] = rng.integers(0, 2, 10)
    batch = {
        "obs": observe(obs_space, 10),
        "prev_actions": actions,
        "prev_rewards": rng.normal(size=10).astype(np.float32),
    }
    batch = {key: tf.convert_to_tensor(column) for key, column in batch.items()}
    state = [tf.repeat(s[None], sequences, 0) for s in model.get_initial_state()]
    with tf.GradientTape() as tape:
        out, after = model(batch, state, tf.constant([steps] * sequences) if state else None)
        value = model.value_function()
        total = tf.reduce_sum(out**2) + tf.reduce_sum(value**2)
    assert out.shape == (10, 6) and value.shape == (10,)
    variables = model.trainable_variables(as_dict=True)
    gradients = tape.gradient(total, list(variables.values()))
    assert [name for name, g in zip(variables, gradients) if g is None] == []
    for step in range(steps):
        one = {k: tf.reshape(c, (sequences, steps, *c.shape[1:]))[:, step] for k, c in batch.items()}
        got, state = model(one, state, tf.constant([1] * sequences) if state else None)
        np.testing.assert_allclose(got, tf.reshape(out, (sequences, steps, -1))[:, step], atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(
            model.value_function(), tf.reshape(value, (sequences, steps))[:, step], atol=1e-5, rtol=1e-4
        )
    for one_state, other in zip(state, after):
        np.testing.assert_allclose(one_state, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", MEMORY, ids=["shared", "own", "lstm", "time major", "attention"])
def test_weights_of_torch_give_the_same(config: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    from aktis.rllib._backend import torch_ops

    config = {**SMALL, **config}
    theirs, ours = make(PARTS, framework="torch", **config), make(PARTS, **config)
    assert {k: v.shape for k, v in tf_ops.named_arrays(ours).items()} == {
        k: v.shape for k, v in torch_ops.named_arrays(theirs).items()
    }
    tf_ops.load_arrays(ours, torch_ops.named_arrays(theirs))
    obs, actions, rewards = observe(PARTS, 6), np.ones((6, 3), np.float32), np.ones(6, np.float32)
    states = [np.repeat(s[None], 2, 0) for s in ours.get_initial_state()]
    lens = np.array([3, 3]) if states else None
    results = []
    for model, ops in ((ours, tf_ops), (theirs, torch_ops)):
        batch = {"obs": obs, "prev_actions": actions, "prev_rewards": rewards}
        batch = {key: ops.from_numpy(column) for key, column in batch.items()}
        out, _ = model(batch, [ops.from_numpy(s) for s in states], None if lens is None else ops.from_numpy(lens))
        results.append((ops.as_numpy(out), ops.as_numpy(model.value_function())))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5, rtol=1e-4)
    del torch


def test_layers_are_the_whole_network() -> None:
    model = make(VECTOR, spaces.Discrete(3), fcnet_hiddens=[8, 6], vf_share_layers=False)
    x = observe(VECTOR, 5)
    out, _ = model({"obs": tf.convert_to_tensor(x)})
    dense = model.layers()
    for layers, want in ((dense.policy, out), (dense.value, model.value_function()[:, None])):
        a = x
        for weight, bias, name in layers:
            a = a @ weight.numpy().T + bias.numpy()
            a = np.tanh(a) if name == "tanh" else a
        np.testing.assert_allclose(a, want, atol=1e-5)


def test_initial_weights() -> None:
    normc = make(VECTOR, fcnet_hiddens=[64, 64], vf_share_layers=False)
    np.testing.assert_allclose(np.linalg.norm(normc.hidden[1].weight, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(normc.logits.weight, axis=1), 0.01, rtol=1e-5)
    ortho = make(VECTOR, fcnet_hiddens=[64, 64], fcnet_weights_initializer="orthogonal")
    w = ortho.hidden[1].weight.numpy()
    np.testing.assert_allclose(w @ w.T, 2 * np.eye(64), atol=1e-4)
    assert (Dense(3, 2, initializer("ones")).weight.numpy() == 1.0).all()
    drawn = initializer("he_normal")((400, 300))
    assert drawn.shape == (400, 300) and abs(drawn.std() - np.sqrt(2 / 300)) < 0.01
    kernel = keras.layers.Dense(5, kernel_initializer=normc_initializer(2.0))
    kernel.build((None, 3))
    np.testing.assert_allclose(np.linalg.norm(kernel.kernel, axis=0), 2.0, rtol=1e-5)
    with pytest.raises(ValueError, match="'no_such'"):
        make(VECTOR, fcnet_weights_initializer="no_such")


def test_seeded_models_are_the_same_and_python_is_as_before() -> None:
    import random

    def built() -> Any:
        with tf_ops.seeded(7):
            return tf_ops.named_arrays(make(VECTOR, custom_model=Keras, custom_model_config={"width": 4}))

    random.seed(1)
    before = random.getstate()
    first, again = built(), built()
    assert random.getstate() == before
    assert list(first) == list(again)  # whatever names Keras has given its layers
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])


def test_noise_in_weights() -> None:
    layer = NoisyLayer(3, 2, 0.5, None)
    x = tf.ones((4, 3))
    layer.generator = tf_ops.generator(1)
    first, second = layer(x), layer(x)
    assert not np.allclose(first, second)
    layer.generator = tf_ops.generator(1)
    np.testing.assert_allclose(layer(x), first)
    layer.noise = False
    np.testing.assert_allclose(layer(x), x @ tf.transpose(layer.weight) + layer.bias, rtol=1e-5)
    assert list(tf_ops.named_arrays(layer)) == ["weight", "bias", "sigma_weight", "sigma_bias"]


# ---- models of Keras


class Keras(keras.Model):
    def __init__(self, obs_space: Any, action_space: Any, num_outputs: int, *, name: str = "", width: int = 8) -> None:
        super().__init__(name=name)
        self.width = width
        self.hidden = keras.layers.Dense(width, "tanh")
        self.out = keras.layers.Dense(num_outputs)
        self.value = keras.layers.Dense(1)

    def call(self, input_dict: Any) -> Any:
        x = self.hidden(input_dict["obs_flat"])
        return self.out(x), [], {"vf_preds": self.value(x)}


def functional(obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str) -> Any:
    inputs = keras.Input(obs_space.shape)
    x = keras.layers.Dense(8)(inputs)
    return keras.Model(inputs, [keras.layers.Dense(num_outputs)(x), keras.layers.Dense(1)(x)])


class Base(TFModelV2):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        inputs = keras.Input(self.obs_space.shape)
        x = keras.layers.BatchNormalization()(keras.layers.Dense(8)(inputs))
        self.base_model = keras.Model(inputs, [keras.layers.Dense(self.num_outputs)(x), keras.layers.Dense(1)(x)])
        self.extra = [tf.Variable([1.0]), tf.Variable([2.0], trainable=False)]

    def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
        out, self._value = self.base_model(input_dict["obs"])
        return out * self.extra[0], state

    def value_function(self) -> Any:
        return tf.reshape(self._value, [-1])


@pytest.mark.parametrize(("model", "options"), [(Keras, {"width": 5}), (functional, {}), (Base, {})])
def test_models_of_keras(model: Any, options: dict[str, Any]) -> None:
    built = make(VECTOR, custom_model=model, custom_model_config=options)
    obs = tf.convert_to_tensor(observe(VECTOR, 3))
    out, state = built({"obs": obs})
    assert out.shape == (3, 6) and built.value_function().shape == (3,) and state == []
    arrays = tf_ops.named_arrays(built)
    other = make(VECTOR, custom_model=model, custom_model_config=options)
    tf_ops.load_arrays(other, arrays)
    np.testing.assert_allclose(other({"obs": obs})[0], out, rtol=1e-5)
    if model is Base:
        assert len(built.variables()) == 12 and len(built.trainable_variables()) == 9
        assert "base_model.0.kernel" in arrays and "extra.0" in arrays
    if options:
        assert built.base_model.width == 5


def test_mistakes_with_keras() -> None:
    with pytest.raises(TypeError, match=r"TFModelV2 or keras\.Model"):
        make(VECTOR, custom_model=int)
    with pytest.raises(TypeError, match=r"made int, which is no keras\.Model"):
        make(VECTOR, custom_model=lambda *args: 3)
    only = make(
        VECTOR, custom_model=lambda o, a, n, c, name: keras.Sequential([keras.Input(o.shape), keras.layers.Dense(n)])
    )
    with pytest.raises(ValueError, match="returns no value"):
        only.value_function()


def test_weights_from_hdf5(tmp_path: Any) -> None:
    h5py = pytest.importorskip("h5py")
    model, other = make(VECTOR, fcnet_hiddens=[8]), make(VECTOR, fcnet_hiddens=[8])
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, value in tf_ops.named_arrays(model).items():
            file[name.replace(".", "/")] = value
    other.import_from_h5(str(tmp_path / "w.h5"))
    for name, value in tf_ops.named_arrays(model).items():
        np.testing.assert_array_equal(tf_ops.named_arrays(other)[name], value)


# ---- examples


def test_masked_actions_are_never_chosen() -> None:
    space = spaces.Dict(observations=VECTOR, action_mask=spaces.Box(0, 1, (3,), np.int8))
    model = make(space, spaces.Discrete(3), custom_model=ActionMaskModel)
    row = ModelCatalog.get_preprocessor_for_space(space).transform(
        {"observations": np.full(4, 0.5, np.float32), "action_mask": np.array([1, 0, 1], np.int8)}
    )
    out, _ = model({"obs": tf.repeat(row[None], 200, 0)})
    made, _ = ModelCatalog.get_action_dist(spaces.Discrete(3), MODEL_DEFAULTS, framework="tf2")
    assert set(made(out, model).sample().numpy().tolist()) == {0, 2}
    assert model.value_function().shape == (200,)


def test_example_models() -> None:
    for cls in (SharedWeightsModel, TF2SharedWeightsModel):
        one, two = make(VECTOR, custom_model=cls), make(spaces.Box(-1, 1, (5,)), custom_model=cls)
        assert one({"obs": tf.zeros((2, 4))})[0].shape == (2, 6) and one.value_function().shape == (2,)
        shared = {id(v) for v in one.variables()} & {id(v) for v in two.variables()}
        assert len(shared) == 2
    memory = make(VECTOR, custom_model=RNNModel, custom_model_config={"cell_size": 5})
    state = [tf.repeat(s[None], 2, 0) for s in memory.get_initial_state()]
    out, state = memory({"obs": tf.zeros((6, 4))}, state, tf.constant([3, 3]))
    assert out.shape == (6, 6) and memory.value_function().shape == (6,) and state[0].shape == (2, 5)


def test_a_recurrent_model_of_ones_own() -> None:
    class Own(RecurrentNetwork):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.gru = keras.layers.GRU(8, return_sequences=True, return_state=True)
            self.out = keras.layers.Dense(self.num_outputs)

        def get_initial_state(self) -> Any:
            return [np.zeros(8, np.float32)]

        def forward_rnn(self, inputs: Any, state: Any, seq_lens: Any) -> Any:
            features, h = self.gru(inputs, initial_state=state[0])
            return self.out(features), [h]

    model = make(VECTOR, custom_model=Own)
    out, state = model({"obs": tf.zeros((6, 4))}, [tf.zeros((2, 8))], tf.constant([3, 2]))
    assert out.shape == (6, 6) and state[0].shape == (2, 8)
    assert len(model.variables()) == 5
