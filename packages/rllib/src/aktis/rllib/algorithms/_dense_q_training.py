"""Gradients of Q-learning for small dense networks, written out in NumPy: a framework's calls cost ten times their arithmetic.

    forward     h_0 = x, h_i = act(W_i h_(i-1) + b_i)                   trunk, then a stream of advantages, and
    with duelling one of values
    error       e = Q(s, a) - y                                         y of the target network: SimpleQPolicy
    and DQNPolicy say which
    backward    dL/dW_i = d_i^T h_(i-1), dL/db_i = sum d_i, d_(i-1) = (d_i W_i) act'(h_(i-1))

The weights are those of the model, and the optimizer is the framework's. When the policy is made, the
gradients are compared with its.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aktis.rllib.algorithms._fast_acting import FastQ, Stack
from aktis.rllib.algorithms._nstep import DISCOUNTS
from aktis.rllib.policy._neural.blas import one_thread
from aktis.rllib.policy.sample_batch import SampleBatch

Array = np.ndarray[Any, np.dtype[Any]]

# Derivatives in terms of what the activation gave.
_SLOPES: dict[str, Callable[[Array], Array] | None] = {
    "linear": None,
    "relu": lambda h: (h > 0).astype(np.float32),
    "tanh": lambda h: 1.0 - h * h,
    "sigmoid": lambda h: h * (1.0 - h),
}


def forward(stack: Stack, x: Array) -> list[Array]:
    """What each layer gives, beginning with its input. [B, n] each."""
    hs = [x]
    for weight, bias, activation in stack.arrays:
        x = x.dot(weight.T)
        if bias is not None:
            x += bias
        if activation is not None:
            x = activation(x)
        hs.append(x)
    return hs


def backward(stack: Stack, hs: list[Array], delta: Array, grads: list[Array]) -> Array:
    """Adds the gradients of each layer, last layer first, to `grads`. Returns dL/dx. `delta`: dL/d of the last layer's output."""
    for index in range(len(stack.arrays) - 1, -1, -1):
        slope = _SLOPES[stack.layers[index].activation]
        if slope is not None:
            delta = delta * slope(hs[index + 1])
        weight, bias, _ = stack.arrays[index]
        if bias is not None:
            grads.append(delta.sum(axis=0))
        grads.append(delta.T.dot(hs[index]))
        delta = delta.dot(weight)
    return delta


@dataclass
class Network:
    """A Q-network: dense layers that make features, and streams behind them."""

    trunk: Stack
    advantage: Stack | None
    value: Stack | None

    @classmethod
    def of(cls, quick: FastQ) -> Network:
        """That of what acts in NumPy."""
        return cls(quick.trunk, quick.advantage, quick.value)

    def stacks(self) -> list[Stack]:
        """Its layers, in the order in which gradients are computed."""
        return [stack for stack in (self.advantage, self.value, self.trunk) if stack is not None]

    def refresh(self, as_array: Callable[[Any], Array]) -> None:
        """Take the parameters as they are now."""
        for stack in self.stacks():
            stack.refresh(as_array)

    def parameters(self) -> list[Any]:
        """The framework's parameters, in the order of the gradients."""
        found = []
        for stack in self.stacks():
            for layer in reversed(stack.layers):
                found += [layer.weight] if layer.bias is None else [layer.bias, layer.weight]
        return found

    def forward(self, x: Array) -> tuple[Array, list[list[Array]]]:
        """Q(s, .) [B, A], and what each layer gave."""
        trunk = forward(self.trunk, x)
        if self.advantage is None:
            return trunk[-1], [trunk]
        advantage = forward(self.advantage, trunk[-1])
        if self.value is None:
            return advantage[-1], [trunk, advantage]
        value = forward(self.value, trunk[-1])
        a = advantage[-1]
        return value[-1] + (a - a.sum(axis=1, keepdims=True) / a.shape[1]), [trunk, advantage, value]

    def backward(self, hs: list[list[Array]], dq: Array) -> list[Array]:
        """dL/d of each parameter, of dL/dQ [B, A]."""
        grads: list[Array] = []
        delta = dq
        if self.advantage is not None:
            da = dq if self.value is None else dq - dq.sum(axis=1, keepdims=True) / dq.shape[1]
            delta = backward(self.advantage, hs[1], da, grads)
            if self.value is not None:
                delta = delta + backward(self.value, hs[2], dq.sum(axis=1, keepdims=True), grads)
        backward(self.trunk, hs[0], delta, grads)
        return grads


class DenseQTraining:
    """Computes what `loss`, `stats_fn` and the gradients of a Q-learning policy would be.

    Args:
        policy: The policy.
        model: Its network.
        target: Its target network.

    Raises:
        ValueError: an activation whose derivative is not known here.
    """

    def __init__(self, policy: Any, model: Network, target: Network) -> None:
        unknown = [
            layer.activation for stack in model.stacks() for layer in stack.layers if layer.activation not in _SLOPES
        ]
        if unknown:
            raise ValueError(f"no derivative of {unknown[0]!r} in NumPy")
        config = policy.config
        self.policy, self.model, self.target = policy, model, target
        self.double_q = bool(config.get("double_q", False))
        self.huber = config["td_error_loss_fn"] == "huber"
        self.discount = float(config["gamma"]) ** int(config.get("n_step", 1) or 1)
        self.clip = config.get("grad_clip")
        self._as_array = _shared if policy.ops.name == "torch" else policy.ops.as_numpy
        self.stale = True

    def takes(self, batch: SampleBatch) -> bool:
        """Whether a batch is rows of numbers."""
        obs = dict.get(batch, SampleBatch.OBS)
        return type(obs) is np.ndarray and "seq_lens" not in batch and batch.get_interceptor is None and len(obs) > 0

    def gradients(self, batch: SampleBatch) -> tuple[list[Array], dict[str, float], Array]:
        """Gradients (not clipped) in the order of `model.parameters()`, statistics, and TD errors [B]."""
        if self.stale or self._as_array is not _shared:
            self.model.refresh(self._as_array)
            self.target.refresh(self._as_array)
            self.stale = False
        column = batch.__getitem__
        obs, next_obs = _rows(column(SampleBatch.OBS)), _rows(column(SampleBatch.NEXT_OBS))
        rows = np.arange(len(obs))
        q, hs = self.model.forward(obs)
        next_q, _ = self.target.forward(next_obs)
        best = (self.model.forward(next_obs)[0] if self.double_q else next_q).argmax(axis=1)
        discounts = column(DISCOUNTS) if DISCOUNTS in batch else self.discount
        kept = discounts * np.logical_not(column(SampleBatch.TERMINATEDS))
        actions = column(SampleBatch.ACTIONS)
        errors = q[rows, actions] - (column(SampleBatch.REWARDS) + kept * next_q[rows, best])
        slopes = np.minimum(np.maximum(errors, -1.0), 1.0) if self.huber else errors
        if "weights" in batch:
            slopes = slopes * column("weights")
        dq = np.zeros_like(q)
        dq[rows, actions] = slopes / len(rows)
        stats = {
            "cur_lr": self.policy.get_scalar("lr"),
            "mean_q": float(q.mean()),
            "min_q": float(q.min()),
            "max_q": float(q.max()),
            "mean_td_error": float(errors.mean()),
        }
        return self.model.backward(hs, dq), stats, errors.astype(np.float32)

    def update(self, batch: SampleBatch, group: Any) -> tuple[dict[str, float], Array]:
        """One step of the optimizer. Returns statistics and TD errors."""
        grads, stats, errors = self.gradients(batch)
        norm = float(np.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads)))
        if self.clip is not None and norm > self.clip:
            scale = np.float32(self.clip / (norm + 1e-6))
            for grad in grads:
                grad *= scale
        ops = self.policy.ops
        by_id = {id(parameter): grad for parameter, grad in zip(self.model.parameters(), grads, strict=True)}
        found = [ops.from_numpy(by_id[id(p)]) if id(p) in by_id else ops.zeros_like(p) for p in group.parameters]
        ops.apply_gradients(group.optimizer, group.parameters, found)
        return {**stats, "grad_gnorm": norm}, errors


def _rows(column: Array) -> Array:
    column = column if column.dtype == np.float32 else column.astype(np.float32)
    return column if column.ndim == 2 else column.reshape(len(column), -1)


def _shared(parameter: Any) -> Array:
    array: Array = parameter.detach().numpy()
    return array


class DenseQTrainingPolicy:
    """Mixin of a Q-learning policy: learns with `DenseQTraining` where its network is dense and its loss not another one."""

    _trainer: DenseQTraining | None = None

    def make_trainer(self) -> DenseQTraining | None:
        """What learns in NumPy; None where the framework has to."""
        return None

    def _after_init(self) -> None:
        super()._after_init()  # type: ignore[misc]
        try:
            trainer = self.make_trainer()
        except (AttributeError, TypeError, ValueError):  # layers that are not what they seem
            trainer = None
        if trainer is not None and self._same_gradients(trainer):
            self._trainer = trainer

    def _same_gradients(self, trainer: DenseQTraining) -> bool:
        """Whether both ways give the same gradients for a few rows."""
        rng, rows = np.random.default_rng(0), 6
        width = self.observation_space.shape  # type: ignore[attr-defined]
        batch = SampleBatch(
            obs=rng.normal(size=(rows, *width)).astype(np.float32),
            new_obs=rng.normal(size=(rows, *width)).astype(np.float32),
            actions=rng.integers(self.action_space.n, size=rows),  # type: ignore[attr-defined]
            rewards=rng.normal(size=rows).astype(np.float32),
            terminateds=rng.random(rows) < 0.5,
            weights=rng.random(rows).astype(np.float32),
        )
        grads, _, _ = trainer.gradients(batch)
        by_id = {id(p): grad for p, grad in zip(trainer.model.parameters(), grads, strict=True)}
        group = self._groups[0]  # type: ignore[attr-defined]
        (slow,), _, _ = self._grads(self._train_data(batch).whole())  # type: ignore[attr-defined]
        return all(
            np.allclose(by_id.get(id(p), 0.0), self.ops.as_numpy(grad), rtol=1e-2, atol=1e-4)  # type: ignore[attr-defined]
            for p, grad in zip(group.parameters, slow, strict=True)
        )

    def _weights_changed(self) -> None:
        super()._weights_changed()  # type: ignore[misc]
        if self._trainer is not None:
            self._trainer.stale = True

    def learn_on_batch(self, samples: SampleBatch) -> dict[str, Any]:
        """See Policy."""
        trainer = self._trainer
        if trainer is None or not trainer.takes(samples):
            return super().learn_on_batch(samples)  # type: ignore[misc,no-any-return]
        from aktis.rllib.policy._neural.statistics import Averages

        with one_thread(), self._threads():  # type: ignore[attr-defined]
            stats, errors = trainer.update(samples, self._groups[0])  # type: ignore[attr-defined]
        averages = Averages()
        averages.add(stats)
        fetches = {"learner_stats": {}, "td_error": errors}
        return self._learned(averages, fetches, samples, updates=1, steps=len(errors))  # type: ignore[attr-defined,no-any-return]
