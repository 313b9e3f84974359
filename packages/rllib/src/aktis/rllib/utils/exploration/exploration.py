"""What every kind of exploration has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym

    from aktis.rllib.policy.policy import Policy
    from aktis.rllib.policy.sample_batch import SampleBatch


class Exploration:
    """Turns a distribution over actions into actions, less or more at random.

    Args:
        action_space: What the policy does.
        framework: "torch" or "tf2".
        policy_config: The policy's configuration (`seed` and `worker_index` seed `self.rng`).
        model: The policy's model.
        num_workers: How many rollout workers there are.
        worker_index: Which of them this is; 0 is the local one.
    """

    def __init__(
        self,
        action_space: gym.Space[Any],
        *,
        framework: str,
        policy_config: Any,
        model: Any,
        num_workers: int,
        worker_index: int,
    ) -> None:
        self.action_space = action_space
        self.framework = framework
        self.policy_config = policy_config
        self.model = model
        self.num_workers = num_workers
        self.worker_index = worker_index
        self.device = _device_of(model)
        seed = policy_config.get("seed", None)
        #: Where randomness that is not the framework's comes from. The constant keeps it apart from the policy's own.
        self.rng = np.random.default_rng(None if seed is None else [int(seed), int(worker_index), 0xE8])

    @property
    def ops(self) -> Any:
        """The tensor operations of the framework."""
        from aktis.rllib._backend import ops_for

        return ops_for(self.framework)

    def before_compute_actions(
        self, *, timestep: Any = None, explore: Any = None, tf_sess: Any = None, **kwargs: Any
    ) -> None:
        """Called before the model is evaluated for actions."""

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """Actions, and the logarithm of their probabilities.

        Args:
            action_distribution: What the policy made of its observations: a batch of distributions.
            timestep: The time that exploration goes by.
            explore: False asks for the best actions.

        Raises:
            NotImplementedError: This is the base class.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define get_exploration_action.")

    def on_episode_start(
        self, policy: Policy, *, environment: Any = None, episode: Any = None, tf_sess: Any = None
    ) -> None:
        """Called when an episode begins."""

    def on_episode_end(
        self, policy: Policy, *, environment: Any = None, episode: Any = None, tf_sess: Any = None
    ) -> None:
        """Called when an episode has ended."""

    def postprocess_trajectory(self, policy: Policy, sample_batch: SampleBatch, tf_sess: Any = None) -> SampleBatch:
        """Change a trajectory, for example its rewards, before the policy post-processes it."""
        return sample_batch

    def get_exploration_optimizer(self, optimizers: list[Any]) -> list[Any]:
        """The policy's optimizers, and those of what exploration itself learns."""
        return optimizers

    def get_info(self, sess: Any = None) -> dict[str, Any]:
        """How far exploration has come, to look at."""
        return self.get_state(sess)

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """What belongs in a checkpoint."""
        return {}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""


def _device_of(model: Any) -> Any:
    parameters = getattr(model, "parameters", None)
    first = next(iter(parameters()), None) if callable(parameters) else None
    return getattr(first, "device", None)
