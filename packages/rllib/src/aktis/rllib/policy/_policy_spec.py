"""How one policy of several is made."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium as gym


@dataclass(eq=False)
class PolicySpec:
    """Class, spaces and configuration of a policy. What is None is taken from the algorithm and the environment.

    Args:
        policy_class: The class of the policy; None for the algorithm's.
        observation_space: What it observes; None for the environment's.
        action_space: What it does; None for the environment's.
        config: What differs from the algorithm's configuration: a dict or an AlgorithmConfig.
    """

    policy_class: Any = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    config: Any = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PolicySpec):
            return NotImplemented
        return (
            self.policy_class == other.policy_class
            and self.observation_space == other.observation_space
            and self.action_space == other.action_space
            and self.config == other.config
        )

    __hash__ = None  # type: ignore[assignment]

    def serialize(self) -> dict[str, Any]:
        """A dict of this: the class by its name where it can be imported."""
        return {
            "policy_class": class_path(self.policy_class),
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "config": self.config,
        }

    @classmethod
    def deserialize(cls, spec: dict[str, Any]) -> PolicySpec:
        """The spec that `serialize` was called on."""
        return cls(**{**spec, "policy_class": find_class(spec["policy_class"])})


def class_path(policy_class: Any) -> Any:
    """`"module:Name"` of a class that can be imported by it, otherwise the class itself (pickled by value then)."""
    if not isinstance(policy_class, type) or policy_class.__module__ == "__main__":
        return policy_class
    path = f"{policy_class.__module__}:{policy_class.__qualname__}"
    try:
        return path if find_class(path) is policy_class else policy_class
    except ValueError:
        return policy_class


def find_class(path: Any) -> Any:
    """The class that `class_path` named.

    Raises:
        ValueError: It cannot be imported.
    """
    if not isinstance(path, str):
        return path
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as e:
        raise ValueError(f"The class of the policy, {path!r}, cannot be imported: {e}") from e
    return found
