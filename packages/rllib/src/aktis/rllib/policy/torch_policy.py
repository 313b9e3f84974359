"""Policies in PyTorch, made with functions for the constructor rather than methods. To derive a class, TorchPolicyV2 is simpler."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2


class TorchPolicy(TorchPolicyV2):
    """A policy with a model in PyTorch.

    Args:
        observation_space: What it observes, after preprocessing.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
        model: The model; by default the catalog's.
        loss: `f(policy, model, dist_class, train_batch)` returns the loss; by default the method `loss`.
        action_distribution_class: The class of the distribution of actions; by default the catalog's.
        action_sampler_fn: `f(policy, model, obs_batch, state_batches, explore=, timestep=)` samples actions in one's own way.
        action_distribution_fn: `f(policy, model, obs_batch, ...)` makes the distribution in one's own way.
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
        action_sampler_fn: Callable[..., Any] | None = None,
        action_distribution_fn: Callable[..., Any] | None = None,
        max_seq_len: int | None = None,
        get_batch_divisibility_req: Callable[..., int] | None = None,
    ) -> None:
        self._given_model = model
        self._given_dist_class = action_distribution_class
        self._loss_fn = loss
        self._divisibility = get_batch_divisibility_req
        self._sampler_fn = action_sampler_fn
        self._distribution_fn = action_distribution_fn
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

    def extra_grad_info(self, train_batch: Any) -> dict[str, Any]:
        """What is to be told of an update, beside `stats_fn`: called after the loss."""
        return {}

    def stats_fn(self, train_batch: Any) -> dict[str, Any]:
        """See TorchPolicyV2."""
        return self.extra_grad_info(train_batch)

    # What was given as a function counts as overridden.

    def _overrides(self, name: str) -> bool:
        given = {
            "loss": self._loss_fn,
            "action_sampler_fn": self._sampler_fn,
            "action_distribution_fn": self._distribution_fn,
        }
        if given.get(name) is not None:
            return True
        own = getattr(type(self), name, None)
        return own is not getattr(TorchPolicy, name, None) and super()._overrides(name)

    def action_sampler_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
        """See NeuralPolicy."""
        if self._sampler_fn is None:
            return super().action_sampler_fn(model, obs_batch=obs_batch, state_batches=state_batches, **kwargs)
        return call_with(self._sampler_fn, self, model, obs_batch, state_batches, kwargs)

    def action_distribution_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
        """See NeuralPolicy."""
        if self._distribution_fn is None:
            return super().action_distribution_fn(model, obs_batch=obs_batch, state_batches=state_batches, **kwargs)
        return call_with(self._distribution_fn, self, model, obs_batch, state_batches, kwargs)


def call_with(
    function: Callable[..., Any], policy: Any, model: Any, obs_batch: Any, state_batches: Any, kwargs: dict[str, Any]
) -> Any:
    """Call `f(policy, model, obs_batch, ...)` with those of the other arguments that it takes."""
    parameters = list(inspect.signature(function).parameters.values())
    given = {"state_batches": state_batches, "input_dict": obs_batch, "obs_batch": obs_batch, **kwargs}
    named = {p.name: p for p in parameters[2:] if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    # The observations may have a name of the user's own.
    renamed = any(name not in given and p.default is p.empty for name, p in named.items())
    wanted = set(named)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        wanted |= set(given) - {"input_dict", "obs_batch"}
        wanted |= set() if renamed or "input_dict" in named else {"obs_batch"}
    positional = [obs_batch] if renamed else []
    return function(policy, model, *positional, **{name: given[name] for name in given if name in wanted})
