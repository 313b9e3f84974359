"""The example models in TensorFlow 2."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib.models.catalog import ModelCatalog
from aktis.rllib.models.tf.fcnet import FullyConnectedNetwork
from aktis.rllib.models.tf.misc import Dense, normc
from aktis.rllib.models.tf.recurrent_net import LSTM, RecurrentNetwork
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.policy.sample_batch import convert_ma_batch_to_sample_batch

Tensor = Any


class ActionMaskModel(TFModelV2):
    """A fully connected network for observations ``{"observations": ..., "action_mask": ...}``.

    The mask has a one for each action that is allowed, and a zero for each that is not: the logit of that becomes
    the lowest number there is.

    Args:
        obs_space: Observation space: a Dict with both keys.
        action_space: Discrete, with as many actions as the mask has entries.
        num_outputs: As many.
        model_config: The model configuration, for the network; ``custom_model_config={"no_masking": True}`` switches the mask off.
        name: Name of the model.

    Raises:
        ValueError: the observation space is another.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        **kwargs: Any,
    ) -> None:
        original = getattr(obs_space, "original_space", obs_space)
        if not isinstance(original, spaces.Dict) or not {"action_mask", "observations"} <= set(original.spaces):
            raise ValueError(
                f"Action masking needs observations that are a Dict with 'observations' and 'action_mask', not {original}."
            )
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        inner = ModelCatalog.get_preprocessor_for_space(original["observations"]).observation_space
        self.internal_model = FullyConnectedNetwork(inner, action_space, num_outputs, model_config, f"{name}_internal")
        self.no_masking = bool(model_config.get("custom_model_config", {}).get("no_masking", False))

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, A], the lowest number where the mask is zero."""
        logits, _ = self.internal_model({"obs": input_dict["obs"]["observations"]})
        if self.no_masking:
            return logits, state
        return tf.where(input_dict["obs"]["action_mask"] > 0.5, logits, tf.float32.min), state

    def value_function(self) -> Tensor:
        """[B]."""
        return self.internal_model.value_function()


class RNNModel(RecurrentNetwork):
    """A dense layer, an LSTM, and two heads.

    Args:
        obs_space: Observation space.
        action_space: Action space.
        num_outputs: Inputs of the action distribution.
        model_config: The model configuration.
        name: Name of the model.
        hiddens_size: Width of the dense layer.
        cell_size: Size of the memory.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        hiddens_size: int = 256,
        cell_size: int = 64,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.cell_size = cell_size
        self.dense = Dense(int(np.prod(obs_space.shape)), hiddens_size, activation_fn="relu")
        self.lstm = LSTM(hiddens_size, cell_size)
        self.action_branch = Dense(cell_size, num_outputs)
        self.value_branch = Dense(cell_size, 1)
        self._features: Tensor | None = None

    def get_initial_state(self) -> list[Any]:
        """Zeros."""
        return [np.zeros(self.cell_size, np.float32), np.zeros(self.cell_size, np.float32)]

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """[B, T, n] to [B, T, num_outputs]."""
        hs, h, c = self.lstm(tf.transpose(self.dense(inputs), (1, 0, 2)), *state)
        self._features = tf.transpose(hs, (1, 0, 2))
        return self.action_branch(self._features), [h, c]

    def value_function(self) -> Tensor:
        """[B * T]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.reshape(self.value_branch(self._features), (-1,))


class CustomLossModel(TFModelV2):
    """A fully connected network whose loss has a second part: how unlikely it finds recorded actions.

    Args:
        obs_space: Observation space.
        action_space: Action space.
        num_outputs: Inputs of the action distribution.
        model_config: The model configuration.
        name: Name of the model.
        input_files: Recorded episodes: files that JsonReader reads.
        imitation_coeff: Weight of that part.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        input_files: Any,
        imitation_coeff: float = 10.0,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.input_files, self.imitation_coeff = input_files, imitation_coeff
        self.fcnet = FullyConnectedNetwork(obs_space, action_space, num_outputs, model_config, f"{name}_fcnet")
        self._reader: Any = None
        self._last = _LastLosses()

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        return self.fcnet({"obs": input_dict["obs_flat"]}, state, seq_lens)

    def value_function(self) -> Tensor:
        """[B]."""
        return self.fcnet.value_function()

    def _recorded(self) -> tuple[Any, Any]:
        """Observations and actions of the next recorded batch."""
        if self._reader is None:
            from aktis.rllib.offline.json_reader import JsonReader

            self._reader = JsonReader(self.input_files)
        batch = convert_ma_batch_to_sample_batch(self._reader.next())
        return np.asarray(batch["obs"], np.float32), np.asarray(batch["actions"], np.float32)

    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        """Adds the mean negative log-likelihood of a batch of recorded actions to each loss. It is read anew at
        every update, traced or not."""
        obs, actions = tf.numpy_function(self._recorded, [], (tf.float32, tf.float32))
        obs = tf.ensure_shape(obs, (None, *self.obs_space.shape))
        dist_class, _ = ModelCatalog.get_action_dist(self.action_space, self.model_config, framework="tf2")
        dist = dist_class(self.fcnet({"obs": obs})[0], self)
        discrete = not np.issubdtype(self.action_space.dtype, np.floating)
        imitation = -tf.reduce_mean(dist.logp(tf.cast(actions, tf.int64) if discrete else actions))
        losses = list(policy_loss) if isinstance(policy_loss, list | tuple) else [policy_loss]
        self._last.imitation.assign(imitation)
        self._last.policy.assign(tf.reduce_mean(tf.stack(losses)))
        losses = [loss + self.imitation_coeff * imitation for loss in losses]
        return losses if isinstance(policy_loss, list | tuple) else losses[0]

    def metrics(self) -> dict[str, Any]:
        """Both parts of the last loss."""
        return {"policy_loss": self._last.policy.read_value(), "imitation_loss": self._last.imitation.read_value()}


class _LastLosses:
    """Variables, since a trace's tensors do not live on; not the model's (no `Part`): they are no weights."""

    def __init__(self) -> None:
        self.policy, self.imitation = (tf.Variable(0.0, trainable=False) for _ in range(2))


class SharedWeightsModel(TFModelV2):
    """A network whose second layer is that of every other model of this class in the process.

    With policies that have this model, what one learns changes the others.
    """

    shared: Dense | None = None

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        if SharedWeightsModel.shared is None:
            SharedWeightsModel.shared = Dense(64, 64, normc(1.0), "relu")
        self.first_layer = Dense(int(np.prod(obs_space.shape)), 64, normc(1.0), "relu")
        self.global_shared_layer = SharedWeightsModel.shared
        self.last_layer = Dense(64, num_outputs, normc(0.01))
        self.value_layer = Dense(64, 1, normc(0.01))
        self._features: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        self._features = self.global_shared_layer(self.first_layer(tf.cast(input_dict["obs_flat"], tf.float32)))
        return self.last_layer(self._features), state

    def value_function(self) -> Tensor:
        """[B]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.squeeze(self.value_layer(self._features), 1)


class TF2SharedWeightsModel(TFModelV2):
    """The same with layers of Keras."""

    shared: Any = None

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        if TF2SharedWeightsModel.shared is None:
            TF2SharedWeightsModel.shared = keras.layers.Dense(64, activation="relu")
        inputs = keras.Input((int(np.prod(obs_space.shape)),))
        features = TF2SharedWeightsModel.shared(keras.layers.Dense(64, activation="relu")(inputs))
        heads = [keras.layers.Dense(num_outputs)(features), keras.layers.Dense(1)(features)]
        self.base_model = keras.Model(inputs, heads)
        self._value: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        out, self._value = self.base_model(tf.cast(input_dict["obs_flat"], tf.float32))
        return out, state

    def value_function(self) -> Tensor:
        """[B]."""
        if self._value is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.reshape(self._value, (-1,))
