"""A gated transformer (GTrXL) as a network, and behind any network."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib._backend import tf_ops
from aktis.rllib.models._encode import encode, encoded_size
from aktis.rllib.models._previous import features_of, inner_config, previous_requirements, without_value_head
from aktis.rllib.models.tf.fcnet import Layers, append_log_std
from aktis.rllib.models.tf.gtrxl import GTrXL
from aktis.rllib.models.tf.recurrent_net import add_time
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2

Tensor = Any


class _WithMemory(TFModelV2):
    """What both networks share: heads on the transformer's output, and memories as state."""

    gtrxl: GTrXL
    logits: Any
    log_std: Any
    value: Any
    _features: Tensor | None

    def _make_heads(self, num_outputs: int | None, config: dict[str, Any]) -> None:
        make = Layers(config)
        self.logits, self.log_std = make.output(self.gtrxl.width, num_outputs, config)
        self.value = make.head(self.gtrxl.width, 1, policy=False)
        self.num_outputs = self.gtrxl.width if num_outputs is None else num_outputs
        self._features = None

    def _heads(self, features_BTD: Tensor) -> Tensor:
        self._features = tf.reshape(features_BTD, (-1, self.gtrxl.width))
        out = self._features if self.logits is None else self.logits(self._features)
        return append_log_std(out, self.log_std)

    @property
    def num_memories(self) -> int:
        """How many parts of the state, from the first, are memories."""
        return len(self.gtrxl.units)

    def get_initial_state(self) -> list[Any]:
        """An empty memory [M, D] for each unit."""
        return [np.zeros((self.gtrxl.memory, self.gtrxl.width), np.float32) for _ in self.gtrxl.units]

    def value_function(self) -> Tensor:
        """[B * T]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.squeeze(self.value(self._features), 1)


class GTrXLNet(_WithMemory):
    """A GTrXL on flattened observations, to be named as ``custom_model`` with these arguments in ``custom_model_config``.

    Args:
        obs_space: Observation space.
        action_space: Action space.
        num_outputs: Inputs of the action distribution.
        model_config: The model configuration.
        name: Name of the model.
        num_transformer_units: How many units are stacked.
        attention_dim: Width of what goes into and comes out of each.
        num_heads: Heads of attention.
        memory_inference: Steps of the past that are attended to while acting.
        memory_training: Steps of the past that are attended to while training.
        head_dim: Width of each head.
        position_wise_mlp_dim: Width of the layer inside of the position-wise network.
        init_gru_gate_bias: Bias of the gates at the beginning.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        *,
        num_transformer_units: int = 1,
        attention_dim: int = 64,
        num_heads: int = 2,
        memory_inference: int = 50,
        memory_training: int = 50,
        head_dim: int = 32,
        position_wise_mlp_dim: int = 32,
        init_gru_gate_bias: float = 2.0,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.gtrxl = GTrXL(
            int(np.prod(obs_space.shape, dtype=np.int64)),
            num_transformer_units,
            attention_dim,
            num_heads,
            head_dim,
            position_wise_mlp_dim,
            init_gru_gate_bias,
            memory_inference,
            memory_training,
        )
        self._make_heads(num_outputs, model_config)

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows [B * T, n] of B sequences to [B * T, num_outputs], and the memories."""
        x = add_time(tf.cast(input_dict["obs_flat"], tf.float32), seq_lens, False)
        features, memories = self.gtrxl(x, state)
        return self._heads(features), memories


class AttentionWrapper(_WithMemory):
    """A GTrXL behind a network (``use_attention``), with heads for policy and value on what it gives.

    It sees the last ``attention_use_n_prev_actions`` actions and ``attention_use_n_prev_rewards`` rewards, too.

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
        self.n_actions = int(model_config.get("attention_use_n_prev_actions") or 0)
        self.n_rewards = int(model_config.get("attention_use_n_prev_rewards") or 0)
        self._action_size = encoded_size(action_space)
        self.gtrxl = GTrXL(
            features_of(self.wrapped) + self.n_actions * self._action_size + self.n_rewards,
            int(model_config["attention_num_transformer_units"]),
            int(model_config["attention_dim"]),
            int(model_config["attention_num_heads"]),
            int(model_config["attention_head_dim"]),
            int(model_config["attention_position_wise_mlp_dim"]),
            float(model_config["attention_init_gru_gate_bias"]),
            int(model_config["attention_memory_inference"]),
            int(model_config["attention_memory_training"]),
        )
        self._make_heads(num_outputs, model_config)
        self.view_requirements.update(previous_requirements(action_space, self.n_actions > 0, self.n_rewards > 0))

    def get_initial_state(self) -> list[Any]:
        """A memory for each unit, then the actions and the rewards before the previous ones."""
        state = super().get_initial_state()
        if self.n_actions > 1:
            state.append(np.zeros((self.n_actions - 1, self._action_size), np.float32))
        if self.n_rewards > 1:
            state.append(np.zeros((self.n_rewards - 1, 1), np.float32))
        return state

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Rows [B * T, ...] of B sequences to [B * T, num_outputs], and the state."""
        features, _ = self.wrapped({**input_dict}, [], None)
        x = add_time(features, seq_lens, False)
        units = len(self.gtrxl.units)
        memories, older, new_older = state[:units], list(state[units:]), []
        if self.n_actions:
            actions = encode(input_dict["prev_actions"], self.action_space, tf_ops)
            seen, kept = _last(
                add_time(actions, seq_lens, False), older.pop(0) if self.n_actions > 1 else None, self.n_actions
            )
            x, new_older = tf.concat([x, seen], axis=-1), kept
        if self.n_rewards:
            rewards = tf.reshape(tf.cast(input_dict["prev_rewards"], tf.float32), (-1, 1))
            seen, kept = _last(
                add_time(rewards, seq_lens, False), older.pop(0) if self.n_rewards > 1 else None, self.n_rewards
            )
            x, new_older = tf.concat([x, seen], axis=-1), new_older + kept
        out, new_memories = self.gtrxl(x, memories)
        return self._heads(out), new_memories + new_older

    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        """That of the network before the transformer."""
        return self.wrapped.custom_loss(policy_loss, loss_inputs)

    def metrics(self) -> dict[str, Tensor]:
        """Those of the network before the transformer."""
        return self.wrapped.metrics()  # type: ignore[no-any-return]


def _last(x_BTN: Tensor, older: Tensor | None, count: int) -> tuple[Tensor, list[Tensor]]:
    """Of each step what came with it and before it [B, T, n * N], and what the next step needs of that."""
    if older is None:
        return x_BTN, []
    both = tf.concat([older, x_BTN], axis=1)
    batch, steps, size = tf_ops.shape(x_BTN)
    windows = tf.gather(both, tf.range(steps)[:, None] + tf.range(count)[None], axis=1)  # [B, T, n, N]
    return tf.reshape(windows, (batch, steps, count * size)), [both[:, steps:]]
