"""Policies in TensorFlow 2, made with functions for the constructor rather than methods. To derive a class,
EagerTFPolicyV2 is simpler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2

__all__ = ["TFPolicy"]


class TFPolicy(EagerTFPolicyV2):
    """A policy with a model in TensorFlow 2.

    Args:
        observation_space: What it observes, after preprocessing.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
        model: The model; by default the catalog's.
        loss: `f(policy, model, dist_class, train_batch)` returns the loss; by default the method `loss`.
        action_distribution_class: The class of the distribution of actions; by default the catalog's.
        max_seq_len: Of recurrent models, how long sequences are.
        get_batch_divisibility_req: `f(policy)`: rows of a train batch are a multiple of what it returns.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        config: Any,
        *,
        model: Any = None,
        loss: Callable[..., Any] | None = None,
        action_distribution_class: Any = None,
        max_seq_len: int | None = None,
        get_batch_divisibility_req: Callable[..., int] | None = None,
    ) -> None:
        self._given_model = model
        self._given_dist_class = action_distribution_class
        self._loss_fn = loss
        self._divisibility = get_batch_divisibility_req
        super().__init__(observation_space, action_space, config, max_seq_len=max_seq_len)

    def make_model_and_action_dist(self) -> tuple[Any, Any]:
        """The model and the class of the distribution that the constructor was given; of what it was not, the catalog's."""
        if self._given_model is not None and self._given_dist_class is not None:
            return self._given_model, self._given_dist_class
        model, dist_class = super().make_model_and_action_dist()
        return self._given_model or model, self._given_dist_class or dist_class

    def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
        """See Policy."""
        if self._loss_fn is None:
            return super().loss(model, dist_class, train_batch)
        return self._loss_fn(self, model, dist_class, train_batch)

    def get_batch_divisibility_req(self) -> int:
        """Rows of a train batch are a multiple of this."""
        return 1 if self._divisibility is None else self._divisibility(self)

    # What was given as a function counts as overridden.

    def _overrides(self, name: str) -> bool:
        if name == "loss":
            own = type(self).loss is not TFPolicy.loss
            return self._loss_fn is not None or own
        return super()._overrides(name)
