"""Example models in PyTorch whose structure follows that of actions or of other agents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork
from aktis.rllib.models.torch.misc import SlimFC, normc_initializer
from aktis.rllib.models.torch.torch_action_dist import TorchCategorical, TorchDistributionWrapper
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2

Tensor = Any

LOWEST = torch.finfo(torch.float32).min


class _Model(TorchModelV2, nn.Module):  # type: ignore[misc]
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


class TorchBinaryAutoregressiveDistribution(TorchDistributionWrapper):
    """Two binary actions: P(a1, a2) = P(a1) P(a2 | a1). The model has an ``action_module(context, a1)`` with both logits."""

    def _first(self) -> TorchCategorical:
        nothing = torch.zeros((self.inputs.shape[0], 1), device=self.inputs.device)
        return TorchCategorical(self.model.action_module(self.inputs, nothing)[0])

    def _second(self, a1: Tensor) -> TorchCategorical:
        return TorchCategorical(self.model.action_module(self.inputs, a1.float().unsqueeze(1))[1])

    def _chosen(self, how: str) -> tuple[Tensor, Tensor]:
        first = self._first()
        a1 = getattr(first, how)()
        second = self._second(a1)
        a2 = getattr(second, how)()
        self._logp = first.logp(a1) + second.logp(a2)
        return a1, a2

    def sample(self) -> tuple[Tensor, Tensor]:
        """Both actions, [B] each."""
        return self._chosen("sample")

    def deterministic_sample(self) -> tuple[Tensor, Tensor]:
        """The likeliest first action, and the likeliest second one after it."""
        return self._chosen("deterministic_sample")

    def sampled_action_logp(self) -> Tensor:
        """Of the last actions that were drawn, [B]."""
        return self._logp

    def logp(self, actions: Tensor) -> Tensor:
        """[B, 2] to [B]."""
        a1, a2 = actions[:, 0], actions[:, 1]
        return self._first().logp(a1) + self._second(a1).logp(a2)

    def entropy(self) -> Tensor:
        """H(a1), and H(a2 | a1) for an a1 that is drawn, [B]."""
        first = self._first()
        return first.entropy() + self._second(first.sample()).entropy()

    def kl(self, other: Any) -> Tensor:
        """The same way, [B]."""
        first = self._first()
        a1 = first.sample()
        return first.kl(other._first()) + self._second(a1).kl(other._second(a1))

    @staticmethod
    def required_model_output_shape(action_space: Any, model_config: Any) -> int:
        """Size of the context."""
        return 16


class _ActionModule(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a1_logits = SlimFC(width, 2, initializer=normc_initializer(0.01))
        self.a2_hidden = SlimFC(1 + width, 16, activation_fn="tanh", initializer=normc_initializer(1.0))
        self.a2_logits = SlimFC(16, 2, initializer=normc_initializer(0.01))

    def forward(self, context: Tensor, a1: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.a2_hidden(torch.cat([context, a1], dim=1))
        return self.a1_logits(context), self.a2_logits(hidden)


class TorchAutoregressiveActionModel(_Model):
    """The context [B, num_outputs] that both actions depend on, and the networks of TorchBinaryAutoregressiveDistribution."""

    def __init__(self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        wanted = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])
        if action_space != wanted:
            raise ValueError(f"this model is for the action space {wanted}, and not for {action_space}")
        self.context_layer = SlimFC(
            int(np.prod(obs_space.shape)), num_outputs, activation_fn="tanh", initializer=normc_initializer(1.0)
        )
        self.value_branch = SlimFC(num_outputs, 1, initializer=normc_initializer(0.01))
        self.action_module = _ActionModule(num_outputs)
        self._context: Tensor = None

    def forward(self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        self._context = self.context_layer(input_dict["obs_flat"].float())
        return self._context, state

    def value_function(self) -> Tensor:
        """[B]."""
        return self.value_branch(self._context).squeeze(1)


class TorchParametricActionsModel(_Model):
    """Chooses among actions that are described by vectors: the logit of an action is the product of its vector and
    one that is made of what is observed.

    For observations with ``cart`` (what is observed), ``avail_actions`` [A, E] and ``action_mask`` [A].

    Args:
        obs_space: A Dict with these.
        action_space: Discrete.
        num_outputs: Actions.
        model_config: The model configuration.
        name: Name of the model.
        true_obs_shape: Of what is observed.
        action_embed_size: E.
        kw: Not used.
    """

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int,
        model_config: Any,
        name: str,
        true_obs_shape: tuple[int, ...] = (4,),
        action_embed_size: int = 2,
        **kw: Any,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        inner = spaces.Box(-np.inf, np.inf, true_obs_shape, np.float32)
        self.action_embed_model = FullyConnectedNetwork(
            inner, action_space, action_embed_size, model_config, f"{name}_action_embed"
        )

    def forward(self, input_dict: dict[str, Any], state: list[Tensor], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """[B, A]."""
        obs = input_dict["obs"]
        intent, _ = self.action_embed_model({"obs": obs["cart"]})  # [B, E]
        logits = torch.einsum("be,bae->ba", intent, obs["avail_actions"].float())
        return logits + torch.clamp(torch.log(obs["action_mask"].float()), min=LOWEST), state

    def value_function(self) -> Tensor:
        """[B]."""
        return self.action_embed_model.value_function()


class TorchCentralizedCriticModel(_Model):
    """A policy of what an agent observes, and a value of what both do: :meth:`central_value_function`."""

    def __init__(self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.model = FullyConnectedNetwork(obs_space, action_space, num_outputs, model_config, f"{name}_policy")
        self._actions = int(action_space.n)
        width = 2 * int(np.prod(obs_space.shape)) + self._actions
        self.central_vf = nn.Sequential(SlimFC(width, 16, activation_fn="tanh"), SlimFC(16, 1))

    def forward(self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        out, _ = self.model(input_dict, state, seq_lens)
        return out, []

    def central_value_function(self, obs: Tensor, opponent_obs: Tensor, opponent_actions: Tensor) -> Tensor:
        """[B, n], [B, n] and [B] to [B]."""
        action = functional.one_hot(opponent_actions.long(), self._actions).float()
        return self.central_vf(torch.cat([obs.float(), opponent_obs.float(), action], dim=1)).reshape(-1)

    def value_function(self) -> Tensor:
        """Without the other agent, [B]."""
        return self.model.value_function()


class YetAnotherTorchCentralizedCriticModel(_Model):
    """The same for observations that have everything.

    ``own_obs`` is for the policy; ``opponent_obs`` and ``opponent_action``, too, are for the value.
    """

    def __init__(self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        from aktis.rllib.models.catalog import ModelCatalog

        original = getattr(obs_space, "original_space", obs_space)
        own = ModelCatalog.get_preprocessor_for_space(original["own_obs"]).observation_space
        self.action_model = FullyConnectedNetwork(own, action_space, num_outputs, model_config, f"{name}_action")
        self.value_model = FullyConnectedNetwork(obs_space, action_space, 1, model_config, f"{name}_vf")
        self._model_in: Any = None

    def forward(self, input_dict: dict[str, Any], state: list[Tensor], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        self._model_in = input_dict["obs_flat"]
        own = input_dict["obs"]["own_obs"].float()
        return self.action_model({"obs": own.reshape(own.shape[0], -1)}, state, seq_lens)

    def value_function(self) -> Tensor:
        """[B]."""
        out, _ = self.value_model({"obs": self._model_in})
        return out.reshape(-1)


class TorchBatchNormModel(_Model):
    """Two hidden layers, each behind a batch normalisation, which is of the batch while learning only."""

    def __init__(
        self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str, **kwargs: Any
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        sizes = [int(np.prod(obs_space.shape)), 256, 256]
        layers: list[Any] = []
        for size_in, size_out in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [
                SlimFC(size_in, size_out, activation_fn="relu", initializer=normc_initializer(1.0)),
                nn.BatchNorm1d(size_out),
            ]
        self._hidden_layers = nn.Sequential(*layers)
        self._logits = SlimFC(sizes[-1], num_outputs, initializer=normc_initializer(0.01))
        self._value_branch = SlimFC(sizes[-1], 1, initializer=normc_initializer(1.0))
        self._hidden_out: Tensor = None

    def forward(self, input_dict: Any, state: list[Tensor], seq_lens: Any) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs]."""
        learns = bool(getattr(input_dict, "is_training", False))
        self._hidden_layers.train(mode=learns and len(input_dict["obs_flat"]) > 1)
        self._hidden_out = self._hidden_layers(input_dict["obs_flat"].float())
        return self._logits(self._hidden_out), []

    def value_function(self) -> Tensor:
        """[B]."""
        return self._value_branch(self._hidden_out).reshape(-1)
