"""The public helpers of NumPy arrays, and of which frameworks there are."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.utils import framework
from aktis.rllib.utils import numpy as helpers

X = np.array([[-2.0, 0.5, 1.0], [0.0, 3.0, -1.0]])


def test_functions_of_arrays() -> None:
    np.testing.assert_allclose(helpers.softmax(X).sum(-1), 1.0)
    assert helpers.softmax([0.0, -1000.0])[1] == 1e-6
    assert helpers.softmax([0.0, -1000.0], epsilon=0.0)[1] == 0.0
    np.testing.assert_allclose(helpers.sigmoid(X), 1 / (1 + np.exp(-X)))
    assert helpers.sigmoid(np.array(0.25), derivative=True) == 0.25 * 0.75
    np.testing.assert_array_equal(helpers.relu(X, alpha=0.1), np.where(X > 0, X, 0.1 * X))
    np.testing.assert_allclose(helpers.huber_loss(np.array([0.5, -3.0]), delta=1.0), [0.125, 2.5])
    assert helpers.l2_loss(np.array([3.0, 4.0])) == 12.5


def test_one_hot() -> None:
    assert helpers.one_hot(np.array([2, 0]), depth=4).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
    assert helpers.one_hot(2).tolist() == [0, 0, 1]
    assert helpers.one_hot([[1]], depth=2, on_value=0.75, off_value=0.25).tolist() == [[[0.25, 0.75]]]
    with pytest.raises(ValueError, match="no place for 5"):
        helpers.one_hot([5], depth=3)


def test_layers() -> None:
    weights, bias = np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0])
    np.testing.assert_allclose(helpers.fc(X, weights, bias), X @ weights + bias)
    np.testing.assert_allclose(helpers.fc(X, weights.T, framework="torch"), X @ weights)
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=(3 + 2, 8)), rng.normal(size=(4, 5, 3))
    out, (c, h) = helpers.lstm(x, kernel)
    assert out.shape == (4, 5, 2)
    np.testing.assert_array_equal(out[:, -1], h)
    time_major, _ = helpers.lstm(np.swapaxes(x, 0, 1), kernel, time_major=True)
    np.testing.assert_allclose(np.swapaxes(time_major, 0, 1), out)
    whole, _ = helpers.lstm(x[:, 3:], kernel, initial_internal_states=helpers.lstm(x[:, :3], kernel)[1])
    np.testing.assert_allclose(whole, out[:, 3:])
    assert c.shape == (4, 2)


def test_structures_become_arrays_of_the_usual_types() -> None:
    given = {"a": np.zeros(2), "b": (np.arange(3), "text", 1.5, None)}
    made = helpers.convert_to_numpy(given)
    assert made["a"].dtype == np.float32
    assert made["b"][0].dtype == np.int32
    assert made["b"][1:] == ("text", 1.5, None)
    assert helpers.convert_to_numpy(np.zeros(2), reduce_type=False).dtype == np.float64


SPACES = {"a": gym.spaces.Discrete(3), "b": (gym.spaces.MultiDiscrete([2, 3]), gym.spaces.Box(-1, 1, (1, 2)))}
VALUES = {"a": np.array([0, 2]), "b": (np.array([[1, 0], [0, 2]]), np.array([[[0.5, 1.0]], [[0.0, -1.0]]]))}
FLAT = [[1, 0, 0, 0, 1, 1, 0, 0, 0.5, 1.0], [0, 0, 1, 1, 0, 0, 0, 1, 0.0, -1.0]]


def test_structures_become_rows() -> None:
    assert helpers.flatten_inputs_to_1d_tensor(VALUES, SPACES).tolist() == FLAT
    over_time = {"a": VALUES["a"][None], "b": (VALUES["b"][0][None], VALUES["b"][1][None])}
    assert helpers.flatten_inputs_to_1d_tensor(over_time, SPACES, time_axis=True).tolist() == [FLAT]
    assert helpers.flatten_inputs_to_1d_tensor((X, X[:, 0])).shape == (2, 4)


def test_aligned_memory() -> None:
    array = helpers.aligned_array(10, np.float64, align=256)
    assert array.ctypes.data % 256 == 0
    assert array.shape == (10,)
    joined = helpers.concat_aligned([X.astype(np.float32), X.astype(np.float32)])
    assert joined.ctypes.data % 64 == 0
    np.testing.assert_array_equal(joined, np.concatenate([X, X]))
    np.testing.assert_array_equal(helpers.concat_aligned([X, X], time_major=True), np.concatenate([X, X], 1))
    assert helpers.concat_aligned([X]) is X


def test_actions_that_cannot_be_changed() -> None:
    action = helpers.make_action_immutable({"a": np.zeros(2), "b": (np.ones(1), 3)})
    with pytest.raises(ValueError, match="read-only"):
        action["a"][0] = 1
    with pytest.raises(TypeError):
        action["c"] = 1
    assert action["b"][1] == 3


@pytest.mark.parametrize(
    ("name", "module", "nothing"),
    [
        ("try_import_torch", "torch", (None, None)),
        ("try_import_tf", "tensorflow", (None, None, None)),
        ("try_import_tfp", "tensorflow_probability", None),
        ("try_import_jax", "jax", (None, None)),
    ],
)
def test_frameworks_that_are_missing(name: str, module: str, nothing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    function = getattr(framework, name)
    assert function() == nothing
    with pytest.raises(ImportError, match="pip install"):
        function(error=True)


@pytest.mark.torch
def test_torch_helpers_agree() -> None:
    torch = pytest.importorskip("torch")
    from aktis.rllib.utils import torch_utils

    x = torch.tensor(X, dtype=torch.float32)
    np.testing.assert_allclose(torch_utils.huber_loss(x), helpers.huber_loss(X), rtol=1e-6)
    assert float(torch_utils.l2_loss(x)) == pytest.approx(helpers.l2_loss(X))
    tensors = torch_utils.convert_to_torch_tensor({"a": X, "b": [1, None, "text"]})
    assert tensors["a"].dtype == torch.float32
    assert tensors["b"][1:] == [None, "text"]
    values = torch_utils.convert_to_torch_tensor(VALUES)
    assert torch_utils.flatten_inputs_to_1d_tensor(values, SPACES).tolist() == FLAT
    assert torch_utils.one_hot(torch.tensor([[1, 2]]), gym.spaces.MultiDiscrete([2, 3])).tolist() == [[0, 1, 0, 0, 1]]
    with pytest.raises(ValueError, match="Discrete"):
        torch_utils.one_hot(x, gym.spaces.Box(-1, 1, (1,)))
    assert torch_utils.sequence_mask(torch.tensor([1, 2]), time_major=True).tolist() == [[True, True], [False, True]]
    y = torch.tensor([1.0, 2.0, 3.0])
    assert float(torch_utils.explained_variance(y, y)) == 1.0
    assert float(torch_utils.explained_variance(y, -9 * y)) == -1.0
    masked = torch.tensor([1.0, float("-inf"), 3.0])
    assert float(torch_utils.reduce_mean_ignore_inf(masked)) == 2.0
    logits, labels = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert float(torch_utils.softmax_cross_entropy_with_logits(logits, labels)) == pytest.approx(np.log(2))
    assert torch_utils.get_device({"num_gpus": 0}).type == "cpu"
    variable = framework.get_variable(2.0, framework="torch", torch_tensor=True, trainable=True)
    assert variable.requires_grad
    assert framework.get_variable(3, framework="torch") == 3


@pytest.mark.torch
def test_gradients_are_clipped_one_by_one_or_together() -> None:
    torch = pytest.importorskip("torch")
    from aktis.rllib.utils.torch_utils import apply_grad_clipping, minimize_and_clip

    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(parameters, lr=1.0)

    def set_grads() -> None:
        for parameter, value in zip(parameters, (3.0, 4.0), strict=True):
            parameter.grad = torch.tensor([value])

    policy = type("Policy", (), {"config": {"grad_clip": 1.0}})
    set_grads()
    assert float(apply_grad_clipping(policy, optimizer, None)["grad_gnorm"]) == pytest.approx(5.0)
    assert [float(p.grad) for p in parameters] == pytest.approx([0.6, 0.8], abs=1e-5)
    set_grads()
    minimize_and_clip(optimizer, 2.0)
    assert [float(p.grad) for p in parameters] == pytest.approx([2.0, 2.0], abs=1e-5)
    policy.config = {"grad_clip": None}
    assert float(apply_grad_clipping(policy, optimizer, None)["grad_gnorm"]) == pytest.approx(8**0.5, rel=1e-5)
