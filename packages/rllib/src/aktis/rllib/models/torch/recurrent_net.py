"""Networks with memory: the base class for one's own, and an LSTM behind any network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from aktis.rllib._backend import torch_ops
from aktis.rllib.models._encode import encode, encoded_size
from aktis.rllib.models._previous import features_of, inner_config, previous_requirements, without_value_head
from aktis.rllib.models.torch.fcnet import Layers
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2

Tensor = Any


class RecurrentNetwork(TorchModelV2):
    """Base class for networks with memory: define `forward_rnn`, `get_initial_state` and `value_function`.

    Derive from it and from torch.nn.Module. Observations reach `forward_rnn` with an axis of time.
    """

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Adds the axis of time, calls `forward_rnn`, and takes it away again."""
        flat = input_dict["obs_flat"].float()
        inputs = add_time(flat, seq_lens, self.is_time_major())
        out, new_state = self.forward_rnn(inputs, state, seq_lens)
        return without_time(out, self.is_time_major(), self.num_outputs), new_state

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Evaluate the network on sequences.

        Args:
            inputs: Flattened observations [B, T, n] ([T, B, n] if `is_time_major`), with zeros behind the end of each sequence.
            state: The state before each sequence, each [B, ...].
            seq_lens: [B] steps of each sequence.

        Returns:
            [B, T, num_outputs] ([T, B, num_outputs]), and the state after the last step.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward_rnn(inputs, state, seq_lens).")


def add_time(x: Tensor, seq_lens: Tensor | None, time_major: bool) -> Tensor:
    """From rows [B * T, ...] to sequences [B, T, ...], or [T, B, ...]."""
    sequences = x.shape[0] if seq_lens is None else len(seq_lens)
    x = x.reshape(sequences, -1, *x.shape[1:])
    return x.transpose(0, 1) if time_major else x


def without_time(x: Tensor, time_major: bool, width: int | None = None) -> Tensor:
    """From sequences to rows, in the order that `add_time` took them from."""
    if time_major and x.dim() > 2:
        x = x.transpose(0, 1)
    return x.reshape(-1, x.shape[-1] if width is None else width)


class LSTMWrapper(RecurrentNetwork, nn.Module):  # type: ignore[misc]
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
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.wrapped = self.wrapped_class(
            obs_space, action_space, None, inner_config(model_config), f"{name}_wrapped", **wrapped_kwargs
        )
        without_value_head(self.wrapped)
        self.cell_size = int(model_config["lstm_cell_size"])
        self.use_prev_action = bool(model_config.get("lstm_use_prev_action"))
        self.use_prev_reward = bool(model_config.get("lstm_use_prev_reward"))
        in_size = features_of(self.wrapped)
        in_size += (encoded_size(action_space) if self.use_prev_action else 0) + int(self.use_prev_reward)
        self.lstm = nn.LSTM(in_size, self.cell_size, batch_first=not self.time_major)
        if model_config.get("fcnet_weights_initializer") == "orthogonal":
            _orthogonal(self.lstm)
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
        features = torch.cat([features, *self._previous(input_dict)], dim=1) if self._sees_more else features
        out, new_state = self.forward_rnn(add_time(features, seq_lens, self.time_major), state, seq_lens)
        return without_time(out, self.time_major), new_state

    @property
    def _sees_more(self) -> bool:
        return self.use_prev_action or self.use_prev_reward

    def _previous(self, input_dict: dict[str, Tensor]) -> list[Tensor]:
        parts = []
        if self.use_prev_action:
            parts.append(encode(input_dict["prev_actions"], self.action_space, torch_ops))
        if self.use_prev_reward:
            parts.append(input_dict["prev_rewards"].float().reshape(-1, 1))
        return parts

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Features [B, T, n] to [B, T, num_outputs], and the state."""
        h, c = state
        self._features, (h, c) = self.lstm(inputs, (h.unsqueeze(0).contiguous(), c.unsqueeze(0).contiguous()))
        out = self._features if self.logits is None else self.logits(self._features)
        if self.log_std is not None:
            out = torch.cat([out, self.log_std.expand(*out.shape[:-1], -1)], dim=-1)
        return out, [h.squeeze(0), c.squeeze(0)]

    def get_initial_state(self) -> list[Any]:
        """Zeros for h and c, each [cell_size]."""
        return [np.zeros(self.cell_size, np.float32), np.zeros(self.cell_size, np.float32)]

    def value_function(self) -> Tensor:
        """[B * T]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return without_time(self.value(self._features), self.time_major).squeeze(1)

    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        """That of the network before the LSTM."""
        return self.wrapped.custom_loss(policy_loss, loss_inputs)

    def metrics(self) -> dict[str, Tensor]:
        """Those of the network before the LSTM."""
        return self.wrapped.metrics()  # type: ignore[no-any-return]


def _orthogonal(lstm: nn.LSTM) -> None:
    """Orthogonal weights and no bias: "The 37 implementation details of PPO" (2022), LSTM detail 1."""
    for name, parameter in lstm.named_parameters():
        if "bias" in name:
            nn.init.zeros_(parameter)
        else:
            nn.init.orthogonal_(parameter, 1.0)
