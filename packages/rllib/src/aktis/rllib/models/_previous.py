"""What models with memory see of the step before, and what they ask of the network in front of them."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces


def previous_requirements(action_space: spaces.Space[Any], actions: bool, rewards: bool) -> dict[str, Any]:
    """View requirements for the previous action and reward."""
    from aktis.rllib.policy.view_requirement import ViewRequirement

    found: dict[str, Any] = {}
    if actions:
        found["prev_actions"] = ViewRequirement("actions", space=action_space, shift=-1)
    if rewards:
        found["prev_rewards"] = ViewRequirement("rewards", shift=-1)
    return found


def features_of(model: Any) -> int:
    """Width of what a network without a policy's head returns.

    Raises:
        ValueError: the network does not say it.
    """
    if not model.num_outputs:
        raise ValueError(
            f"{type(model).__name__} is made with num_outputs=None, because a memory follows it: its __init__ sets "
            "self.num_outputs to the width of the features that forward() returns."
        )
    return int(model.num_outputs)


def inner_config(config: dict[str, Any]) -> dict[str, Any]:
    """The model configuration of the network in front of a memory: it has no heads."""
    return {**config, "free_log_std": False, "no_final_linear": False, "vf_share_layers": True}


def without_value_head(model: Any) -> None:
    """Take away the head that a built-in network has for the value: it would only be carried along."""
    if type(model).__module__.startswith("aktis.rllib.models.") and getattr(model, "value", None) is not None:
        model.value = None
