"""Parameters, gradients and optimizers of the TensorFlow backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow
tf = pytest.importorskip("tensorflow")

from aktis.rllib._backend import tf_ops as ops  # noqa: E402
from aktis.rllib._backend._tf_variables import Part  # noqa: E402


class Model(Part):
    def __init__(self) -> None:
        self.a = tf.Variable([1.0, -2.0])
        self.parts = [tf.Variable([[3.0]]), {"deep": tf.Variable(0.5, trainable=False)}]
        self.again = self.a
        self.text = "no variable"


def quadratic(model: Model) -> Any:
    return tf.reduce_sum(model.a**2) + 2.0 * tf.reduce_sum(model.parts[0])


def test_variables_have_names_and_come_once() -> None:
    model = Model()
    arrays = ops.named_arrays(model)
    assert list(arrays) == ["a", "parts.0", "parts.1.deep"]
    assert len(ops.parameters(model)) == 2
    model.a.assign([7.0, 7.0])
    assert arrays["a"].tolist() == [1.0, -2.0]  # a copy
    ops.load_arrays(model, arrays)
    assert model.a.numpy().tolist() == [1.0, -2.0]


def test_weights_of_another_model_are_refused() -> None:
    arrays = ops.named_arrays(Model())
    with pytest.raises(ValueError, match=r"missing \['a'\], unknown \['b'\]"):
        ops.load_arrays(Model(), {**{k: v for k, v in arrays.items() if k != "a"}, "b": arrays["a"]})
    with pytest.raises(ValueError, match=r"'a' has the shape \(3,\)"):
        ops.load_arrays(Model(), {**arrays, "a": np.zeros(3)})


def test_copy_and_follow() -> None:
    one, two = Model(), Model()
    one.a.assign([3.0, 4.0])
    one.parts[1]["deep"].assign(9.0)  # type: ignore[call-overload]
    ops.copy_params(one, two, tau=0.25)
    np.testing.assert_allclose(two.a, [1.5, -0.5])
    assert float(two.parts[1]["deep"]) == 9.0  # type: ignore[call-overload] # what is not trained is copied
    ops.copy_params(one, two)
    np.testing.assert_allclose(two.a, one.a)


def test_gradients() -> None:
    model = Model()
    unused = tf.Variable([1.0])
    with tf.GradientTape() as tape:
        loss = quadratic(model)
    grads = ops.gradients(loss, [model.a, unused], tape=tape)
    np.testing.assert_allclose(grads[0], [2.0, -4.0])
    assert grads[1].numpy().tolist() == [0.0]
    with pytest.raises(ValueError, match="need the tape"):
        ops.gradients(loss, [model.a])
    clipped, norm = ops.clip_by_global_norm([tf.constant([3.0]), tf.constant([4.0])], 1.0)
    np.testing.assert_allclose(norm, 5.0)
    np.testing.assert_allclose(ops.global_norm(clipped), 1.0, rtol=1e-5)
    same, _ = ops.clip_by_global_norm([tf.constant([3.0])], None)
    assert float(same[0][0]) == 3.0


def adam_by_hand(w: Any, grads: list[Any], lr: float, eps: float) -> Any:
    m = v = np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps)
    return w


@pytest.mark.parametrize("traced", [False, True])
def test_adam(traced: bool) -> None:
    rng = np.random.default_rng(0)
    grads = [rng.normal(size=3).astype(np.float32) for _ in range(5)]
    variable = tf.Variable([1.0, 2.0, 3.0])
    optimizer = ops.adam([variable], lr=0.1, eps=0.01)
    step = (
        (lambda g: ops.apply_gradients(optimizer, [variable], [g]))
        if not traced
        else tf.function(
            lambda g: ops.apply_gradients(optimizer, [variable], [g]), input_signature=[tf.TensorSpec((3,))]
        )
    )
    for grad in grads:
        step(tf.constant(grad))
    np.testing.assert_allclose(variable, adam_by_hand(np.array([1.0, 2.0, 3.0]), grads, 0.1, 0.01), rtol=1e-5)


def test_rmsprop_and_sgd() -> None:
    grads = [np.array([1.0, -2.0]), np.array([0.5, 0.5])]
    w, square, buffer = np.zeros(2), np.zeros(2), np.zeros(2)
    variable = tf.Variable([0.0, 0.0])
    optimizer = ops.rmsprop([variable], lr=0.1, decay=0.9, momentum=0.5, eps=0.1)
    for g in grads:
        ops.apply_gradients(optimizer, [variable], [tf.constant(g, tf.float32)])
        square = 0.9 * square + 0.1 * g * g
        buffer = 0.5 * buffer + g / (np.sqrt(square) + 0.1)
        w = w - 0.1 * buffer
    np.testing.assert_allclose(variable, w, rtol=1e-5)
    variable.assign([0.0, 0.0])
    optimizer = ops.sgd([variable], lr=0.1, momentum=0.5)
    for g in grads:
        ops.apply_gradients(optimizer, [variable], [tf.constant(g, tf.float32)])
    np.testing.assert_allclose(variable, -0.1 * (1.5 * grads[0] + grads[1]), rtol=1e-5)


@pytest.mark.parametrize("make", [ops.adam, ops.rmsprop, lambda p, lr: ops.sgd(p, lr, momentum=0.9)])
def test_the_state_of_optimizers_goes_on_where_it_was(make: Any) -> None:
    grads = [tf.constant([float(i), -1.0]) for i in range(6)]
    one = tf.Variable([1.0, 1.0])
    first = make([one], lr=0.1)
    assert ops.optimizer_state(first) == []
    for grad in grads[:3]:
        ops.apply_gradients(first, [one], [grad])
    two = tf.Variable(one)
    second = make([two], lr=0.5)
    ops.load_optimizer_state(second, ops.optimizer_state(first))
    ops.set_lr(second, 0.1)
    for grad in grads[3:]:
        ops.apply_gradients(first, [one], [grad])
        ops.apply_gradients(second, [two], [grad])
    np.testing.assert_allclose(one, two)
    with pytest.raises(ValueError, match="and 1 were given"):
        ops.load_optimizer_state(second, [np.zeros(2)])
    ops.load_optimizer_state(second, [])
    assert ops.optimizer_state(second) == []


def test_adam_takes_the_state_of_torch() -> None:
    torch = pytest.importorskip("torch")
    from aktis.rllib._backend import torch_ops

    grads = [np.array([1.0, -2.0], np.float32), np.array([0.5, 0.5], np.float32)]
    theirs, ours = torch.nn.Parameter(torch.tensor([1.0, 1.0])), tf.Variable([1.0, 1.0])
    first, second = torch_ops.adam([theirs], lr=0.1), ops.adam([ours], lr=0.1)
    torch_ops.apply_gradients(first, [theirs], [torch.as_tensor(grads[0])])
    ours.assign(theirs.detach().numpy())
    ops.load_optimizer_state(second, torch_ops.optimizer_state(first))
    torch_ops.apply_gradients(first, [theirs], [torch.as_tensor(grads[1])])
    ops.apply_gradients(second, [ours], [tf.constant(grads[1])])
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-6)


def test_generators() -> None:
    generator = ops.generator(3)
    state = ops.get_generator_state(generator)
    first = ops.normal((4,), generator).numpy()
    ops.set_generator_state(generator, state)
    np.testing.assert_array_equal(ops.normal((4,), generator), first)
    assert ops.uniform((1000,), generator, 2.0, 3.0).numpy().min() >= 2.0
    drawn = ops.gamma(tf.fill((20_000,), 3.0), generator).numpy()
    assert abs(drawn.mean() - 3.0) < 0.1 and abs(drawn.var() - 3.0) < 0.2
    # Within a trace the generator goes on, too.
    traced = tf.function(lambda: ops.normal((4,), generator))
    assert not np.allclose(traced(), traced())


def test_sizes_that_are_not_known() -> None:
    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def twice(x: Any) -> Any:
        rows, width = ops.shape(x)
        assert width == 3
        return ops.reshape(ops.zeros((rows, 2 * width)), (rows, 2, width))

    assert twice(tf.zeros((5, 3))).shape == (5, 2, 3)
