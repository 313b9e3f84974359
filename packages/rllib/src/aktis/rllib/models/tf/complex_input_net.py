"""The network for observations of several parts."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tree
from gymnasium import spaces

from aktis.rllib._backend import tf_ops
from aktis.rllib.models._encode import encode, encoded_size
from aktis.rllib.models.tf.fcnet import Layers, append_log_std, through
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2
from aktis.rllib.models.tf.visionnet import ImageTrunk
from aktis.rllib.utils.spaces.space_utils import flatten_space, get_original_space

Tensor = Any


class ComplexInputNetwork(TFModelV2):
    """Images go through convolutions, everything else through dense layers (``fcnet_hiddens``); what comes out is put
    side by side.

    Then follow the layers of ``post_fcnet_hiddens``, and the heads of policy and value on the same features. With
    ``num_outputs`` None it returns the features.
    """

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str = "complex_input_net",
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self._leaf_spaces = flatten_space(get_original_space(obs_space))
        self._one_hot_already = not model_config.get("_disable_preprocessor_api")
        make = Layers(model_config)
        widths = [int(n) for n in model_config.get("fcnet_hiddens") or ()]
        acts = [model_config.get("fcnet_activation")] * len(widths)
        self.parts: list[Any] = []
        size = 0
        for space in self._leaf_spaces:
            if isinstance(space, spaces.Box) and len(space.shape) == 3:
                trunk = ImageTrunk(space, model_config, with_post=False)
                self.parts.append(trunk)
                size += trunk.out_size
            else:
                in_size = encoded_size(space)
                self.parts.append(make.stack(in_size, widths, acts))
                size += widths[-1] if widths else in_size
        post = [int(n) for n in model_config.get("post_fcnet_hiddens") or ()]
        self.post = make.stack(size, post, [model_config.get("post_fcnet_activation")] * len(post))
        features = post[-1] if post else size
        self.logits, self.log_std = make.output(features, num_outputs, model_config)
        self.value = make.head(features, 1, policy=False)
        self.num_outputs = features if num_outputs is None else num_outputs
        self._features: Tensor | None = None

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Observations in their structure, parts [B, ...], to [B, num_outputs]."""
        features = []
        for x, space, part in zip(tree.flatten(input_dict["obs"]), self._leaf_spaces, self.parts):
            features.append(part(x) if isinstance(part, ImageTrunk) else through(part, self._encoded(x, space)))
        self._features = through(self.post, tf.concat(features, axis=1))
        out = self._features if self.logits is None else self.logits(self._features)
        return append_log_std(out, self.log_std), state

    def _encoded(self, x: Tensor, space: spaces.Space[Any]) -> Tensor:
        if self._one_hot_already and isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            return tf.cast(x, tf.float32)
        return encode(x, space, tf_ops)

    def value_function(self) -> Tensor:
        """[B]."""
        if self._features is None:
            raise ValueError("value_function() is about the last forward(): call the model first.")
        return tf.squeeze(self.value(self._features), 1)
