"""Acting in NumPy for Q-networks and SAC's policy, where they are small and dense: a call into a framework
costs more than their arithmetic.

With PyTorch on the CPU the arrays share the memory of the parameters; otherwise they are copied after each
update, when the next action is
wanted. Whether both ways give the same is tried out when the policy is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Above so many parameters the arithmetic costs more than the calls.
MAX_PARAMETERS = 300_000


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0, out=x)  # type: ignore[no-any-return]


def _tanh(x: Array) -> Array:
    return np.tanh(x, out=x)  # type: ignore[no-any-return]


_ACTIVATIONS: dict[str, Callable[[Array], Array] | None] = {
    "linear": None,
    "relu": _relu,
    "tanh": _tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
}


class Stack:
    """Dense layers one after the other.

    Args:
        layers: `DenseLayer`s, whose tensors are a model's parameters.

    Raises:
        ValueError: an activation that is not known here.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        unknown = [layer.activation for layer in layers if layer.activation not in _ACTIVATIONS]
        if unknown:
            raise ValueError(f"no activation {unknown[0]!r} in NumPy")
        self.layers = list(layers)
        self.arrays: list[tuple[Array, Array | None, Callable[[Array], Array] | None]] = []

    def refresh(self, as_array: Callable[[Any], Array]) -> None:
        """Take the parameters as they are now."""
        self.arrays = [
            (
                as_array(layer.weight),
                None if layer.bias is None else as_array(layer.bias),
                _ACTIVATIONS[layer.activation],
            )
            for layer in self.layers
        ]

    def size(self) -> int:
        """Numbers in all weights."""
        return sum(int(np.prod(layer.weight.shape)) for layer in self.layers)

    def __call__(self, x: Array) -> Array:
        """[B, n] to [B, m]; one row as [n] to [m], which is faster."""
        for weight, bias, activation in self.arrays:
            x = weight.dot(x) if x.ndim == 1 else x.dot(weight.T)
            if bias is not None:
                x += bias
            if activation is not None:
                x = activation(x)
        return x


class FastActing:
    """Acts for a policy.

    Args:
        policy: The policy.
        stacks: Its layers.
        width: Numbers in an observation.
    """

    def __init__(self, policy: Any, stacks: Sequence[Stack], width: int) -> None:
        self.policy = policy
        self.stacks = [stack for stack in stacks if stack is not None]
        self.width = width
        self.stale = True
        self._as_array = _shared if policy.ops.name == "torch" else policy.ops.as_numpy

    def takes(self, input_dict: Any) -> bool:
        """Whether the observations are rows of numbers."""
        obs = input_dict.get("obs")
        return type(obs) is np.ndarray and obs.ndim >= 2 and obs.size == len(obs) * self.width and len(obs) > 0

    def features(self, obs: Array) -> Array:
        """Observations as rows of 32-bit floats, or as one row without the axis of the batch."""
        if self.stale:
            for stack in self.stacks:
                stack.refresh(self._as_array)
            self.stale = False
        if obs.dtype != np.float32:
            obs = obs.astype(np.float32)
        return obs.reshape(-1) if len(obs) == 1 else obs.reshape(len(obs), -1)

    def act(self, obs: Array, explore: bool, timestep: int) -> tuple[Any, dict[str, Any]]:
        """Actions, and columns of what else was computed."""
        raise NotImplementedError(f"{type(self).__name__} must define act()")


class FastQ(FastActing):
    """Chooses by Q-values.

    Args:
        policy: A DQN or SimpleQ policy, whose exploration has `choose`.
        trunk: Layers that make features.
        advantage: Layers behind them (none: the features are the Q-values).
        value: Layers of the value stream of a duelling network.
        support: The atoms, where there are several.
        width: Numbers in an observation.
        scale: Q-values are divided by this.
    """

    def __init__(
        self,
        policy: Any,
        trunk: Stack,
        advantage: Stack | None,
        value: Stack | None,
        support: Array | None,
        width: int,
        scale: float,
    ) -> None:
        super().__init__(policy, [stack for stack in (trunk, advantage, value) if stack is not None], width)
        self.trunk, self.advantage, self.value, self.support, self.scale = trunk, advantage, value, support, scale

    def q_values(self, obs: Array) -> Array:
        """Q(s, .) [B, A]"""
        x = self.features(obs)
        x = self.trunk(x)
        if self.advantage is not None:
            a = self.advantage(x)
            if self.support is not None:
                a = a.reshape(*x.shape[:-1], -1, len(self.support))
                if self.value is not None:
                    a = a - a.mean(axis=-2, keepdims=True) + self.value(x)[..., None, :]
                a = np.exp(a - a.max(axis=-1, keepdims=True))
                x = a.dot(self.support) / a.sum(axis=-1)
            elif self.value is not None:
                x = a + (self.value(x) - a.sum(axis=-1, keepdims=True) / a.shape[-1])
            else:
                x = a
        if self.scale != 1.0:
            x = x / self.scale
        return x[None] if x.ndim == 1 else x

    def act(self, obs: Array, explore: bool, timestep: int) -> tuple[Any, dict[str, Any]]:
        q = self.q_values(obs)
        actions = self.policy.exploration.choose(q, timestep, explore)
        rows = len(q)
        return actions, {
            "action_dist_inputs": q,
            "action_prob": np.ones(rows, np.float32),
            "action_logp": np.zeros(rows, np.float32),
        }


class FastGaussian(FastActing):
    """Samples from squashed normal distributions (Haarnoja et al. 2018, appendix C), or takes their middle.

    Args:
        policy: A SAC policy.
        net: Layers that make means and logarithms of standard deviations.
        width: Numbers in an observation.
        shape: Of an action.
        bounds: Of the logarithms of standard deviations.
    """

    def __init__(
        self, policy: Any, net: Stack, width: int, shape: tuple[int, ...], bounds: tuple[float, float]
    ) -> None:
        super().__init__(policy, [net], width)
        self.net, self.shape, self.bounds = net, shape, bounds

    def act(self, obs: Array, explore: bool, timestep: int) -> tuple[Any, dict[str, Any]]:
        inputs = self.net(self.features(obs)).reshape(len(obs), -1)
        half = inputs.shape[1] // 2
        u = inputs[:, :half]
        rows = len(inputs)
        logp: Array = np.zeros(rows, np.float32)
        if explore:
            log_std = np.minimum(np.maximum(inputs[:, half:], self.bounds[0]), self.bounds[1])
            noise = self.policy.rng.standard_normal(u.shape, np.float32)
            u = u + np.exp(log_std) * noise
            log_slope = 2.0 * (math.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))
            logp = -(0.5 * noise * noise + log_std + log_slope).sum(axis=1) - 0.5 * math.log(2.0 * math.pi) * half
        actions = np.tanh(u)
        if len(self.shape) != 1:
            actions = actions.reshape(rows, *self.shape)
        return actions, {"action_dist_inputs": inputs, "action_prob": np.exp(logp), "action_logp": logp}


class FastActingPolicy:
    """Mixin of a neural policy: acts with `make_quick()`'s result where there is one."""

    _quick: FastActing | None = None
    global_timestep: int
    exploration: Any

    def make_quick(self) -> FastActing | None:
        """What acts in NumPy; None where the network is not dense and small."""
        return None

    def _after_init(self) -> None:
        super()._after_init()  # type: ignore[misc]
        self._quick = self._tried()

    def _tried(self) -> FastActing | None:
        """What `make_quick` gives, if it gives the same as the model does."""
        try:
            quick = self.make_quick()
        except (AttributeError, TypeError, ValueError):  # layers that are not what they seem
            return None
        if quick is None or sum(stack.size() for stack in quick.stacks) > MAX_PARAMETERS:
            return None
        obs = np.random.default_rng(0).normal(size=(3, quick.width)).astype(np.float32)
        time = self.global_timestep
        shaped = obs.reshape(3, *self.observation_space.shape)  # type: ignore[attr-defined]
        _, _, slow = self.compute_actions_from_input_dict({"obs": shaped}, explore=False)
        self.global_timestep = time
        same = all(
            np.allclose(
                slow["action_dist_inputs"][rows],
                quick.act(shaped[rows], False, time)[1]["action_dist_inputs"],
                rtol=1e-3,
                atol=1e-4,
            )
            for rows in (slice(0, 3), slice(0, 1))
        )
        return quick if same else None

    def _weights_changed(self) -> None:
        super()._weights_changed()  # type: ignore[misc]
        if self._quick is not None:
            self._quick.stale = True

    def compute_actions_from_input_dict(
        self,
        input_dict: Any,
        explore: bool | None = None,
        timestep: int | None = None,
        episodes: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """See Policy."""
        quick = self._quick
        if quick is not None and quick.takes(input_dict):
            explore = bool(self.config.get("explore", True)) if explore is None else explore  # type: ignore[attr-defined]
            now = self.global_timestep if timestep is None else timestep
            actions, extra = quick.act(input_dict["obs"], explore, now)
            self.global_timestep += len(actions)
            return actions, [], extra
        return super().compute_actions_from_input_dict(  # type: ignore[misc,no-any-return]
            input_dict, explore=explore, timestep=timestep, episodes=episodes, **kwargs
        )


def dense(network: Any) -> list[Any] | None:
    """The layers from the observation to the output of a `DenseNetwork`; None for other networks."""
    if network is None or network.log_std is not None:
        return None
    return [*network.trunk, *network.policy]


def _shared(parameter: Any) -> Array:
    array: Array = parameter.detach().numpy()
    return array
