"""The example models in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from aktis.rllib.models.catalog import ModelCatalog
from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork
from aktis.rllib.models.torch.misc import SlimFC, normc_initializer
from aktis.rllib.models.torch.recurrent_net import RecurrentNetwork
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2
from aktis.rllib.policy.sample_batch import convert_ma_batch_to_sample_batch

Tensor = Any

LOWEST = torch.finfo(torch.float32).min


class TorchActionMaskModel(TorchModelV2, nn.Module):  # type: ignore[misc]
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
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
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
        return torch.where(input_dict["obs"]["action_mask"] > 0.5, logits, LOWEST), state

    def value_function(self) -> Tensor:
        """[B]."""
        return self.internal_model.value_function()


class TorchRNNModel(RecurrentNetwork, nn.Module):  # type: ignore[misc]
    """A dense layer, an LSTM, and two heads.

    Args:
        obs_space: Observation space.
        action_space: Action space.
        num_outputs: Inputs of the action distribution.
        model_config: The model configuration.
        name: Name of the model.
        fc_size: Width of the dense layer.
        lstm_state_size: Size of the memory.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        fc_size: int = 64,
        lstm_state_size: int = 256,
    ) -> None:
        nn.Module.__init__(self)
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        self.lstm_state_size = lstm_state_size
        self.fc = nn.Linear(int(np.prod(obs_space.shape)), fc_size)
        self.lstm = nn.LSTM(fc_size, lstm_state_size, batch_first=not self.time_major)
        self.action_branch = nn.Linear(lstm_state_size, num_outputs)
        self.value_branch = nn.Linear(lstm_state_size, 1)
        self._features: Tensor | None = None

    def get_initial_state(self) -> list[Any]:
        """Zeros."""
        return [np.zeros(self.lstm_state_size, np.float32), np.zeros(self.lstm_state_size, np.float32)]

    def forward_rnn(self, inputs: Tensor, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """[B, T, n] to [B, T, num_outputs]."""
        x = torch.relu(self.fc(inputs))
        self._features, (h, c) = self.lstm(x, (state[0].unsqueeze(0).contiguous(), state[1].unsqueeze(0).contiguous()))
        return self.action_branch(self._features), [h.squeeze(0), c.squeeze(0)]

    def value_function(self) -> Tensor:
        """[B * T]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return self.value_branch(self._features).reshape(-1)


class TorchCustomLossModel(TorchModelV2, nn.Module):  # type: ignore[misc]
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
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.input_files, self.imitation_coeff = input_files, imitation_coeff
        self.fcnet = FullyConnectedNetwork(obs_space, action_space, num_outputs, model_config, f"{name}_fcnet")
        self._reader: Any = None
        self._metrics: dict[str, float] = {}

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        return self.fcnet({"obs": input_dict["obs_flat"]}, state, seq_lens)

    def value_function(self) -> Tensor:
        """[B]."""
        return self.fcnet.value_function()

    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        """Adds the mean negative log-likelihood of a batch of recorded actions to each loss."""
        if self._reader is None:
            from aktis.rllib.offline.json_reader import JsonReader

            self._reader = JsonReader(self.input_files)
        losses = list(policy_loss) if isinstance(policy_loss, list | tuple) else [policy_loss]
        device = losses[0].device
        batch = convert_ma_batch_to_sample_batch(self._reader.next())
        obs = torch.as_tensor(np.asarray(batch["obs"], np.float32), device=device)
        dist_class, _ = ModelCatalog.get_action_dist(self.action_space, self.model_config)
        dist = dist_class(self.fcnet({"obs": obs})[0], self)
        imitation = -dist.logp(torch.as_tensor(np.asarray(batch["actions"]), device=device)).mean()
        self._metrics = {
            "imitation_loss": float(imitation.detach()),
            "policy_loss": float(sum(loss.detach().mean() for loss in losses) / len(losses)),
        }
        losses = [loss + self.imitation_coeff * imitation for loss in losses]
        return losses if isinstance(policy_loss, list | tuple) else losses[0]

    def metrics(self) -> dict[str, Any]:
        """Both parts of the last loss."""
        return dict(self._metrics)


class TorchSharedWeightsModel(TorchModelV2, nn.Module):  # type: ignore[misc]
    """A network whose second layer is that of every other model of this class in the process.

    With policies that have this model, what one learns changes the others.
    """

    shared: SlimFC | None = None

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        if TorchSharedWeightsModel.shared is None:
            TorchSharedWeightsModel.shared = SlimFC(64, 64, normc_initializer(1.0), "relu")
        self.first_layer = SlimFC(int(np.prod(obs_space.shape)), 64, normc_initializer(1.0), "relu")
        self.global_shared_layer = TorchSharedWeightsModel.shared
        self.last_layer = SlimFC(64, num_outputs, normc_initializer(0.01))
        self.value_layer = SlimFC(64, 1, normc_initializer(0.01))
        self._features: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        self._features = self.global_shared_layer(self.first_layer(input_dict["obs_flat"].float()))
        return self.last_layer(self._features), state

    def value_function(self) -> Tensor:
        """[B]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return self.value_layer(self._features).squeeze(1)
