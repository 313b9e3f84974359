"""The tensor operations of each framework against NumPy."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

import numpy as np
import pytest
import tree

from aktis.rllib import _backend

FRAMEWORKS = [
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("tf2", marks=pytest.mark.tensorflow),
]


@pytest.fixture(params=FRAMEWORKS)
def ops(request: pytest.FixtureRequest) -> Any:
    name = {"torch": "torch", "tf2": "tensorflow"}[request.param]
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    try:
        return _backend.ops_for(request.param)
    except ModuleNotFoundError as e:
        pytest.skip(str(e))


X = np.array([[-1.5, 0.25, 2.0], [0.5, -0.75, 1.0]], np.float32)
Y = np.array([[0.5, 0.5, -2.0], [1.5, -0.75, 3.0]], np.float32)
POSITIVE = np.abs(X) + 0.1
INSIDE = np.array([-0.9, 0.0, 0.5], np.float32)
SOFT = np.exp(X) / np.exp(X).sum(1, keepdims=True)

# name, arguments, and what NumPy says
ELEMENTWISE: list[tuple[str, tuple[Any, ...], Any]] = [
    ("exp", (X,), np.exp(X)),
    ("expm1", (X,), np.expm1(X)),
    ("log", (POSITIVE,), np.log(POSITIVE)),
    ("log1p", (POSITIVE,), np.log1p(POSITIVE)),
    ("sqrt", (POSITIVE,), np.sqrt(POSITIVE)),
    ("square", (X,), X * X),
    ("pow", (POSITIVE, 1.5), POSITIVE**1.5),
    ("abs", (X,), np.abs(X)),
    ("sign", (X,), np.sign(X)),
    ("floor", (X,), np.floor(X)),
    ("ceil", (X,), np.ceil(X)),
    ("sin", (X,), np.sin(X)),
    ("cos", (X,), np.cos(X)),
    ("tanh", (X,), np.tanh(X)),
    ("atanh", (INSIDE,), np.arctanh(INSIDE)),
    ("sigmoid", (X,), 1 / (1 + np.exp(-X))),
    ("log_sigmoid", (X,), -np.log1p(np.exp(-X))),
    ("softplus", (X,), np.log1p(np.exp(X))),
    ("relu", (X,), np.maximum(X, 0)),
    ("lgamma", (np.array([1.0, 4.0], np.float32),), np.log([1.0, 6.0])),
    ("digamma", (np.array([1.0], np.float32),), [-0.5772157]),
    ("isfinite", (np.array([1.0, np.inf], np.float32),), [True, False]),
    ("isnan", (np.array([1.0, np.nan], np.float32),), [False, True]),
    ("minimum", (X, Y), np.minimum(X, Y)),
    ("minimum", (X, 0.3), np.minimum(X, 0.3)),
    ("maximum", (X, Y), np.maximum(X, Y)),
    ("maximum", (X, 0.3), np.maximum(X, 0.3)),
    ("clip", (X, -1.0, 1.0), np.clip(X, -1, 1)),
    ("clip", (X, None, 1.0), np.minimum(X, 1)),
    ("where", (X > 0, X, Y), np.where(X > 0, X, Y)),
    ("equal", (X, Y), X == Y),
    ("logical_and", (X > 0, Y > 0), (X > 0) & (Y > 0)),
    ("logical_or", (X > 0, Y > 0), (X > 0) | (Y > 0)),
    ("logical_not", (X > 0,), X <= 0),
    ("stop_gradient", (X,), X),
    ("huber", (X,), np.where(np.abs(X) < 1, X * X / 2, np.abs(X) - 0.5)),
    ("zeros_like", (X,), np.zeros_like(X)),
    ("ones_like", (X,), np.ones_like(X)),
]

REDUCTIONS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("sum", (X,), X.sum()),
    ("sum", (X, 1), X.sum(1)),
    ("sum", (X, -1, True), X.sum(-1, keepdims=True)),
    ("mean", (X,), X.mean()),
    ("mean", (X, 0), X.mean(0)),
    ("var", (X,), X.var()),
    ("var", (X, 1), X.var(1)),
    ("std", (X,), X.std()),
    ("max", (X,), X.max()),
    ("max", (X, 1), X.max(1)),
    ("min", (X, 0, True), X.min(0, keepdims=True)),
    ("prod", (X, 1), X.prod(1)),
    ("any", (X > 1.5,), True),
    ("any", (X > 1.5, 1), [True, False]),
    ("all", (X > -2,), True),
    ("all", (X > 0, 1), [False, False]),
    ("argmax", (X,), [2, 2]),
    ("argsort", (X, 1), np.argsort(X, 1)),
    ("sort", (X, 1), np.sort(X, 1)),
    ("cumsum", (X, 1), np.cumsum(X, 1)),
    ("logsumexp", (X,), np.log(np.exp(X).sum(1))),
    ("logsumexp", (X, 0, True), np.log(np.exp(X).sum(0, keepdims=True))),
    ("softmax", (X,), SOFT),
    ("log_softmax", (X,), np.log(SOFT)),
]

SHAPES: list[tuple[str, tuple[Any, ...], Any]] = [
    ("reshape", (X, (3, -1)), X.reshape(3, 2)),
    ("squeeze", (X[:, :1], 1), X[:, 0]),
    ("expand_dims", (X, 1), X[:, None]),
    ("transpose", (X, (1, 0)), X.T),
    ("tile", (X, (2, 1)), np.tile(X, (2, 1))),
    ("repeat", (X, 2, 0), np.repeat(X, 2, 0)),
    ("broadcast_to", (X[:1], (4, 3)), np.broadcast_to(X[:1], (4, 3))),
    ("unstack", (X, 0), [X[0], X[1]]),
    ("split", (X, [1, 2]), [X[:, :1], X[:, 1:]]),
    ("matmul", (X, Y.T.copy()), X @ Y.T),
    ("one_hot", (np.array([[0, 2]]), 3), [[[1, 0, 0], [0, 0, 1]]]),
    ("gather_rows", (X, np.array([2, 0])), [X[0, 2], X[1, 0]]),
    ("gather_rows", (np.stack([X, Y], 2), np.array([1, 2])), [[X[0, 1], Y[0, 1]], [X[1, 2], Y[1, 2]]]),
    ("take_rows", (X, np.array([1, 1, 0])), X[[1, 1, 0]]),
    ("sequence_mask", (np.array([1, 3]), 3), [[True, False, False], [True, True, True]]),
]


@pytest.mark.parametrize(("name", "args", "expected"), ELEMENTWISE + REDUCTIONS + SHAPES)
def test_an_operation_is_that_of_numpy(ops: Any, name: str, args: tuple[Any, ...], expected: Any) -> None:
    given = [ops.from_numpy(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    result = ops.as_numpy(getattr(ops, name)(*given))
    tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), result, _arrays(expected, result)
    )


def _arrays(expected: Any, result: Any) -> Any:
    return [np.asarray(e) for e in expected] if isinstance(result, list) else np.asarray(expected)


def test_concat_and_stack(ops: Any) -> None:
    x, y = ops.from_numpy(X), ops.from_numpy(Y)
    np.testing.assert_array_equal(ops.as_numpy(ops.concat([x, y])), np.concatenate([X, Y], -1))
    np.testing.assert_array_equal(ops.as_numpy(ops.stack([x, y], 1)), np.stack([X, Y], 1))


def test_every_operation_of_the_list_is_there_with_its_arguments(ops: Any) -> None:
    for name, listed in vars(_backend.Ops).items():
        if name.startswith("_") or not callable(listed):
            continue
        own = getattr(ops, name, None)
        assert own is not None, f"{ops.name} has no {name}"
        wanted = [p for p in inspect.signature(listed).parameters if p != "self"]
        assert list(inspect.signature(own).parameters)[: len(wanted)] == wanted, name


@pytest.mark.parametrize(
    ("given", "dtype"),
    [(np.float64, "float32"), (np.int32, "int64"), (np.uint8, "uint8"), (np.bool_, "bool"), (np.float32, "float32")],
)
def test_types_of_tensors(ops: Any, given: Any, dtype: str) -> None:
    array = np.ones(3, given)
    array.setflags(write=False)
    assert ops.as_numpy(ops.from_numpy(array)).dtype == np.dtype(dtype)
    assert ops.as_numpy(ops.cast(ops.from_numpy(array), "float32")).dtype == np.float32


def test_objects_do_not_become_tensors(ops: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ops.from_numpy(np.array([{}, None]))


def test_a_structure_comes_back_as_arrays(ops: Any) -> None:
    out = ops.as_numpy({"a": (ops.ones((2,)), "text"), "b": [ops.full((1,), 3.0)], "c": 4})
    np.testing.assert_array_equal(out["a"][0], [1, 1])
    assert out["a"][1] == "text"
    assert out["b"][0].tolist() == [3.0]
    assert out["c"] == 4


def test_generators_repeat_and_can_be_saved(ops: Any) -> None:
    one, two = ops.generator(5), ops.generator(5)
    first = ops.as_numpy(ops.normal((4,), one))
    np.testing.assert_array_equal(first, ops.as_numpy(ops.normal((4,), two)))
    state = ops.get_generator_state(one)
    drawn = ops.as_numpy(ops.uniform((1000,), one, 2.0, 3.0))
    ops.set_generator_state(one, state)
    np.testing.assert_array_equal(drawn, ops.as_numpy(ops.uniform((1000,), one, 2.0, 3.0)))
    assert drawn.min() >= 2.0
    assert drawn.max() <= 3.0
    assert abs(drawn.mean() - 2.5) < 0.05


def test_categorical_draws_in_proportion(ops: Any) -> None:
    p = np.array([0.1, 0.6, 0.3])
    logits = ops.from_numpy(np.tile(np.log(p), (20_000, 1)))
    drawn = ops.as_numpy(ops.categorical(logits, ops.generator(1)))
    assert drawn.dtype == np.int64
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 20_000, p, atol=0.015)


def test_gamma_has_its_mean(ops: Any) -> None:
    drawn = ops.as_numpy(ops.gamma(ops.full((20_000,), 2.5), ops.generator(1)))
    assert abs(drawn.mean() - 2.5) < 0.06


def test_gradients_norm_and_clipping(ops: Any) -> None:
    grads = [ops.from_numpy(np.array([3.0], np.float32)), ops.from_numpy(np.array([[4.0]], np.float32))]
    assert float(ops.as_numpy(ops.global_norm(grads))) == pytest.approx(5.0)
    clipped, norm = ops.clip_by_global_norm(grads, 1.0)
    assert float(ops.as_numpy(norm)) == pytest.approx(5.0)
    assert [float(ops.as_numpy(g).reshape(())) for g in clipped] == pytest.approx([0.6, 0.8], abs=1e-5)
    same, _ = ops.clip_by_global_norm(grads, None)
    assert float(ops.as_numpy(same[0])[0]) == 3.0
