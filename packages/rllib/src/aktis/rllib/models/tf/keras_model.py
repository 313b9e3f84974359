"""Models of Keras as ``custom_model``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from aktis.rllib.models.tf.tf_modelv2 import TFModelV2

Tensor = Any


class KerasModelV2(TFModelV2):
    """A keras.Model behind the interface of models.

    What the user gives is one of:

    - a class derived from keras.Model, made with ``(obs_space, action_space, num_outputs, name=..., **custom_model_config)``. Its
      ``call(input_dict)`` gets "obs", "obs_flat", "seq_lens" and "state_in_0" ...;
    - a function of ``(obs_space, action_space, num_outputs, model_config, name)`` that returns a keras.Model of the observation.

    The model returns the outputs; or those and the value; or ``(outputs, states, {"vf_preds": value})``.

    Attributes:
        base_model: The Keras model.
    """

    made_by: Callable[..., Any]
    base_model: Any

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        made_by: Any = type(self).made_by
        of_class = inspect.isclass(made_by)
        if of_class:
            self.base_model = made_by(obs_space, action_space, num_outputs, name=name, **kwargs)
        else:
            self.base_model = made_by(obs_space, action_space, num_outputs, model_config, name, **kwargs)
        if not _is_keras_model(self.base_model):
            raise TypeError(f"custom_model made {type(self.base_model).__name__}, which is no keras.Model.")
        self._functional = getattr(self.base_model, "inputs", None) is not None
        self._value: Tensor | None = None
        self._build()

    def _build(self) -> None:
        """Variables of a Keras model are made when it is called first."""
        obs = tf.zeros((1, *(self.obs_space.shape or ())), tf.as_dtype(self.obs_space.dtype or np.float32))
        state = [tf.convert_to_tensor(np.asarray(s)[None]) for s in self.get_initial_state()]
        self({"obs": obs}, state, tf.ones((1,), tf.int32) if state else None)

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """[B, num_outputs], and the states that the Keras model returns."""
        if self._functional:
            result = self.base_model(input_dict["obs"])
        else:
            given = {**input_dict, **{f"state_in_{i}": s for i, s in enumerate(state)}}
            if seq_lens is not None:
                given["seq_lens"] = seq_lens
            result = self.base_model(given)
        return self._understood(result, state)

    def _understood(self, result: Any, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        self._value = None
        if not isinstance(result, list | tuple):
            return result, state
        if len(result) == 3 and isinstance(result[2], dict):
            outputs, states, extra = result
            self._value = extra.get("vf_preds")
            return outputs, list(states or [])
        if len(result) == 2:
            outputs, self._value = result
            return outputs, state
        raise ValueError(
            f"{type(self.base_model).__name__} returns outputs, (outputs, value), or (outputs, states, "
            f"{{'vf_preds': value}}), and not {len(result)} things."
        )

    def value_function(self) -> Tensor:
        """[B]."""
        if self._value is None:
            raise ValueError(
                f"{type(self.base_model).__name__} returns no value, which this algorithm needs: return (outputs, value)."
            )
        return tf.reshape(self._value, (-1,))

    def get_initial_state(self) -> list[Any]:
        """What the Keras model's method of this name returns; nothing without one."""
        own = getattr(self.base_model, "get_initial_state", None)
        state = own() if own is not None else []
        if isinstance(state, dict):
            state = list(state.values())
        return [np.asarray(s) for s in state]


def keras_model_class(found: Any) -> type[KerasModelV2]:
    """A class of models of what the user gave.

    Raises:
        TypeError: it is neither a class of Keras models nor a function.
    """
    if not callable(found) or (inspect.isclass(found) and not _is_keras_class(found)):
        raise TypeError(
            "custom_model is a class derived from TFModelV2 or keras.Model, or a function that makes a keras.Model, "
            f"not {found!r}."
        )
    name = getattr(found, "__name__", "model")
    return type(f"Keras_{name}", (KerasModelV2,), {"made_by": staticmethod(found)})


def _is_keras_class(cls: type[Any]) -> bool:
    import keras

    return issubclass(cls, keras.Model | tf.keras.Model)


def _is_keras_model(model: Any) -> bool:
    return _is_keras_class(type(model))
