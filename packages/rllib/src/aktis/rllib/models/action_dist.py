"""The interface of action distributions, in any framework."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

Tensor = Any


class ActionDistribution:
    """A distribution over actions, made of the outputs of a model.

    Derive from `TorchDistributionWrapper` (or `TFActionDistribution`) for one of your own, and name it in the model
    configuration as ``custom_action_dist``.

    Attributes:
        inputs: [B, n] what the model returned.
        model: The model that returned it; None in what is only evaluated.
        generator: What `sample` draws from: the model's generator; None is the framework's own.
    """

    ops: Any = None  # the functions of aktis.rllib._backend.Ops of the framework

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        self.inputs = inputs
        self.model = model
        self.generator = getattr(model, "generator", None)
        self.last_sample: Any = None

    def sample(self) -> Tensor:
        """Draw an action for each row."""
        raise NotImplementedError(f"{type(self).__name__} defines no sample().")

    def deterministic_sample(self) -> Tensor:
        """The action of each row without chance: the most likely one, or the mean."""
        raise NotImplementedError(f"{type(self).__name__} defines no deterministic_sample().")

    def sampled_action_logp(self) -> Tensor:
        """Logarithm of the probability (or density) of what was drawn last, [B].

        Raises:
            ValueError: nothing was drawn yet.
        """
        if self.last_sample is None:
            raise ValueError(
                "sampled_action_logp() is about the last sample: call sample() or deterministic_sample() first."
            )
        return self.logp(self.last_sample)

    def logp(self, x: Tensor) -> Tensor:
        """Logarithm of the probability (or density) of the actions ``x``, [B]."""
        raise NotImplementedError(f"{type(self).__name__} defines no logp(x).")

    def kl(self, other: ActionDistribution) -> Tensor:
        """Kullback-Leibler divergence KL(self || other), [B]."""
        raise NotImplementedError(f"{type(self).__name__} defines no kl(other).")

    def entropy(self) -> Tensor:
        """Entropy, [B]."""
        raise NotImplementedError(f"{type(self).__name__} defines no entropy().")

    def multi_kl(self, other: ActionDistribution) -> Tensor:
        """`kl` of each part of the action; of all, if there are no parts."""
        return self.kl(other)

    def multi_entropy(self) -> Tensor:
        """`entropy` of each part of the action; of all, if there are no parts."""
        return self.entropy()

    @staticmethod
    def required_model_output_shape(action_space: spaces.Space[Any], model_config: dict[str, Any]) -> int:
        """How many outputs of the model the distribution needs."""
        raise NotImplementedError(
            "An action distribution defines required_model_output_shape(action_space, model_config)."
        )
