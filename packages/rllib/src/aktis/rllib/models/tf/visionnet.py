"""The convolutional network."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib._backend._tf_variables import Part
from aktis.rllib.models.tf.fcnet import Layers, append_log_std, through
from aktis.rllib.models.tf.misc import ORTHOGONAL_GAIN, Conv2d, activation_function, initializer
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.models.utils import convolutions

Tensor = Any


class ImageTrunk(Part):
    """From images [B, H, W, C] to features [B, out_size]: convolutions, and the layers of ``post_fcnet_hiddens``.

    Bytes (0 to 255) are scaled to [0, 1].
    """

    def __init__(self, space: spaces.Box, config: dict[str, Any], with_post: bool = True) -> None:
        plan = convolutions(space.shape, config)
        name = config.get("conv_kernel_initializer") or "xavier_uniform"
        gain = ORTHOGONAL_GAIN if name == "orthogonal" else None
        fill = initializer(name, gain, **dict(config.get("conv_kernel_initializer_config") or {}))
        act = config.get("conv_activation", "relu")
        channels = int(space.shape[2])
        self.convs = []
        for layer in plan.layers:
            self.convs.append(Conv2d(channels, layer.channels, layer.kernel, layer.stride, layer.padding, fill, act))
            channels = layer.channels
        widths = [int(n) for n in plan.dense or (config.get("post_fcnet_hiddens") if with_post else None) or ()]
        acts = [config.get("post_fcnet_activation", "relu")] * len(widths)
        self.post = Layers(config).stack(plan.flat_size, widths, acts)
        self.out_size = widths[-1] if widths else plan.flat_size
        self._flat_size = plan.flat_size
        self._scale = 1.0 / 255.0 if space.dtype == np.uint8 else None

    def __call__(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to [B, out_size]."""
        x = tf.cast(x, tf.float32)
        if self._scale is not None:
            x = x * self._scale
        x = tf.transpose(through(self.convs, x), (0, 3, 1, 2))  # flattened in the order of PyTorch: weights fit both
        return through(self.post, tf.reshape(x, (-1, self._flat_size)))


class VisionNetwork(TFModelV2):
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
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self.trunk = ImageTrunk(obs_space, model_config)
        self.vf_share_layers = bool(model_config.get("vf_share_layers"))
        self.value_trunk = None if self.vf_share_layers else ImageTrunk(obs_space, model_config)
        make = Layers(model_config)
        features = self.trunk.out_size
        self.logits, self.log_std = make.output(features, num_outputs, model_config)
        self._final_activation = (
            activation_function(model_config.get("conv_activation"))
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
        out = self._features if self.logits is None else self.logits(self._features)
        if self._final_activation is not None:
            out = self._final_activation(out)
        return append_log_std(out, self.log_std), state

    def value_function(self) -> Tensor:
        """[B]; it is evaluated only when it is asked for."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        features = self._features if self.value_trunk is None else self.value_trunk(self._images)
        return tf.squeeze(self.value(features), 1)
