"""Optimizers in TensorFlow whose arithmetic and state are those of PyTorch's: the same gradients move weights to the same place.

Everything that changes is a variable, so that a step can be traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any


class Optimizer:
    """Base: a learning rate, and arrays for each parameter.

    Args:
        parameters: Variables that it moves.
        lr: The learning rate.
    """

    slots: tuple[str, ...] = ()  # arrays of the parameter's shape, in the order of checkpoints

    def __init__(self, parameters: Sequence[Any], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = tf.Variable(float(lr), trainable=False, dtype=tf.float32)
        self.steps = tf.Variable(0.0, trainable=False, dtype=tf.float32)
        self.kept = [
            {name: tf.Variable(tf.zeros_like(p), trainable=False) for name in self.slots} for p in self.parameters
        ]
        self._index = {id(p): i for i, p in enumerate(self.parameters)}

    def apply(self, parameters: Sequence[Any], grads: Sequence[Tensor]) -> None:
        """One step."""
        self.steps.assign_add(1.0)
        for parameter, grad in zip(parameters, grads, strict=True):
            self._move(parameter, tf.convert_to_tensor(grad), self.kept[self._index[id(parameter)]])

    def _move(self, parameter: Any, grad: Tensor, kept: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define _move()")

    def state(self) -> list[Any]:
        """Of each parameter its arrays and the number of steps; nothing before the first."""
        steps = np.asarray(self.steps.numpy(), np.float32)
        if steps == 0:
            return []
        return [array for kept in self.kept for array in [*(kept[name].numpy() for name in self.slots), steps]]

    def load(self, arrays: Sequence[Any]) -> None:
        """Take over what `state` gave.

        Raises:
            ValueError: It is of other parameters.
        """
        per = len(self.slots) + 1
        if not len(arrays):
            self.steps.assign(0.0)
            for kept in self.kept:
                for variable in kept.values():
                    variable.assign(tf.zeros_like(variable))
            return
        if len(arrays) != per * len(self.parameters):
            raise ValueError(f"The optimizer keeps {per * len(self.parameters)} arrays, and {len(arrays)} were given.")
        given = iter(arrays)
        for kept in self.kept:
            for name in self.slots:
                kept[name].assign(np.asarray(next(given), np.float32))
            self.steps.assign(np.float32(np.asarray(next(given))))


class Adam(Optimizer):
    """Adam: Kingma and Ba (2015), algorithm 1; with weight decay added to the gradient."""

    slots = ("exp_avg", "exp_avg_sq")

    def __init__(
        self, parameters: Sequence[Any], lr: float, eps: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__(parameters, lr)
        self.eps, self.betas, self.weight_decay = eps, betas, weight_decay

    def apply(self, parameters: Sequence[Any], grads: Sequence[Tensor]) -> None:
        steps = self.steps.assign_add(1.0)
        b1, b2 = self.betas
        power1, power2 = tf.pow(b1, steps), tf.pow(b2, steps)
        # The kernel adds epsilon to sqrt(v) without the correction of v: the same as the paper's with a smaller one.
        eps = self.eps * tf.sqrt(1.0 - power2)
        for parameter, grad in zip(parameters, grads, strict=True):
            kept = self.kept[self._index[id(parameter)]]
            if self.weight_decay:
                grad = grad + self.weight_decay * parameter
            tf.raw_ops.ResourceApplyAdam(
                var=parameter.handle,
                m=kept["exp_avg"].handle,
                v=kept["exp_avg_sq"].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=self.lr,
                beta1=b1,
                beta2=b2,
                epsilon=eps,
                grad=tf.convert_to_tensor(grad),
            )


class RMSProp(Optimizer):
    """RMSProp: Tieleman and Hinton (2012), lecture 6.5; with momentum."""

    def __init__(self, parameters: Sequence[Any], lr: float, decay: float, momentum: float, eps: float) -> None:
        self.slots = ("momentum_buffer", "square_avg") if momentum else ("square_avg",)
        super().__init__(parameters, lr)
        self.decay, self.momentum, self.eps = decay, momentum, eps

    def _move(self, parameter: Any, grad: Tensor, kept: dict[str, Any]) -> None:
        square = kept["square_avg"].assign(self.decay * kept["square_avg"] + (1.0 - self.decay) * tf.square(grad))
        step = grad / (tf.sqrt(square) + self.eps)
        if self.momentum:
            step = kept["momentum_buffer"].assign(self.momentum * kept["momentum_buffer"] + step)
        parameter.assign_sub(self.lr * step)


class SGD(Optimizer):
    """Gradient descent, with momentum."""

    def __init__(self, parameters: Sequence[Any], lr: float, momentum: float) -> None:
        self.slots = ("momentum_buffer",) if momentum else ()
        super().__init__(parameters, lr)
        self.momentum = momentum

    def _move(self, parameter: Any, grad: Tensor, kept: dict[str, Any]) -> None:
        if self.momentum:
            grad = kept["momentum_buffer"].assign(self.momentum * kept["momentum_buffer"] + grad)
        parameter.assign_sub(self.lr * grad)
