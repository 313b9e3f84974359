"""Small networks that an exploration trains or draws by itself, in the policy's framework: dense models of the
catalog and one Adam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def dense_model(ops: Any, inputs: int, outputs: int, hiddens: Sequence[int], activation: str, name: str) -> Any:
    """A fully connected model from rows of `inputs` numbers to rows of `outputs`."""
    import gymnasium as gym

    from aktis.rllib.models.catalog import ModelCatalog

    space = gym.spaces.Box(-np.inf, np.inf, (inputs,), np.float32)
    config = {"fcnet_hiddens": list(hiddens), "fcnet_activation": activation, **_linear_end(outputs)}
    return ModelCatalog.get_model_v2(space, gym.spaces.Discrete(2), None, config, ops.name, name)


def encoder(ops: Any, observation_space: Any, outputs: int, config: dict[str, Any], name: str) -> Any:
    """A model of the catalog for an observation space, which makes rows of `outputs` numbers."""
    import gymnasium as gym

    from aktis.rllib.models.catalog import ModelCatalog

    config = {**config, **_linear_end(outputs)}
    return ModelCatalog.get_model_v2(observation_space, gym.spaces.Discrete(2), None, config, ops.name, name)


def _linear_end(outputs: int) -> dict[str, Any]:
    """A linear layer as the last, with weights like those before it: a policy's would begin near 0."""
    return {"post_fcnet_hiddens": [outputs], "post_fcnet_activation": "linear", "vf_share_layers": True}


class Trained:
    """Models that are trained together.

    Args:
        ops: The operations of the framework.
        models: The models.
        lr: Learning rate.
    """

    def __init__(self, ops: Any, models: Sequence[Any], lr: float) -> None:
        self.ops = ops
        self.models = list(models)
        self.lr = lr
        self._optimizer: Any = None

    def parameters(self) -> list[Any]:
        """All parameters of all models."""
        return [parameter for model in self.models for parameter in self.ops.parameters(model)]

    def step(self, loss: Callable[[], tuple[Any, Any]]) -> Any:
        """One step of Adam on a loss. `loss()` returns it, and something more that is returned."""
        ops = self.ops
        if ops.name == "torch":
            value, more = loss()
            tape = None
        else:
            import tensorflow as tf

            with tf.GradientTape() as tape:
                value, more = loss()
        # Parameters that the loss does not read (heads of values) get no gradient, and stay.
        parameters = self.parameters()
        if self._optimizer is None:
            self._optimizer = ops.adam(parameters, lr=self.lr)
        ops.apply_gradients(self._optimizer, parameters, ops.gradients(value, parameters, tape=tape))
        return more

    def get_state(self) -> list[dict[str, Any]]:
        """The weights of each model."""
        return [self.ops.named_arrays(model) for model in self.models]

    def set_state(self, state: Sequence[dict[str, Any]]) -> None:
        """Take over what `get_state` gave."""
        for model, arrays in zip(self.models, state, strict=True):
            self.ops.load_arrays(model, arrays)


def sub_exploration(given: Any, action_space: Any, **kwargs: Any) -> Any:
    """The exploration that chooses actions: of a name, a dict with a type, or a class."""
    from aktis.rllib.utils import exploration as package

    config = {"type": given} if isinstance(given, (str, type)) else dict(given or {"type": "StochasticSampling"})
    kind = config.pop("type")
    if isinstance(kind, str):
        name = kind.rsplit(".", 1)[-1]
        if name not in package.__all__:
            raise ValueError(
                f"Unknown exploration {kind!r} (sub_exploration): it is one of {', '.join(package.__all__)}."
            )
        kind = getattr(package, name)
    return kind(action_space, **{**kwargs, **config})
