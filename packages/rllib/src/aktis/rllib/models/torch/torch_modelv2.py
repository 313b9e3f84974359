"""Models in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from aktis.rllib.models.modelv2 import ModelV2

Tensor = Any


class TorchModelV2(ModelV2):
    """Base class of models in PyTorch, beside torch.nn.Module.

    Example:
        ```python
        class MyModel(TorchModelV2, nn.Module):
            def __init__(self, obs_space, action_space, num_outputs, model_config, name):
                TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
                nn.Module.__init__(self)
                self.policy = nn.Linear(obs_space.shape[0], num_outputs)
                self.value = nn.Linear(obs_space.shape[0], 1)

            def forward(self, input_dict, state, seq_lens):
                self.features = input_dict["obs_flat"].float()
                return self.policy(self.features), state

            def value_function(self):
                return self.value(self.features).squeeze(1)
        ```
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
    ) -> None:
        """
        Raises:
            TypeError: the class does not derive from torch.nn.Module, too.
        """
        if not isinstance(self, nn.Module):
            raise TypeError(
                f"{type(self).__name__} derives from TorchModelV2 and from torch.nn.Module: "
                f"class {type(self).__name__}(TorchModelV2, nn.Module), and its __init__ calls that of both."
            )
        ModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name, framework="torch")

    def __getstate__(self) -> dict[str, Any]:
        # What the last forward pass left (features for the value function) hangs on its graph: it cannot be copied,
        # and nobody needs it.
        return {
            name: None if isinstance(value, torch.Tensor) and not value.is_leaf else value
            for name, value in self.__dict__.items()
        }

    def variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        named = self.state_dict(keep_vars=True)  # type: ignore[attr-defined]
        return dict(named) if as_dict else list(named.values())

    def trainable_variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        named = {name: p for name, p in self.named_parameters() if p.requires_grad}  # type: ignore[attr-defined]
        return named if as_dict else list(named.values())

    def _set_arrays(self, arrays: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, tensor in self.state_dict(keep_vars=True).items():  # type: ignore[attr-defined]
                if name not in arrays:
                    raise ValueError(f"The file has no {name!r}; it has {sorted(arrays)}.")
                if tuple(arrays[name].shape) != tuple(tensor.shape):
                    raise ValueError(
                        f"{name!r} has the shape {arrays[name].shape}, and the model's is {tuple(tensor.shape)}."
                    )
                tensor.copy_(torch.from_numpy(np.array(arrays[name])))
