"""Classes of policies in TensorFlow 2, put together from functions. To derive a class from EagerTFPolicyV2 is simpler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]

__all__ = ["build_tf_policy"]


def build_tf_policy(
    name: str,
    *,
    loss_fn: Function | None,
    get_default_config: Function | None = None,
    postprocess_fn: Function | None = None,
    stats_fn: Function | None = None,
    optimizer_fn: Function | None = None,
    compute_gradients_fn: Function | None = None,
    apply_gradients_fn: Function | None = None,
    grad_stats_fn: Function | None = None,
    extra_action_out_fn: Function | None = None,
    extra_learn_fetches_fn: Function | None = None,
    validate_spaces: Function | None = None,
    before_init: Function | None = None,
    before_loss_init: Function | None = None,
    after_init: Function | None = None,
    make_model: Function | None = None,
    action_sampler_fn: Function | None = None,
    action_distribution_fn: Function | None = None,
    mixins: list[type] | None = None,
    get_batch_divisibility_req: Function | None = None,
) -> type[Any]:
    """A class of policies.

    Args:
        name: Of the class.
        loss_fn: `f(policy, model, dist_class, train_batch)` returns the loss.
        get_default_config: `f()` returns a configuration that is the base of what the policy is given.
        postprocess_fn: `f(policy, sample_batch, other_agent_batches, episode)` returns the trajectory, with more columns.
        stats_fn: `f(policy, train_batch)` returns what is to be told of an update.
        optimizer_fn: `f(policy, config)` returns an optimizer of Keras, or a list of them.
        compute_gradients_fn: `f(policy, optimizer, loss)` returns pairs of gradients and variables.
        apply_gradients_fn: `f(policy, optimizer, grads)` applies them.
        grad_stats_fn: `f(policy, train_batch, grads)` returns what is to be told of gradients.
        extra_action_out_fn: `f(policy)` returns more columns of the batch.
        extra_learn_fetches_fn: `f(policy)` returns what `learn_on_batch` gives back besides.
        validate_spaces: `f(policy, observation_space, action_space, config)` raises if they do not suit.
        before_init: The same arguments; called before everything else.
        before_loss_init: The same arguments; called when model and optimizers are there.
        after_init: The same arguments; called in the end.
        make_model: The same arguments; returns the model.
        action_sampler_fn: `f(policy, model, obs_batch, ...)` samples actions in one's own way.
        action_distribution_fn: `f(policy, model, obs_batch, ...)` makes the distribution in one's own way.
        mixins: More base classes.
        get_batch_divisibility_req: `f(policy)`: rows of a train batch are a multiple of what it returns.
    """
    from aktis.rllib.policy.tf_policy import TFPolicy

    given = dict(locals())
    given.pop("TFPolicy")

    def __init__(self: Any, observation_space: Any, action_space: Any, config: Any) -> None:
        if get_default_config is not None and isinstance(config, dict):
            default = get_default_config()
            config = {**(default.to_dict() if hasattr(default, "to_dict") else dict(default)), **config}
        hooks = (self, observation_space, action_space, config)
        _call(validate_spaces, *hooks)
        _call(before_init, *hooks)
        TFPolicy.__init__(
            self,
            observation_space,
            action_space,
            config,
            loss=loss_fn,
            get_batch_divisibility_req=get_batch_divisibility_req,
        )
        _call(before_loss_init, *hooks)
        self._initialize_loss_from_dummy_batch()
        _call(after_init, *hooks)

    methods: dict[str, Any] = {"__init__": __init__, "__module__": __name__, **_methods(given)}
    made: type[Any] = type(name, (*(mixins or ()), TFPolicy), methods)
    made.with_updates = staticmethod(lambda **changes: build_tf_policy(**{**given, **changes}))
    return made


_DIRECT = (
    "stats_fn",
    "compute_gradients_fn",
    "apply_gradients_fn",
    "grad_stats_fn",
    "extra_action_out_fn",
    "extra_learn_fetches_fn",
    "action_sampler_fn",
    "action_distribution_fn",
)


def _methods(given: dict[str, Any]) -> dict[str, Any]:
    """The functions that were given, as methods."""
    made = {name: _as_method(given[name]) for name in _DIRECT if given[name] is not None}
    if "compute_gradients_fn" in made:
        compute = given["compute_gradients_fn"]
        made["compute_gradients_fn"] = lambda self, policy, optimizer, loss: compute(policy, optimizer, loss)
    make_model, optimizer_fn, postprocess_fn = given["make_model"], given["optimizer_fn"], given["postprocess_fn"]
    if make_model is not None:
        made["make_model"] = lambda self: make_model(self, self.observation_space, self.action_space, self.config)
    if optimizer_fn is not None:
        made["optimizer"] = lambda self: optimizer_fn(self, self.config)
    if postprocess_fn is not None:

        def postprocess_trajectory(self: Any, batch: Any, others: Any = None, episode: Any = None) -> Any:
            return postprocess_fn(self, batch, others, episode)

        made["postprocess_trajectory"] = postprocess_trajectory
    return made


def _as_method(function: Function) -> Function:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__wrapped__ = function  # type: ignore[attr-defined] # its signature says what it wants to be given
    return method


def _call(function: Function | None, *args: Any) -> None:
    if function is not None:
        function(*args)
