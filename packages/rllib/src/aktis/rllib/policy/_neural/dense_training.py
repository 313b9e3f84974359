"""Learning with small dense networks in NumPy: where the loss of a policy knows its derivatives, no framework is needed.

A policy takes part by defining `output_gradients`: derivatives of its loss by what comes out of the networks. The
rest (backward through the layers, clipping,
Adam) is here. It is the same arithmetic in the same order of minibatches as over a framework's tensors, so that both
learn the same within rounding (tested).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy._neural.blas import one_thread
from aktis.rllib.policy._neural.fast_inference import FastInference
from aktis.rllib.policy._neural.numpy_dists import NumpyCategorical
from aktis.rllib.policy._neural.statistics import Averages
from aktis.rllib.policy._neural.train_data import minibatch_bounds
from aktis.rllib.policy.sample_batch import SampleBatch

Array = Any


class FlatAdam:
    """Adam (Kingma and Ba 2015) over one vector.

    Args:
        pieces: Which parameter lies where in it (its state is kept by parameter in checkpoints), in the order of the model's.
        weights: The vector, which is changed in place.
        lr: The learning rate.
        eps: Added to the root of the second moment.
        betas: How slowly the moments change.
    """

    def __init__(
        self, pieces: list[Any], weights: Array, lr: float, eps: float = 1e-8, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.pieces = pieces
        self.weights = weights
        size = len(weights)
        self.lr = lr
        self.eps = eps
        self.betas = betas
        self.steps = 0
        self.first: Array = np.zeros(size, np.float32)
        self.second: Array = np.zeros(size, np.float32)
        self._scratch: Array = np.zeros(size, np.float32)

    def step(self, gradient: Array) -> None:
        """Move the weights along a gradient."""
        b1, b2 = self.betas
        m, v, scratch = self.first, self.second, self._scratch
        self.steps += 1
        m *= b1
        np.multiply(gradient, 1.0 - b1, out=scratch)
        m += scratch
        v *= b2
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1.0 - b2
        v += scratch
        # m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), with the corrections moved into two numbers
        root = (1.0 - b2**self.steps) ** 0.5
        np.sqrt(v, out=scratch)
        scratch += self.eps * root
        np.divide(m, scratch, out=scratch)
        scratch *= self.lr * root / (1.0 - b1**self.steps)
        self.weights -= scratch

    def step_with(self, parameters: Any, grads: list[Array]) -> None:
        """A step with the gradient of each parameter."""
        by_id = {id(parameter): np.ravel(np.asarray(grad)) for parameter, grad in zip(parameters, grads, strict=True)}
        gradient = np.concatenate([by_id[id(piece.parameter)] for piece in sorted(self.pieces, key=_start)])
        self.step(gradient)

    # As the optimizers of a framework: see `_backend.Ops`.

    def set_lr(self, lr: float) -> None:
        """Change the learning rate."""
        self.lr = lr

    def state_of(self) -> list[Any]:
        """Moments and steps of each parameter."""
        if self.steps == 0:
            return []
        arrays: list[Any] = []
        for piece in self.pieces:
            inside = slice(piece.start, piece.stop)
            arrays.append(self.first[inside].reshape(piece.shape).copy())
            arrays.append(self.second[inside].reshape(piece.shape).copy())
            arrays.append(np.float32(self.steps))
        return [np.asarray(array) for array in arrays]

    def load_state_of(self, arrays: list[Any]) -> None:
        """Take over what `state_of` gave.

        Raises:
            ValueError: It is of another number of parameters.
        """
        if not arrays:
            self.steps = 0
            self.first[:] = 0.0
            self.second[:] = 0.0
            return
        if len(arrays) != 3 * len(self.pieces):
            raise ValueError(f"The optimizer keeps {3 * len(self.pieces)} arrays, and {len(arrays)} were given.")
        for i, piece in enumerate(self.pieces):
            self.first[piece.start : piece.stop] = np.ravel(arrays[3 * i])
            self.second[piece.start : piece.stop] = np.ravel(arrays[3 * i + 1])
            self.steps = int(arrays[3 * i + 2])


class DenseTrainer:
    """Learns for a policy.

    Args:
        policy: The policy; it defines `output_gradients`.
        fast: What acts for it: it has the networks, in memory that is shared with the model.
        group: The optimizer group; its optimizer becomes a FlatAdam.
    """

    def __init__(self, policy: Any, fast: FastInference, group: Any) -> None:
        self.policy = policy
        self.fast = fast
        self.net = fast.net
        by_id = {id(piece.parameter): piece for piece in self.net.pieces}
        pieces = [by_id[id(parameter)] for parameter in group.parameters]
        self.adam = FlatAdam(pieces, self.net.flat, lr=policy.get_scalar(group.lr), eps=group.eps)
        group.optimizer = self.adam
        self.group = group
        self._clip = policy._option("grad_clip")
        self._may_stop = policy._may_stop

    def ready(self) -> bool:
        """Whether the memory is still the model's. Where it cannot be any more, the framework takes over for good."""
        if self.fast.stale:
            self.fast.refresh()
        if not self.fast.shared:
            ops, group = self.policy.ops, self.group
            group.optimizer = ops.adam(group.parameters, lr=self.adam.lr, eps=self.adam.eps)
            ops.load_optimizer_state(group.optimizer, self.adam.state_of())
            self.policy._dense = None
        return bool(self.fast.shared)

    def update(self, columns: dict[str, Array]) -> Any:
        """One step with a minibatch. Returns statistics."""
        net = self.net
        outputs, values = net.forward(columns["obs"], keep=True)
        dist_class = self.fast.dist_class
        d_outputs, d_values, stats = self.policy.output_gradients(dist_class(outputs), values, columns, dist_class)
        gradient = net.backward(d_outputs, d_values)
        stats["grad_gnorm"] = self.apply(gradient, self._clip)
        return stats

    def apply(self, gradient: Array, clip: float | None) -> float:
        """One step with a gradient, which is clipped first. Returns its norm."""
        norm = float(np.sqrt(np.dot(gradient, gradient)))
        if clip is not None and norm > clip:
            gradient *= clip / (norm + 1e-6)
        self.adam.step(gradient)
        return norm

    def sgd(
        self, batch: SampleBatch, epochs: int, size: int | None, shuffle: bool, standardize: tuple[str, ...]
    ) -> tuple[Averages, int]:
        """See `NeuralPolicy.sgd`. Returns statistics, and how many updates there were."""
        with one_thread():
            return self._sgd(batch, epochs, size, shuffle, standardize)

    def _sgd(
        self, batch: SampleBatch, epochs: int, size: int | None, shuffle: bool, standardize: tuple[str, ...]
    ) -> tuple[Averages, int]:
        columns = self._columns(batch)
        for key in standardize:
            column = columns[key]
            columns[key] = (column - column.mean()) / max(float(column.std()), 1e-4)
        rows = len(columns["obs"])
        bounds = minibatch_bounds(rows, rows if size is None else max(1, size))
        averages = Averages()
        for _ in range(epochs):
            before = len(averages)
            mixed = columns
            if shuffle and len(bounds) > 2:
                order = self.policy.rng.permutation(rows)
                mixed = {key: column[order] for key, column in columns.items()}
            for start, end in zip(bounds, bounds[1:], strict=False):
                averages.add(self.update({key: column[start:end] for key, column in mixed.items()}))
            if self._may_stop and self.policy.stop_sgd(averages.means(self.policy.ops, last=len(averages) - before)):
                break
        return averages, len(averages)

    def _columns(self, batch: SampleBatch) -> dict[str, Array]:
        columns = {}
        for key in self.policy._only(batch):
            column = dict.__getitem__(batch, key)
            if key == "infos" or not isinstance(column, np.ndarray) or column.dtype == object:
                continue
            if column.dtype.kind == "f" and column.dtype != np.float32:
                column = column.astype(np.float32)
            columns[key] = column
        obs = columns["obs"]
        if "actions" in columns:
            actions = columns["actions"]
            flat = (len(actions),) if self.fast.dist_class is NumpyCategorical else (len(actions), -1)
            columns["actions"] = actions.reshape(flat)
        columns["obs"] = np.ascontiguousarray(obs.reshape(len(obs), -1), dtype=np.float32)
        return columns


def _start(piece: Any) -> int:
    return int(piece.start)


def make_trainer(policy: Any, fast: FastInference | None) -> DenseTrainer | None:
    """What learns for a policy without its framework; None where that cannot be."""
    if fast is None or not fast.shared or not _knows_derivatives(policy) or len(policy._groups) != 1:
        return None
    group = policy._groups[0]
    mine, theirs = {id(piece.parameter) for piece in fast.net.pieces}, {id(p) for p in group.parameters}
    if mine != theirs or not group.is_adam or not policy._default_updates():
        return None
    return DenseTrainer(policy, fast, group)


def _knows_derivatives(policy: Any) -> bool:
    """Whether `output_gradients` is of the loss that the policy has: no class below has changed one without the other."""
    order = type(policy).__mro__
    where = {
        name: next((i for i, c in enumerate(order) if name in vars(c)), len(order))
        for name in ("output_gradients", "loss", "stats_fn")
    }
    return where["output_gradients"] < len(order) and all(
        where["output_gradients"] <= where[name] for name in ("loss", "stats_fn")
    )
