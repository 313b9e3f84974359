"""Small dense networks in NumPy: forward, and backward from the gradients of what comes out.

A call into a framework costs more than the arithmetic of a network of 2 x 64 units; NumPy's cost about a microsecond.
The networks of policy and value have
the same shape, so that each layer is one product of stacks:

    x [B, n] ─► h [K, B, 64] ─► h [K, B, 64] ─┬─► outputs [B, A]        from h[0]
                                              └─► values  [B]           from h[K - 1]

K is 2 where both have their own layers, and 1 where they share them. All weights lie in one vector, and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

_DERIVATIVES: dict[str, Callable[[Array], Array] | None] = {
    "linear": None,
    "tanh": lambda h: 1.0 - h * h,
    "relu": lambda h: (h > 0.0).astype(np.float32),
}


@dataclass
class _Stage:
    """One layer of both networks: weights [K, out, in], biases [K, 1, out], and the slices where they lie."""

    weights: slice
    biases: slice
    shape: tuple[int, int, int]
    activation: str


@dataclass
class Piece:
    """Where a parameter lies in the vector of all."""

    parameter: Any
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The end."""
        return self.start + int(np.prod(self.shape, dtype=np.int64))


class DenseNet:
    """The networks of a policy.

    Args:
        network: The layers (`models.modelv2.DenseNetwork`).

    Raises:
        ValueError: They are not of the shape described above.
    """

    def __init__(self, network: Any) -> None:
        hidden = _hidden_stages(network)
        self.pieces: list[Piece] = []
        self._size = 0
        self._stages = [self._stage(layers) for layers in hidden]
        head, value = network.policy[-1], network.value[-1]
        if head.activation != "linear" or value.activation != "linear":
            raise ValueError("heads with an activation")
        self._head = self._layer(head)
        self._value = self._layer(value)
        self._log_std = None if network.log_std is None else self._add(network.log_std)
        self.flat: Array = np.zeros(self._size, np.float32)
        self.gradient: Array = np.zeros(self._size, np.float32)
        self._arrays = self._views(self.flat)
        self._grads = self._views(self.gradient)
        self._kept: list[Array] = []

    # ---- where everything lies

    def _add(self, *parameters: Any) -> slice:
        start = self._size
        for parameter in parameters:
            piece = Piece(parameter, self._size, tuple(int(n) for n in parameter.shape))
            self.pieces.append(piece)
            self._size = piece.stop
        return slice(start, self._size)

    def _stage(self, layers: list[Any]) -> _Stage:
        first = layers[0]
        if first.activation not in _DERIVATIVES or any(layer.bias is None for layer in layers):
            raise ValueError(f"activation {first.activation}, or no bias")
        shapes = {(tuple(layer.weight.shape), layer.activation) for layer in layers}
        if len(shapes) != 1:
            raise ValueError("policy and value of different shapes")
        weights = self._add(*(layer.weight for layer in layers))
        biases = self._add(*(layer.bias for layer in layers))
        out, in_ = (int(n) for n in first.weight.shape)
        return _Stage(weights, biases, (len(layers), out, in_), first.activation)

    def _layer(self, layer: Any) -> tuple[slice, slice, tuple[int, int]]:
        if layer.bias is None:
            raise ValueError("no bias")
        out, in_ = (int(n) for n in layer.weight.shape)
        return self._add(layer.weight), self._add(layer.bias), (out, in_)

    def _views(self, flat: Array) -> Any:
        stages = [
            (flat[s.weights].reshape(s.shape), flat[s.biases].reshape(s.shape[0], 1, s.shape[1])) for s in self._stages
        ]
        heads = [(flat[w].reshape(shape), flat[b]) for w, b, shape in (self._head, self._value)]
        log_std = None if self._log_std is None else flat[self._log_std]
        # Transposed views are made once: making one costs as much as a small product.
        turned = [weights.transpose(0, 2, 1) for weights, _ in stages]
        return stages, turned, heads, [w.T for w, _ in heads], log_std

    def load(self, arrays: list[Array]) -> None:
        """Set the parameters, in the order of `pieces`."""
        for piece, array in zip(self.pieces, arrays, strict=True):
            self.flat[piece.start : piece.stop] = np.ravel(array)

    # ---- forward and backward

    def forward(self, x: Array, keep: bool = False) -> tuple[Array, Array]:
        """Outputs [B, A] and values [B] of observations [B, n].

        Args:
            x: float32.
            keep: Remember what `backward` needs.
        """
        stages, turned, heads, heads_turned, log_std = self._arrays
        h = x
        kept = [x]
        for stage, (_, bias), weights in zip(self._stages, stages, turned, strict=True):
            h = h @ weights
            h += bias
            if stage.activation == "tanh":
                np.tanh(h, out=h)
            elif stage.activation == "relu":
                np.maximum(h, 0.0, out=h)
            if keep:
                kept.append(h)
        first, last = (h[0], h[-1]) if h.ndim == 3 else (h, h)
        outputs = first @ heads_turned[0]
        outputs += heads[0][1]
        values = last @ heads_turned[1]
        values += heads[1][1]
        if log_std is not None:
            wide = np.empty((len(outputs), 2 * log_std.size), np.float32)
            wide[:, : log_std.size] = outputs
            wide[:, log_std.size :] = log_std
            outputs = wide
        if keep:
            self._kept = kept
        return outputs, values[:, 0]

    def backward(self, d_outputs: Array, d_values: Array) -> Array:
        """Gradients of all parameters, given those of outputs [B, A] and values [B] of the last `forward(x, keep=True)`."""
        stages, _, heads, _, _ = self._arrays
        grads, _, head_grads, _, d_log_std = self._grads
        if d_log_std is not None:
            np.add.reduce(d_outputs[:, d_log_std.size :], axis=0, out=d_log_std)
            d_outputs = np.ascontiguousarray(d_outputs[:, : d_log_std.size])
        h = self._kept[-1]
        first, last = (h[0], h[-1]) if h.ndim == 3 else (h, h)
        column = d_values[:, None]
        np.matmul(d_outputs.T, first, out=head_grads[0][0])
        np.add.reduce(d_outputs, axis=0, out=head_grads[0][1])
        np.matmul(d_values[None], last, out=head_grads[1][0])
        head_grads[1][1][0] = np.add.reduce(d_values)
        if not stages:
            return self.gradient
        g = np.empty(h.shape, np.float32)
        np.matmul(d_outputs, heads[0][0], out=g[0])
        if len(g) == 2:
            np.multiply(column, heads[1][0], out=g[1])
        else:
            g[0] += column * heads[1][0]
        for i in range(len(stages) - 1, -1, -1):
            derivative = _DERIVATIVES[self._stages[i].activation]
            if derivative is not None:
                g *= derivative(self._kept[i + 1])
            np.matmul(g.transpose(0, 2, 1), self._kept[i], out=grads[i][0])
            np.add.reduce(g, axis=1, keepdims=True, out=grads[i][1])
            if i:
                g = g @ stages[i][0]
        return self.gradient


def _hidden_stages(network: Any) -> list[list[Any]]:
    """Hidden layers: one of each, or two side by side."""
    policy, value = list(network.policy), list(network.value)
    if not policy or not value:
        raise ValueError("no head")
    if len(policy) == 1 and len(value) == 1:
        return [[layer] for layer in network.trunk]
    if network.trunk or len(policy) != len(value):
        raise ValueError("policy and value of different depths")
    return [[a, b] for a, b in zip(policy[:-1], value[:-1], strict=True)]
