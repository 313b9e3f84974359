"""Networks with memory: the base class for one's own, and an LSTM behind any network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib._backend import tf_ops
from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.models._encode import encode, encoded_size
from aktis.rllib.models._previous import features_of, inner_config, previous_requirements, without_value_head
from aktis.rllib.models.tf.fcnet import Layers, append_log_std
from aktis.rllib.models.tf.misc import _rng, orthogonal
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2

Tensor = Any


class RecurrentNetwork(TFModelV2):
    """Base class for networks with memory: define `forward_rnn`, `get_initial_state` and `value_function`.

    Observations reach `forward_rnn` with an axis of time.
    """

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Adds the axis of time, calls `forward_rnn`, and takes it away again."""
        flat = tf.cast(input_dict["obs_flat"], tf.float32)
        inputs = add_time(flat, seq_lens, self.is_time_major())
        out, new_state = self.forward_rnn(inputs, state, seq_lens)
        return without_time(out, self.is_time_major(), self.num_outputs), new_state

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Evaluate the network on sequences.

        Args:
            inputs: Flattened observations [B, T, n] ([T, B, n] if `is_time_major`), with zeros behind the end of each.
            state: The state before each sequence, each [B, ...].
            seq_lens: [B] steps of each sequence.

        Returns:
            [B, T, num_outputs] ([T, B, num_outputs]), and the state after the last step.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward_rnn(inputs, state, seq_lens).")


_steps: int | None = None  # of every sequence, where it is known while a function is traced


@contextlib.contextmanager
def steps_known(steps: int) -> Iterator[None]:
    """Within it sequences have this many steps: the axis of time has a known size also where the number of rows is not known."""
    global _steps
    before, _steps = _steps, steps
    try:
        yield
    finally:
        _steps = before


def add_time(x: Tensor, seq_lens: Tensor | None, time_major: bool) -> Tensor:
    """From rows [B * T, ...] to sequences [B, T, ...], or [T, B, ...]."""
    rest = tf_ops.shape(x)[1:]
    if _steps is not None:
        x = tf.reshape(x, (-1, _steps, *rest))
    else:
        x = tf.reshape(x, (tf_ops.shape(x if seq_lens is None else seq_lens)[0], -1, *rest))
    return tf.transpose(x, (1, 0, *range(2, 2 + len(rest)))) if time_major else x


def without_time(x: Tensor, time_major: bool, width: int | None = None) -> Tensor:
    """From sequences to rows, in the order that `add_time` took them from."""
    if time_major and len(x.shape) > 2:
        x = tf.transpose(x, (1, 0, *range(2, len(x.shape))))
    return tf.reshape(x, (-1, x.shape[-1] if width is None else width))


class LSTM(Part):
    """A long short-term memory: Hochreiter and Schmidhuber (1997), with the gates and weights of PyTorch's.

    Args:
        in_size: Inputs.
        size: Size of the state.
        orthogonal_weights: Orthogonal weights and no bias at the beginning, instead of uniform ones.
    """

    def __init__(self, in_size: int, size: int, orthogonal_weights: bool = False) -> None:
        self.size = size
        bound = 1.0 / math.sqrt(size)

        def drawn(*shape: int) -> Any:
            if orthogonal_weights:  # "The 37 implementation details of PPO" (2022), LSTM detail 1
                return orthogonal(1.0)(shape) if len(shape) == 2 else np.zeros(shape, np.float32)
            return _rng().uniform(-bound, bound, size=shape).astype(np.float32)

        self.weight_ih_l0 = tf.Variable(drawn(4 * size, in_size))
        self.weight_hh_l0 = tf.Variable(drawn(4 * size, size))
        self.bias_ih_l0 = tf.Variable(drawn(4 * size))
        self.bias_hh_l0 = tf.Variable(drawn(4 * size))

    def __call__(self, x_TBN: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[T, B, n] to [T, B, size], and the state [B, size] after the last step."""
        gates_TBG = tf.tensordot(x_TBN, self.weight_ih_l0, [[2], [1]]) + (self.bias_ih_l0 + self.bias_hh_l0)

        def step(state: tuple[Tensor, Tensor], gates: Tensor) -> tuple[Tensor, Tensor]:
            h, c = state
            i, f, g, o = tf.split(gates + tf.matmul(h, self.weight_hh_l0, transpose_b=True), 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            return tf.sigmoid(o) * tf.tanh(c), c

        if x_TBN.shape[0] is None:  # traced for sequences of any length
            hs, cs = tf.scan(step, gates_TBG, (h, c))
            return hs, hs[-1], cs[-1]
        hs = []
        for gates in tf.unstack(gates_TBG, axis=0):
            h, c = step((h, c), gates)
            hs.append(h)
        return tf.stack(hs, axis=0), h, c


class LSTMWrapper(RecurrentNetwork):
    """An LSTM behind a network (``use_lstm``), with heads for policy and value on what it gives.

    Size ``lstm_cell_size``; it sees the previous action and reward, too, with ``lstm_use_prev_action`` and
    ``lstm_use_prev_reward``.

    Attributes:
        wrapped: The network before it.
    """

    wrapped_class: type[Any]

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        **wrapped_kwargs: Any,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.wrapped = self.wrapped_class(
            obs_space, action_space, None, inner_config(model_config), f"{name}_wrapped", **wrapped_kwargs
        )
        without_value_head(self.wrapped)
        self.cell_size = int(model_config["lstm_cell_size"])
        self.use_prev_action = bool(model_config.get("lstm_use_prev_action"))
        self.use_prev_reward = bool(model_config.get("lstm_use_prev_reward"))
        in_size = features_of(self.wrapped)
        in_size += (encoded_size(action_space) if self.use_prev_action else 0) + int(self.use_prev_reward)
        self.lstm = LSTM(in_size, self.cell_size, model_config.get("fcnet_weights_initializer") == "orthogonal")
        make = Layers(model_config)
        self.logits, self.log_std = make.output(self.cell_size, num_outputs, model_config)
        self.value = make.head(self.cell_size, 1, policy=False)
        self.num_outputs = self.cell_size if num_outputs is None else num_outputs
        self.view_requirements.update(previous_requirements(action_space, self.use_prev_action, self.use_prev_reward))
        self._features: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows [B * T, ...] of B sequences to [B * T, num_outputs], and the state [h, c]."""
        features, _ = self.wrapped({**input_dict}, [], None)
        parts = [features]
        if self.use_prev_action:
            parts.append(encode(input_dict["prev_actions"], self.action_space, tf_ops))
        if self.use_prev_reward:
            parts.append(tf.reshape(tf.cast(input_dict["prev_rewards"], tf.float32), (-1, 1)))
        features = tf.concat(parts, axis=1) if len(parts) > 1 else features
        out, new_state = self.forward_rnn(add_time(features, seq_lens, self.time_major), state, seq_lens)
        return without_time(out, self.time_major), new_state

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Features [B, T, n] to [B, T, num_outputs], and the state."""
        x_TBN = inputs if self.time_major else tf.transpose(inputs, (1, 0, 2))
        hs, h, c = self.lstm(x_TBN, *state)
        self._features = hs if self.time_major else tf.transpose(hs, (1, 0, 2))
        out = self._features if self.logits is None else self.logits(self._features)
        return append_log_std(out, self.log_std), [h, c]

    def get_initial_state(self) -> list[Any]:
        """Zeros for h and c, each [cell_size]."""
        return [np.zeros(self.cell_size, np.float32), np.zeros(self.cell_size, np.float32)]

    def value_function(self) -> Tensor:
        """[B * T]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.squeeze(without_time(self.value(self._features), self.time_major), 1)

    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        """That of the network before the LSTM."""
        return self.wrapped.custom_loss(policy_loss, loss_inputs)

    def metrics(self) -> dict[str, Tensor]:
        """Those of the network before the LSTM."""
        return self.wrapped.metrics()  # type: ignore[no-any-return]
