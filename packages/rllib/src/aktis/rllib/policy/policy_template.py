"""Classes of policies, put together from functions. To derive a class from TorchPolicyV2 is simpler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def build_policy_class(
    name: str,
    framework: str,
    *,
    loss_fn: Function | None,
    get_default_config: Function | None = None,
    stats_fn: Function | None = None,
    postprocess_fn: Function | None = None,
    extra_action_out_fn: Function | None = None,
    extra_grad_process_fn: Function | None = None,
    extra_learn_fetches_fn: Function | None = None,
    optimizer_fn: Function | None = None,
    validate_spaces: Function | None = None,
    before_init: Function | None = None,
    before_loss_init: Function | None = None,
    after_init: Function | None = None,
    _after_loss_init: Function | None = None,
    action_sampler_fn: Function | None = None,
    action_distribution_fn: Function | None = None,
    make_model: Function | None = None,
    make_model_and_action_dist: Function | None = None,
    compute_gradients_fn: Function | None = None,
    apply_gradients_fn: Function | None = None,
    mixins: list[type] | None = None,
    get_batch_divisibility_req: Function | None = None,
) -> type[Any]:
    """A class of policies.

    Args:
        name: Of the class.
        framework: "torch".
        loss_fn: `f(policy, model, dist_class, train_batch)` returns the loss.
        get_default_config: `f()` returns a configuration that is the base of what the policy is given.
        stats_fn: `f(policy, train_batch)` returns what is to be told of an update.
        postprocess_fn: `f(policy, sample_batch, other_agent_batches, episode)` returns the trajectory, with more columns.
        extra_action_out_fn: `f(policy, input_dict, state_batches, model, action_dist)` returns more columns of the batch.
        extra_grad_process_fn: `f(policy, optimizer, loss)` changes gradients and returns statistics.
        extra_learn_fetches_fn: `f(policy)` returns what `learn_on_batch` gives back besides.
        optimizer_fn: `f(policy, config)` returns an optimizer, or a list of them.
        validate_spaces: `f(policy, observation_space, action_space, config)` raises if they do not suit.
        before_init: The same arguments; called before everything else.
        before_loss_init: The same arguments; called when model and optimizers are there.
        after_init: The same arguments; called in the end.
        _after_loss_init: The same arguments; called when it is known what the loss reads.
        action_sampler_fn: See TorchPolicy.
        action_distribution_fn: See TorchPolicy.
        make_model: `f(policy, observation_space, action_space, config)` returns the model.
        make_model_and_action_dist: The same arguments; returns the model and the class of the distribution.
        compute_gradients_fn: `f(policy, batch)` returns gradients and what is to be told.
        apply_gradients_fn: `f(policy, gradients)` applies them.
        mixins: More base classes.
        get_batch_divisibility_req: `f(policy)`: rows of a train batch are a multiple of what it returns.

    Raises:
        ValueError: Both ways to make a model are given, or the framework is not "torch".
    """
    given = dict(locals())
    if framework != "torch":
        raise ValueError(f"build_policy_class() makes policies with framework 'torch', not {framework!r}.")
    if make_model is not None and make_model_and_action_dist is not None:
        raise ValueError("Give either make_model or make_model_and_action_dist, not both.")
    return _torch_class(name, given, tuple(mixins or ()))


def _torch_class(name: str, given: dict[str, Any], mixins: tuple[type, ...]) -> type[Any]:
    from aktis.rllib.policy.torch_policy import TorchPolicy

    def __init__(self: Any, observation_space: Any, action_space: Any, config: Any) -> None:
        base = given["get_default_config"]
        if base is not None and isinstance(config, dict):
            default = base()
            default = default.to_dict() if hasattr(default, "to_dict") else dict(default)
            config = {**default, **config}
        hooks = (self, observation_space, action_space, config)
        _call(given["validate_spaces"], *hooks)
        _call(given["before_init"], *hooks)
        TorchPolicy.__init__(
            self,
            observation_space,
            action_space,
            config,
            loss=given["loss_fn"],
            action_sampler_fn=given["action_sampler_fn"],
            action_distribution_fn=given["action_distribution_fn"],
            get_batch_divisibility_req=given["get_batch_divisibility_req"],
        )
        _call(given["before_loss_init"], *hooks)
        self._initialize_loss_from_dummy_batch()
        _call(given["_after_loss_init"], *hooks)
        _call(given["after_init"], *hooks)

    methods: dict[str, Any] = {"__init__": __init__, "__module__": __name__}
    methods.update(_methods(given))
    made: type[Any] = type(name, (*mixins, TorchPolicy), methods)
    made.with_updates = staticmethod(lambda **changes: build_policy_class(**{**given, **changes}))
    return made


def _methods(given: dict[str, Any]) -> dict[str, Any]:
    """The functions that were given, as methods."""
    made: dict[str, Any] = {}
    direct = {
        "stats_fn": "stats_fn",
        "extra_action_out_fn": "extra_action_out",
        "extra_grad_process_fn": "extra_grad_process",
        "extra_learn_fetches_fn": "extra_compute_grad_fetches",
        "compute_gradients_fn": "compute_gradients",
        "apply_gradients_fn": "apply_gradients",
    }
    for argument, method in direct.items():
        function = given[argument]
        if function is not None:
            made[method] = _as_method(function)
    for argument in ("make_model", "make_model_and_action_dist"):
        function = given[argument]
        if function is not None:
            made[argument] = _with_spaces(function)
    optimizer_fn, postprocess_fn = given["optimizer_fn"], given["postprocess_fn"]
    if optimizer_fn is not None:
        made["optimizer"] = lambda self: optimizer_fn(self, self.config)
    if postprocess_fn is not None:

        def postprocess_trajectory(self: Any, batch: Any, others: Any = None, episode: Any = None) -> Any:
            return postprocess_fn(self, batch, others, episode)

        made["postprocess_trajectory"] = postprocess_trajectory
    return made


_CHANGEABLE = (
    "stats_fn", "extra_action_out_fn", "extra_grad_process_fn", "extra_learn_fetches_fn", "compute_gradients_fn",
    "apply_gradients_fn", "make_model", "make_model_and_action_dist", "optimizer_fn", "postprocess_fn",
)  # fmt: skip


def with_updates(
    cls: type[Any], /, name: str | None = None, loss_fn: Function | None = None, **changes: Any
) -> type[Any]:
    """A policy class with other functions, as those that `build_policy_class` makes have it, for one that is written out.

    Args:
        cls: The class.
        name: Of the new one.
        loss_fn: `f(policy, model, dist_class, train_batch)` returns the loss.
        changes: Further functions, by the names of `build_policy_class`.

    Raises:
        TypeError: a name that cannot be changed this way.
    """
    for key in changes:
        if key not in _CHANGEABLE:
            raise TypeError(f"with_updates() of {cls.__name__} takes no {key!r}: override the method of a subclass")
    methods = _methods({**dict.fromkeys(_CHANGEABLE), **changes})
    if loss_fn is not None:
        methods["loss"] = _as_method(loss_fn)
    return type(name or cls.__name__, (cls,), {**methods, "__module__": cls.__module__})


def _as_method(function: Function) -> Function:
    return lambda self, *args, **kwargs: function(self, *args, **kwargs)


def _with_spaces(function: Function) -> Function:
    return lambda self: function(self, self.observation_space, self.action_space, self.config)


def _call(function: Function | None, *args: Any) -> None:
    if function is not None:
        function(*args)
