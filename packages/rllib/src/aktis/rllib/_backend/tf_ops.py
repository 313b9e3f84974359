"""The operations of `_backend.Ops` with TensorFlow 2, eager and traced."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tree

try:
    import tensorflow as tf
except ImportError as e:  # pragma: no cover
    raise ImportError('framework "tf2" needs TensorFlow: pip install "aktis-rllib[tensorflow]"') from e

from aktis.rllib._backend._tf_optimizers import SGD, Adam, Optimizer, RMSProp
from aktis.rllib._backend._tf_variables import named_variables, trainable

Tensor = Any
Axis = int | tuple[int, ...] | None

name = "tf2"

_DTYPES = {
    "float32": tf.float32,
    "float64": tf.float64,
    "float16": tf.float16,
    "int8": tf.int8,
    "uint8": tf.uint8,
    "int32": tf.int32,
    "int64": tf.int64,
    "bool": tf.bool,
}


# ---- making tensors, and back to NumPy


def is_tensor(x: Any) -> bool:
    return isinstance(x, tf.Tensor | tf.Variable)


def from_numpy(x: Any, device: Any = None, dtype: str | None = None) -> Tensor:
    if not is_tensor(x):
        array = np.asarray(x)
        kind = array.dtype.kind
        if kind not in "biuf":
            raise TypeError(f"An array of type {array.dtype} does not become a tensor.")
        if dtype is None:
            if kind == "f" and array.dtype.itemsize != 4:
                array = array.astype(np.float32)
            elif kind in "iu" and array.dtype != np.int64 and array.dtype != np.uint8:
                array = array.astype(np.int64)
        x = tf.convert_to_tensor(array)
    return x if dtype is None else tf.cast(x, _DTYPES[dtype])


def as_numpy(x: Any) -> Any:
    if is_tensor(x):
        return x.numpy()
    if isinstance(x, dict | tuple | list):
        return tree.map_structure(lambda leaf: leaf.numpy() if is_tensor(leaf) else leaf, x)
    return x


def zeros(shape: Sequence[int], dtype: str = "float32", device: Any = None) -> Tensor:
    return tf.zeros(tuple(shape), _DTYPES[dtype])


def ones(shape: Sequence[int], dtype: str = "float32", device: Any = None) -> Tensor:
    return tf.ones(tuple(shape), _DTYPES[dtype])


def full(shape: Sequence[int], value: float, dtype: str = "float32", device: Any = None) -> Tensor:
    return tf.fill(tuple(shape), tf.cast(value, _DTYPES[dtype]))


def zeros_like(x: Tensor) -> Tensor:
    return tf.zeros_like(x)


def ones_like(x: Tensor) -> Tensor:
    return tf.ones_like(x)


def arange(stop: int, dtype: str = "int64", device: Any = None) -> Tensor:
    return tf.cast(tf.range(stop), _DTYPES[dtype])


def cast(x: Tensor, dtype: str) -> Tensor:
    return tf.cast(x, _DTYPES[dtype])


def shape(x: Tensor) -> tuple[Any, ...]:
    static = tuple(x.shape)
    if None not in static:
        return static
    dynamic = tf.unstack(tf.shape(x))
    return tuple(d if s is None else s for s, d in zip(static, dynamic, strict=True))


def device_of(x: Tensor) -> Any:
    return None  # TensorFlow places operations itself


# ---- elementwise


def exp(x: Tensor) -> Tensor:
    return tf.exp(x)


def expm1(x: Tensor) -> Tensor:
    return tf.math.expm1(x)


def log(x: Tensor) -> Tensor:
    return tf.math.log(x)


def log1p(x: Tensor) -> Tensor:
    return tf.math.log1p(x)


def sqrt(x: Tensor) -> Tensor:
    return tf.sqrt(x)


def square(x: Tensor) -> Tensor:
    return tf.square(x)


def pow(x: Tensor, exponent: Any) -> Tensor:
    return tf.pow(x, exponent)


def abs(x: Tensor) -> Tensor:
    return tf.abs(x)


def sign(x: Tensor) -> Tensor:
    return tf.sign(x)


def floor(x: Tensor) -> Tensor:
    return tf.floor(x)


def ceil(x: Tensor) -> Tensor:
    return tf.math.ceil(x)


def sin(x: Tensor) -> Tensor:
    return tf.sin(x)


def cos(x: Tensor) -> Tensor:
    return tf.cos(x)


def tanh(x: Tensor) -> Tensor:
    return tf.tanh(x)


def atanh(x: Tensor) -> Tensor:
    return tf.atanh(x)


def sigmoid(x: Tensor) -> Tensor:
    return tf.sigmoid(x)


def log_sigmoid(x: Tensor) -> Tensor:
    return tf.math.log_sigmoid(x)


def softplus(x: Tensor) -> Tensor:
    return tf.math.softplus(x)


def relu(x: Tensor) -> Tensor:
    return tf.nn.relu(x)


def lgamma(x: Tensor) -> Tensor:
    return tf.math.lgamma(x)


def digamma(x: Tensor) -> Tensor:
    return tf.math.digamma(x)


def isfinite(x: Tensor) -> Tensor:
    return tf.math.is_finite(x)


def isnan(x: Tensor) -> Tensor:
    return tf.math.is_nan(x)


def minimum(x: Tensor, y: Any) -> Tensor:
    return tf.minimum(x, y)


def maximum(x: Tensor, y: Any) -> Tensor:
    return tf.maximum(x, y)


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    if low is not None:
        x = tf.maximum(x, low)
    return x if high is None else tf.minimum(x, high)


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    return tf.where(condition, x, y)


def equal(x: Tensor, y: Any) -> Tensor:
    return tf.equal(x, tf.cast(y, x.dtype) if is_tensor(x) and is_tensor(y) else y)


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    return tf.logical_and(x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    return tf.logical_or(x, y)


def logical_not(x: Tensor) -> Tensor:
    return tf.logical_not(x)


def stop_gradient(x: Tensor) -> Tensor:
    return tf.stop_gradient(x)


def no_grad() -> Any:
    return contextlib.nullcontext()  # a tape that has to be stopped is not known here: targets go through stop_gradient


def huber(x: Tensor, delta: float = 1.0) -> Tensor:
    size = tf.abs(x)
    return tf.where(size <= delta, 0.5 * tf.square(x), delta * (size - 0.5 * delta))


# ---- reductions


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_sum(x, axis=axis, keepdims=keepdims)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_mean(x, axis=axis, keepdims=keepdims)


def var(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return tf.math.reduce_variance(x, axis=axis, keepdims=keepdims)


def std(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return tf.math.reduce_std(x, axis=axis, keepdims=keepdims)


def max(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_max(x, axis=axis, keepdims=keepdims)


def min(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_min(x, axis=axis, keepdims=keepdims)


def prod(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_prod(x, axis=axis, keepdims=keepdims)


def any(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_any(x, axis=axis, keepdims=keepdims)


def all(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return tf.reduce_all(x, axis=axis, keepdims=keepdims)


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    return tf.argmax(x, axis=axis, output_type=tf.int64)


def argsort(x: Tensor, axis: int = -1) -> Tensor:
    return tf.cast(tf.argsort(x, axis=axis, stable=True), tf.int64)


def sort(x: Tensor, axis: int = -1) -> Tensor:
    return tf.sort(x, axis=axis)


def cumsum(x: Tensor, axis: int = -1) -> Tensor:
    return tf.cumsum(x, axis=axis)


def logsumexp(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    return tf.reduce_logsumexp(x, axis=axis, keepdims=keepdims)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return tf.nn.softmax(x, axis=axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    return tf.nn.log_softmax(x, axis=axis)


# ---- shapes and choices


def reshape(x: Tensor, shape: Sequence[Any]) -> Tensor:
    return tf.reshape(x, tuple(shape))


def squeeze(x: Tensor, axis: int) -> Tensor:
    return tf.squeeze(x, axis)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    return tf.expand_dims(x, axis)


def transpose(x: Tensor, axes: Sequence[int]) -> Tensor:
    return tf.transpose(x, tuple(axes))


def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    return tf.tile(x, tuple(repeats))


def repeat(x: Tensor, repeats: int, axis: int = 0) -> Tensor:
    return tf.repeat(x, repeats, axis=axis)


def broadcast_to(x: Tensor, shape: Sequence[Any]) -> Tensor:
    return tf.broadcast_to(x, tuple(shape))


def concat(xs: Sequence[Tensor], axis: int = -1) -> Tensor:
    return tf.concat(list(xs), axis=axis)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    return tf.stack(list(xs), axis=axis)


def unstack(x: Tensor, axis: int = 0) -> list[Tensor]:
    return list(tf.unstack(x, axis=axis))


def split(x: Tensor, sizes: Sequence[int], axis: int = -1) -> list[Tensor]:
    return list(tf.split(x, list(sizes), axis=axis))


def matmul(x: Tensor, y: Tensor) -> Tensor:
    return tf.matmul(x, y)


def one_hot(x: Tensor, depth: int) -> Tensor:
    return tf.one_hot(tf.cast(x, tf.int64), depth)


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    return tf.gather(x, tf.cast(index, tf.int64), batch_dims=1)


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    return tf.gather(x, index)


def sequence_mask(lengths: Tensor, max_len: int) -> Tensor:
    return tf.sequence_mask(lengths, max_len)


# ---- random numbers


def generator(seed: int | None, device: Any = None) -> Any:
    if seed is None:
        return tf.random.Generator.from_non_deterministic_state()
    return tf.random.Generator.from_seed(int(seed))


def get_generator_state(generator: Any) -> Any:
    return generator.state.numpy().copy()


def set_generator_state(generator: Any, state: Any) -> None:
    generator.state.assign(np.asarray(state, np.int64))


def normal(shape: Sequence[Any], generator: Any, device: Any = None) -> Tensor:
    return tf.random.normal(tuple(shape)) if generator is None else generator.normal(tuple(shape))


def uniform(shape: Sequence[Any], generator: Any, low: float = 0.0, high: float = 1.0, device: Any = None) -> Tensor:
    if generator is None:
        return tf.random.uniform(tuple(shape), low, high)
    return generator.uniform(tuple(shape), low, high)


def categorical(logits: Tensor, generator: Any) -> Tensor:
    # The maximum of logits with Gumbel noise: exact, and no error where all probabilities of a row underflow.
    drawn = tf.maximum(uniform(shape(logits), generator), 1e-20)
    return tf.argmax(logits - tf.math.log(-tf.math.log(drawn)), axis=-1, output_type=tf.int64)


def gamma(concentration: Tensor, generator: Any) -> Tensor:
    if generator is None:
        return tf.random.gamma((), concentration)
    seed = generator.make_seeds(1)[:, 0]
    return tf.random.stateless_gamma(tf.shape(concentration), seed, concentration)


def seed_everything(seed: int) -> None:
    random.seed(seed)  # Keras, and our layers, draw the seeds of initial weights from it
    tf.random.set_seed(seed)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    from tensorflow.python.eager import context

    python, before = random.getstate(), context.global_seed()
    seed_everything(seed)
    try:
        yield
    finally:
        random.setstate(python)
        tf.random.set_seed(before)


# ---- parameters, gradients and optimizers


def parameters(model: Any) -> list[Any]:
    return list(trainable(named_variables(model)).values())


def named_arrays(model: Any) -> dict[str, Any]:
    return {key: np.array(variable.numpy()) for key, variable in named_variables(model).items()}


def load_arrays(model: Any, arrays: Mapping[str, Any]) -> None:
    own = named_variables(model)
    missing, unknown = sorted(set(own) - set(arrays)), sorted(set(arrays) - set(own))
    if missing or unknown:
        raise ValueError(f"These weights are of another model: missing {missing}, unknown {unknown}.")
    for key, variable in own.items():
        value = np.asarray(as_numpy(arrays[key]))
        if value.shape != tuple(variable.shape):
            raise ValueError(f"Weight {key!r} has the shape {value.shape}, and the model's is {tuple(variable.shape)}.")
        variable.assign(value.astype(variable.dtype.as_numpy_dtype, copy=False))


def copy_params(src: Any, dst: Any, tau: float = 1.0) -> None:
    for a, b in zip(_variables(src), _variables(dst), strict=True):
        if tau == 1.0 or not b.trainable:
            b.assign(a)
        else:
            b.assign_add(tau * (a - b))


def _variables(x: Any) -> list[Any]:
    return list(named_variables(x).values())


def gradients(loss: Tensor, parameters: Sequence[Any], retain: bool = False, tape: Any = None) -> list[Any]:
    if tape is None:
        raise ValueError(
            "With TensorFlow gradients need the tape that the loss was recorded on: gradients(..., tape=tape)."
        )
    found = tape.gradient(loss, list(parameters), unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(g) for g in found]


def global_norm(tensors: Sequence[Any]) -> Tensor:
    return tf.linalg.global_norm(list(tensors))


def clip_by_global_norm(tensors: Sequence[Any], clip_norm: float | None) -> tuple[list[Any], Tensor]:
    norm = global_norm(tensors)
    tensors = list(tensors)
    if clip_norm is None:
        return tensors, norm
    scale = tf.minimum(clip_norm / (norm + 1e-6), 1.0)
    return [tensor * scale for tensor in tensors], norm


def adam(
    parameters: Sequence[Any],
    lr: float,
    eps: float = 1e-8,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> Any:
    return Adam(parameters, lr, eps, betas, weight_decay)


def rmsprop(parameters: Sequence[Any], lr: float, decay: float = 0.99, momentum: float = 0.0, eps: float = 0.1) -> Any:
    return RMSProp(parameters, lr, decay, momentum, eps)


def sgd(parameters: Sequence[Any], lr: float, momentum: float = 0.0) -> Any:
    return SGD(parameters, lr, momentum)


def apply_gradients(optimizer: Any, parameters: Sequence[Any], grads: Sequence[Any]) -> None:
    if isinstance(optimizer, Optimizer):
        optimizer.apply(parameters, grads)
    else:
        optimizer.apply_gradients(list(zip(grads, parameters, strict=True)))


def set_lr(optimizer: Any, lr: float) -> None:
    if isinstance(optimizer, Optimizer):
        optimizer.lr.assign(lr)
    else:
        optimizer.learning_rate = lr


def optimizer_state(optimizer: Any) -> list[Any]:
    if isinstance(optimizer, Optimizer):
        return optimizer.state()
    return [np.array(variable.numpy()) for variable in optimizer.variables]


def load_optimizer_state(optimizer: Any, arrays: Sequence[Any]) -> None:
    if isinstance(optimizer, Optimizer):
        optimizer.load(arrays)
        return
    if len(arrays) != len(optimizer.variables):
        raise ValueError(f"The optimizer keeps {len(optimizer.variables)} arrays, and {len(arrays)} were given.")
    for variable, array in zip(optimizer.variables, arrays, strict=True):
        variable.assign(array)
