"""Models in TensorFlow 2."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from aktis.rllib._backend._tf_variables import Part, named_variables, trainable
from aktis.rllib.models.modelv2 import ModelV2

Tensor = Any


class TFModelV2(ModelV2, Part):
    """Base class of models in TensorFlow 2.

    Its variables are those of Keras models and layers, of tf.Modules and tf.Variables that are its attributes (or in
    lists and dicts that are).

    Example:
        ```python
        class MyModel(TFModelV2):
            def __init__(self, obs_space, action_space, num_outputs, model_config, name):
                super().__init__(obs_space, action_space, num_outputs, model_config, name)
                inputs = keras.Input(obs_space.shape)
                x = keras.layers.Dense(64, "tanh")(inputs)
                self.base_model = keras.Model(inputs, [keras.layers.Dense(num_outputs)(x), keras.layers.Dense(1)(x)])

            def forward(self, input_dict, state, seq_lens):
                outputs, self._value = self.base_model(input_dict["obs"])
                return outputs, state

            def value_function(self):
                return tf.reshape(self._value, [-1])
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
        super().__init__(obs_space, action_space, num_outputs, model_config, name, framework="tf2")

    def variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        named = named_variables(self)
        return named if as_dict else list(named.values())

    def trainable_variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        named = trainable(named_variables(self))
        return named if as_dict else list(named.values())

    def register_variables(self, variables: list[Any]) -> None:
        """Without effect: variables are found by themselves. For models that were written for graphs."""

    def update_ops(self) -> list[Any]:
        """Nothing: what a layer updates is updated when it is called. For models that were written for graphs."""
        return []

    def _set_arrays(self, arrays: dict[str, Any]) -> None:
        for name, variable in named_variables(self).items():
            if name not in arrays:
                raise ValueError(f"The file has no {name!r}; it has {sorted(arrays)}.")
            value = np.asarray(arrays[name])
            if value.shape != tuple(variable.shape):
                raise ValueError(f"{name!r} has the shape {value.shape}, and the model's is {tuple(variable.shape)}.")
            variable.assign(value)
