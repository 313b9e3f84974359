"""The convolutional network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from aktis.rllib.models.torch.fcnet import Layers
from aktis.rllib.models.torch.misc import ORTHOGONAL_GAIN, SlimConv2d, activation, initializer
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2
from aktis.rllib.models.utils import convolutions

Tensor = Any


class ImageTrunk(nn.Module):  # type: ignore[misc]
    """From images [B, H, W, C] to features [B, out_size]: convolutions, and the layers of ``post_fcnet_hiddens``.

    Bytes (0 to 255) are scaled to [0, 1].
    """

    def __init__(self, space: spaces.Box, config: dict[str, Any], with_post: bool = True) -> None:
        super().__init__()
        plan = convolutions(space.shape, config)
        name = config.get("conv_kernel_initializer") or "xavier_uniform"
        gain = ORTHOGONAL_GAIN if name == "orthogonal" else None
        fill = initializer(name, gain, **dict(config.get("conv_kernel_initializer_config") or {}))
        channels, layers = int(space.shape[2]), []
        for layer in plan.layers:
            act = config.get("conv_activation", "relu")
            layers.append(
                SlimConv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, fill, activation_fn=act)
            )
            channels = layer.channels
        self.convs = nn.Sequential(*layers)
        widths = [int(n) for n in plan.dense or (config.get("post_fcnet_hiddens") if with_post else None) or ()]
        acts = [config.get("post_fcnet_activation", "relu")] * len(widths)
        self.post = Layers(config).stack(plan.flat_size, widths, acts)
        self.out_size = widths[-1] if widths else plan.flat_size
        self._scale = 1.0 / 255.0 if space.dtype == np.uint8 else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, out_size]."""
        x = x.to(torch.float32)
        if self._scale is not None:
            x = x * self._scale
        x = self.convs(x.permute(0, 3, 1, 2)).flatten(1)
        for layer in self.post:
            x = layer(x)
        return x


class VisionNetwork(TorchModelV2, nn.Module):  # type: ignore[misc]
    """Convolutions, a head for the policy and one for the value: on the same features (``vf_share_layers``) or on a
    network of its own.

    With ``num_outputs`` None it returns the features.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str = "visionnet",
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.trunk = ImageTrunk(obs_space, model_config)
        self.vf_share_layers = bool(model_config.get("vf_share_layers"))
        self.value_trunk = None if self.vf_share_layers else ImageTrunk(obs_space, model_config)
        make = Layers(model_config)
        features = self.trunk.out_size
        self.logits, self.log_std = make.output(features, num_outputs, model_config)
        self._final_activation = (
            activation(model_config.get("conv_activation"))
            if model_config.get("no_final_linear") and num_outputs is not None
            else None
        )
        self.value = make.head(features, 1, policy=False)
        self.num_outputs = features if num_outputs is None else num_outputs
        self._images: Tensor | None = None
        self._features: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, H, W, C] images to [B, num_outputs]."""
        self._images = input_dict["obs"]
        self._features = self.trunk(self._images)
        out = self._features
        if self.logits is not None:
            out = self.logits(out)
        if self._final_activation is not None:
            out = self._final_activation(out)
        if self.log_std is not None:
            out = torch.cat([out, self.log_std.expand(out.shape[0], -1)], dim=1)
        return out, state

    def value_function(self) -> Tensor:
        """[B]; it is evaluated only when it is asked for."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        features = self._features if self.value_trunk is None else self.value_trunk(self._images)
        return self.value(features).squeeze(1)


__all__ = ["ImageTrunk", "VisionNetwork"]
