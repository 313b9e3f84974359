"""Networks in PyTorch, and the catalog's choice among them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog  # noqa: E402
from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork  # noqa: E402
from aktis.rllib.models.torch.misc import SlimConv2d, SlimFC, initializer, normc_initializer  # noqa: E402
from aktis.rllib.models.torch.recurrent_net import RecurrentNetwork  # noqa: E402
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2  # noqa: E402
from aktis.rllib.models.utils import convolutions, get_activation_fn, get_filter_config  # noqa: E402

VECTOR = spaces.Box(-1, 1, (4,))
IMAGE = spaces.Box(0, 255, (42, 42, 1), np.uint8)
PARTS = spaces.Dict(camera=IMAGE, mode=spaces.Discrete(3), grid=spaces.Box(-1, 1, (2, 2)))
ACTIONS = spaces.Dict(move=spaces.Discrete(2), push=spaces.Box(-1, 1, (2,)))


def make(obs_space: Any, action_space: Any = ACTIONS, **config: Any) -> Any:
    _, size = ModelCatalog.get_action_dist(action_space, MODEL_DEFAULTS)
    preprocessor = ModelCatalog.get_preprocessor_for_space(obs_space, config)
    return ModelCatalog.get_model_v2(preprocessor.observation_space, action_space, size, config)


def observe(obs_space: Any, rows: int, **config: Any) -> Any:
    obs_space.seed(3)
    preprocessor = ModelCatalog.get_preprocessor_for_space(obs_space, config)
    return torch.as_tensor(np.stack([preprocessor.transform(obs_space.sample()) for _ in range(rows)]))


# ---- fully connected


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu", "linear", "swish"])
def test_layers_are_the_whole_network(share: bool, free: bool, activation: str) -> None:
    """What the fast evaluation in NumPy goes by."""
    config = {"fcnet_hiddens": [8, 6], "fcnet_activation": activation, "vf_share_layers": share, "free_log_std": free}
    model = make(VECTOR, spaces.Box(-1, 1, (3,)), **config)
    x = torch.randn(5, 4)
    out, state = model({"obs": x})
    value = model.value_function()
    assert (out.shape, value.shape, state) == ((5, 6), (5,), [])
    dense = model.layers()
    functions = {
        "tanh": np.tanh,
        "relu": lambda a: np.maximum(a, 0),
        "linear": lambda a: a,
        "silu": lambda a: a / (1 + np.exp(-a)),
    }

    def through(layers: Any, a: Any) -> Any:
        for weight, bias, name in layers:
            a = functions[name](a @ weight.detach().numpy().T + bias.detach().numpy())
        return a

    trunk = through(dense.trunk, x.numpy())
    policy = through(dense.policy, trunk)
    if free:
        policy = np.concatenate([policy, np.broadcast_to(dense.log_std.detach().numpy(), (5, 3))], 1)
    np.testing.assert_allclose(policy, out.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(through(dense.value, trunk)[:, 0], value.detach().numpy(), atol=1e-5)
    assert bool(dense.trunk) is share
    assert {id(p) for p in model.parameters()} >= {id(layer.weight) for layer in dense.policy}  # not copies


def test_value_has_layers_of_its_own_or_not() -> None:
    shared, own = (make(VECTOR, fcnet_hiddens=[8], vf_share_layers=share) for share in (True, False))
    assert len(list(shared.parameters())) == 6 and len(list(own.parameters())) == 8
    for model, touched in ((shared, True), (own, False)):
        model({"obs": torch.randn(2, 4)})
        model.value_function().sum().backward()
        assert (model.hidden[0].weight.grad is not None) is touched


def test_initial_weights() -> None:
    normc = make(VECTOR, fcnet_hiddens=[64, 64], vf_share_layers=False)
    torch.testing.assert_close(normc.hidden[1].weight.norm(dim=1), torch.ones(64))
    torch.testing.assert_close(normc.logits.weight.norm(dim=1), torch.full((6,), 0.01))
    torch.testing.assert_close(normc.value.weight.norm(), torch.tensor(0.01))
    assert all(not p.any() for name, p in normc.named_parameters() if name.endswith("bias"))
    ortho = make(VECTOR, fcnet_hiddens=[64, 64], vf_share_layers=False, fcnet_weights_initializer="orthogonal")
    w = ortho.hidden[1].weight
    torch.testing.assert_close(w @ w.T, 2.0 * torch.eye(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(ortho.logits.weight.norm(dim=1), torch.full((6,), 0.01))
    torch.testing.assert_close(ortho.value.weight.norm(), torch.tensor(1.0))
    named = make(
        VECTOR, fcnet_hiddens=[8], fcnet_weights_initializer="constant_", fcnet_weights_initializer_config={"val": 3.0}
    )
    assert (named.hidden[0].weight == 3.0).all()
    with pytest.raises(ValueError, match="'no_such'"):
        make(VECTOR, fcnet_weights_initializer="no_such")


def test_no_hidden_layers_no_final_layer_and_features() -> None:
    linear = make(VECTOR, fcnet_hiddens=[])
    assert linear({"obs": torch.randn(2, 4)})[0].shape == (2, 6)
    last = make(VECTOR, fcnet_hiddens=[8, 99], no_final_linear=True)
    assert last({"obs": torch.randn(2, 4)})[0].shape == (2, 6) and last.logits is None
    assert last.value_function().shape == (2,)
    features = ModelCatalog.get_model_v2(VECTOR, ACTIONS, None, {"fcnet_hiddens": [8, 7]})
    assert features.num_outputs == 7 and features({"obs": torch.randn(2, 4)})[0].shape == (2, 7)
    with pytest.raises(ValueError, match="no_final_linear needs hidden layers"):
        make(VECTOR, fcnet_hiddens=[], no_final_linear=True)
    with pytest.raises(ValueError, match="even number of outputs, not 3"):
        make(VECTOR, spaces.Discrete(3), free_log_std=True)


def test_integers_and_doubles_are_taken() -> None:
    model = make(spaces.Box(0, 255, (4,), np.uint8), fcnet_hiddens=[8])
    assert model({"obs": torch.ones(2, 4, dtype=torch.uint8)})[0].dtype == torch.float32
    assert model({"obs": torch.ones(2, 4, dtype=torch.float64)})[0].dtype == torch.float32


def test_value_before_a_forward_pass() -> None:
    for model in (
        make(VECTOR),
        make(IMAGE),
        make(PARTS),
        make(VECTOR, use_lstm=True),
        make(VECTOR, use_attention=True),
    ):
        with pytest.raises(ValueError, match="call the model first"):
            model.value_function()


# ---- the choice


def kind(model: Any) -> str:
    return type(model).__name__


def test_automatic_choice() -> None:
    assert kind(make(VECTOR)) == "FullyConnectedNetwork"
    assert kind(make(spaces.Discrete(3))) == "FullyConnectedNetwork"
    assert kind(make(spaces.Dict(a=VECTOR, b=spaces.Discrete(2)))) == "FullyConnectedNetwork"
    assert kind(make(IMAGE)) == "VisionNetwork"
    assert kind(make(PARTS)) == "ComplexInputNetwork"
    assert kind(make(spaces.Dict(a=VECTOR), _disable_preprocessor_api=True)) == "ComplexInputNetwork"
    assert kind(make(spaces.Discrete(3), _disable_preprocessor_api=True)) == "ComplexInputNetwork"
    with pytest.raises(ValueError, match="'jax'"):
        ModelCatalog.get_model_v2(VECTOR, ACTIONS, 6, {}, framework="jax")
    with pytest.raises(ValueError, match="did you mean 'fcnet_hiddens'"):
        make(VECTOR, fcnet_hidden=[3])


@pytest.mark.parametrize("size", [(10, 10), (42, 42), (64, 64), (84, 84), (96, 96), (30, 50), (7, 5), (128, 128)])
def test_images_of_every_size_have_filters(size: tuple[int, int]) -> None:
    plan = convolutions((*size, 3), {})
    x = torch.zeros(1, 3, *size)
    channels = 3
    for layer in plan.layers:
        x = SlimConv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding)(x)
        assert tuple(x.shape[1:]) == (layer.channels, *layer.out)
        channels = layer.channels
    assert x.numel() == plan.flat_size


def test_filters_of_ones_own() -> None:
    model = make(IMAGE, conv_filters=[[4, [5, 5], 3], [8, 3, [2, 2]]], post_fcnet_hiddens=[16])
    assert model({"obs": observe(IMAGE, 2)})[0].shape == (2, 6)
    nature = make(spaces.Box(0, 255, (84, 84, 4), np.uint8), conv_filters="nature")
    assert nature.trunk.post[0].weight.shape == (512, 3136)
    with pytest.raises(ValueError, match="larger than the 42 x 42 pixels"):
        make(IMAGE, conv_filters=[[4, [50, 50], 1]])
    with pytest.raises(ValueError, match="not 3"):
        make(IMAGE, conv_filters=[3])
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        get_filter_config((4,))


def test_bytes_are_scaled() -> None:
    model = make(IMAGE)
    floats = make(spaces.Box(0.0, 1.0, (42, 42, 1)))
    floats.load_state_dict(model.state_dict())
    image = observe(IMAGE, 2)
    torch.testing.assert_close(model({"obs": image})[0], floats({"obs": image / 255.0})[0])


# ---- every space, with and without memory


MEMORY: list[dict[str, Any]] = [
    {},
    {"vf_share_layers": False},
    {"use_lstm": True, "lstm_cell_size": 16, "lstm_use_prev_action": True, "lstm_use_prev_reward": True},
    {"use_lstm": True, "lstm_cell_size": 16, "_time_major": True, "free_log_std": True},
    {
        "use_attention": True,
        "attention_use_n_prev_actions": 2,
        "attention_use_n_prev_rewards": 3,
        "attention_num_transformer_units": 2,
        "attention_memory_inference": 3,
        "attention_num_heads": 2,
    },
]


@pytest.mark.parametrize("config", MEMORY, ids=["shared", "own", "lstm", "time major", "attention"])
@pytest.mark.parametrize(
    "obs_space", [VECTOR, IMAGE, PARTS, spaces.Discrete(4)], ids=["vector", "image", "dict", "discrete"]
)
def test_sequences_give_what_single_steps_give(obs_space: Any, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = {"fcnet_hiddens": [16], "post_fcnet_hiddens": [16], "conv_filters": [[4, 8, 8], [8, 4, 4]], **config}
    model = make(obs_space, **config)
    sequences, steps = 2, 6
    actions = torch.cat([torch.randint(0, 2, (12, 1)).float(), torch.rand(12, 2)], 1)
    batch = {"obs": observe(obs_space, 12), "prev_actions": actions, "prev_rewards": torch.rand(12)}
    state = [torch.as_tensor(s).expand(sequences, *s.shape) for s in model.get_initial_state()]
    out, after = model(batch, state, torch.tensor([steps] * sequences) if state else None)
    value = model.value_function()
    assert out.shape == (12, 6) and value.shape == (12,)
    (out.square().sum() + value.square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    for step in range(steps):
        one = {key: column.reshape(sequences, steps, *column.shape[1:])[:, step] for key, column in batch.items()}
        got, state = model(one, state, torch.ones(sequences, dtype=torch.int64) if state else None)
        torch.testing.assert_close(got, out.reshape(sequences, steps, -1)[:, step], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            model.value_function(), value.reshape(sequences, steps)[:, step], atol=1e-5, rtol=1e-4
        )
    for one_state, other in zip(state, after):
        torch.testing.assert_close(one_state, other, atol=1e-5, rtol=1e-4)
    wanted = set(batch) if config.get("use_attention") or config.get("lstm_use_prev_action") else {"obs"}
    assert set(model.view_requirements) == wanted


def test_attention_does_not_see_the_future_nor_too_far_back() -> None:
    config = {"fcnet_hiddens": [8], "use_attention": True, "attention_memory_inference": 2}
    model = make(VECTOR, **config)
    obs = torch.randn(6, 4)
    state = [torch.zeros(1, *s.shape) for s in model.get_initial_state()]
    lens = torch.tensor([6])
    before = model({"obs": obs}, state, lens)[0]
    changed = obs.clone()
    changed[2] += 1.0
    different = (model({"obs": changed}, state, lens)[0] - before).abs().amax(1) > 1e-7
    assert different.tolist() == [False, False, True, True, True, False]


def test_parts_without_the_preprocessor() -> None:
    space = spaces.Dict(a=spaces.Discrete(3), b=spaces.MultiDiscrete([2, 2]), c=VECTOR)
    model = make(space, _disable_preprocessor_api=True, fcnet_hiddens=[8])
    obs = {"a": torch.tensor([0, 2]), "b": torch.tensor([[0, 1], [1, 1]]), "c": torch.rand(2, 4)}
    out, _ = model({"obs": obs})
    assert out.shape == (2, 6)
    preprocessed = ModelCatalog.get_preprocessor_for_space(space)
    same = ModelCatalog.get_model_v2(
        preprocessed.observation_space, ACTIONS, 6, {"fcnet_hiddens": [8]}, default_model=type(model)
    )
    same.load_state_dict(model.state_dict())
    rows = [
        {"a": 0, "b": np.array([0, 1]), "c": obs["c"][0].numpy()},
        {"a": 2, "b": np.array([1, 1]), "c": obs["c"][1].numpy()},
    ]
    flat = torch.as_tensor(np.stack([preprocessed.transform(row) for row in rows]))
    torch.testing.assert_close(same({"obs": flat})[0], out)


def test_frames_of_a_game_as_a_part() -> None:
    space = spaces.Dict(frame=spaces.Box(0, 255, (210, 160, 3), np.uint8), lives=spaces.Discrete(3))
    model = make(space, fcnet_hiddens=[8], dim=42)
    assert model({"obs": observe(space, 2, dim=42)})[0].shape == (2, 6)


# ---- life of a model


def test_copies_and_weights() -> None:
    model = make(VECTOR, fcnet_hiddens=[8], vf_share_layers=False)
    obs = torch.randn(3, 4)
    out, _ = model({"obs": obs})
    model.value_function()
    twin = copy.deepcopy(model)
    torch.testing.assert_close(twin({"obs": obs})[0], out)
    with torch.no_grad():
        model.hidden[0].weight.add_(1.0)
    assert not torch.equal(model({"obs": obs})[0], out)
    torch.testing.assert_close(twin({"obs": obs})[0], out)
    assert list(model.variables(as_dict=True)) == list(model.trainable_variables(as_dict=True))
    assert len(model.variables()) == len(model.trainable_variables()) == 8
    torch.testing.assert_close(twin.last_output(), out)


def test_weights_from_hdf5(tmp_path: Any) -> None:
    h5py = pytest.importorskip("h5py")
    model, other = make(VECTOR, fcnet_hiddens=[8]), make(VECTOR, fcnet_hiddens=[8])
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, value in model.state_dict().items():
            file[name.replace(".", "/")] = value.numpy()
    other.import_from_h5(str(tmp_path / "w.h5"))
    torch.testing.assert_close(other.state_dict(), model.state_dict())
    with pytest.raises(ValueError, match="the model's is"):
        make(VECTOR, fcnet_hiddens=[9]).import_from_h5(str(tmp_path / "w.h5"))


def test_activations() -> None:
    assert (
        get_activation_fn("relu") is nn.ReLU and get_activation_fn("linear") is None and get_activation_fn(None) is None
    )
    with pytest.raises(ValueError, match="Unknown activation 'rleu'"):
        make(VECTOR, fcnet_activation="rleu")
    own = make(VECTOR, fcnet_hiddens=[8], fcnet_activation=nn.Softsign)
    assert own({"obs": torch.randn(2, 4)})[0].shape == (2, 6) and own.layers() is None
    layer = SlimFC(3, 2, normc_initializer(2.0), nn.ReLU, use_bias=False)
    assert layer.bias is None and (layer(torch.randn(4, 3)) >= 0).all()
    filled = torch.empty(2, 3)
    initializer(nn.init.ones_)(filled)
    assert (filled == 1).all()


# ---- one's own


class Own(TorchModelV2, nn.Module):
    def __init__(
        self, obs_space: Any, action_space: Any, num_outputs: Any, model_config: Any, name: str, width: int = 5
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.width = width
        self.net = nn.Linear(obs_space.shape[0], num_outputs or width)
        self.num_outputs = num_outputs or width

    def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
        return self.net(input_dict["obs_flat"]), state

    def value_function(self) -> Any:
        return torch.zeros(1)

    def metrics(self) -> Any:
        return {"seven": 7}


class FromConfig(Own):
    def __init__(self, obs_space: Any, action_space: Any, num_outputs: Any, model_config: Any, name: str) -> None:
        super().__init__(
            obs_space, action_space, num_outputs, model_config, name, model_config["custom_model_config"]["width"]
        )


def test_a_model_of_ones_own() -> None:
    ModelCatalog.register_custom_model("own", Own)
    for given in ("own", Own, f"{__name__}.Own" if "." in __name__ else Own):
        model = make(VECTOR, custom_model=given, custom_model_config={"width": 9})
        assert type(model).__name__ == "Own" and model.width == 9 and model.metrics() == {"seven": 7}
    assert make(VECTOR, custom_model=FromConfig, custom_model_config={"width": 4}).width == 4
    with pytest.raises(ValueError, match="Did you mean 'own'"):
        make(VECTOR, custom_model="owm")
    with pytest.raises(TypeError, match="'widht'.*did you mean 'width'"):
        make(VECTOR, custom_model=Own, custom_model_config={"widht": 9})
    with pytest.raises(TypeError, match="custom_model is a class derived from TorchModelV2"):
        make(VECTOR, custom_model=nn.Linear)
    with pytest.raises(TypeError, match="is a class, not 3"):
        ModelCatalog.register_custom_model("three", 3)


def test_a_model_of_ones_own_before_an_lstm() -> None:
    model = make(VECTOR, custom_model=Own, custom_model_config={"width": 9}, use_lstm=True, lstm_cell_size=8)
    state = [torch.zeros(2, 8), torch.zeros(2, 8)]
    out, _ = model({"obs": torch.randn(6, 4)}, state, torch.tensor([3, 3]))
    assert out.shape == (6, 6) and model.lstm.input_size == 9 and model.metrics() == {"seven": 7}


def test_an_interface_comes_first() -> None:
    class Interface(TorchModelV2):
        def __init__(self, *args: Any, extra: int = 0, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.extra = extra

        def q_values(self) -> int:
            return self.extra

    model = ModelCatalog.get_model_v2(VECTOR, ACTIONS, None, {}, model_interface=Interface, extra=3)
    assert model.q_values() == 3 and isinstance(model, FullyConnectedNetwork) and isinstance(model, Interface)


class OwnMemory(RecurrentNetwork, nn.Module):
    def __init__(self, obs_space: Any, action_space: Any, num_outputs: Any, model_config: Any, name: str) -> None:
        nn.Module.__init__(self)
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.gru = nn.GRU(4, 8, batch_first=True)
        self.out = nn.Linear(8, num_outputs)

    def get_initial_state(self) -> Any:
        return [np.zeros(8, np.float32)]

    def forward_rnn(self, inputs: Any, state: Any, seq_lens: Any) -> Any:
        assert inputs.dim() == 3
        features, h = self.gru(inputs, state[0].unsqueeze(0))
        return self.out(features), [h.squeeze(0)]


def test_a_recurrent_model_of_ones_own() -> None:
    model = make(VECTOR, custom_model=OwnMemory)
    out, state = model({"obs": torch.randn(6, 4)}, [torch.zeros(2, 8)], torch.tensor([3, 2]))
    assert out.shape == (6, 6) and state[0].shape == (2, 8)


def test_mistakes_in_a_model_are_named() -> None:
    class Alone(TorchModelV2):
        pass

    class WrongReturn(Own):
        def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
            return self.net(input_dict["obs_flat"])

    class WrongState(Own):
        def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
            return self.net(input_dict["obs_flat"]), None

    with pytest.raises(TypeError, match=r"Alone derives from TorchModelV2 and from torch\.nn\.Module"):
        make(VECTOR, custom_model=Alone)
    with pytest.raises(ValueError, match="returns a pair"):
        make(VECTOR, custom_model=WrongReturn)({"obs": torch.randn(2, 4)})
    with pytest.raises(ValueError, match="is a list, not None"):
        make(VECTOR, custom_model=WrongState)({"obs": torch.randn(2, 4)})
