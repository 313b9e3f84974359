"""A policy without a model, and a worker around it, for tests of samplers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.view_requirement import ViewRequirement


class CountingPolicy(Policy):
    """Its actions are 0, 1, 0, ... row by row; its state counts the steps of each agent."""

    def __init__(
        self,
        obs_space: gym.Space,
        action_space: gym.Space,
        views: dict[str, Any] | None = None,
        *,
        recurrent: bool = False,
        wants: tuple[str, ...] = ("new_obs", "infos"),
    ) -> None:
        super().__init__(obs_space, action_space, {})
        self.view_requirements = {
            "obs": ViewRequirement(space=obs_space),
            **{name: ViewRequirement(used_for_compute_actions=False) for name in wants},
            **(views or {}),
        }
        self.recurrent = recurrent
        self.inputs: list[dict[str, Any]] = []
        self.others: list[Any] = []
        self.calls = 0

    def get_initial_state(self) -> list[Any]:
        return [np.zeros(1, np.float32)] if self.recurrent else []

    def is_recurrent(self) -> bool:
        return self.recurrent

    def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
        raise AssertionError("the sampler calls compute_actions_from_input_dict")

    def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
        count = len(input_dict["rows"] if "rows" in input_dict else next(iter(input_dict.values())))
        if isinstance(input_dict["obs"], np.ndarray):
            count = len(input_dict["obs"])
        self.inputs.append(input_dict)
        numbers = np.arange(self.calls, self.calls + count)
        self.calls += count
        if isinstance(self.action_space, gym.spaces.Box):
            actions: Any = np.full((count, *self.action_space.shape), 0.5, np.float32)
        else:
            actions = numbers % 2
        states = [input_dict["state_in_0"] + 1] if self.recurrent else []
        return actions, states, {"call": numbers.astype(np.float32)}

    def compute_log_likelihoods(self, actions: Any, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return np.full(len(actions), -0.5)

    def postprocess_trajectory(self, sample_batch: Any, other_agent_batches: Any = None, episode: Any = None) -> Any:
        self.others.append(other_agent_batches)
        return sample_batch

    def get_weights(self) -> Any:
        return {}

    def set_weights(self, weights: Any) -> None:
        pass


class SmallWorker:
    """What a sampler needs of a rollout worker."""

    def __init__(
        self,
        policies: dict[str, Policy],
        mapping: Any,
        callbacks: Any = None,
        filters: Any = None,
        preprocessors: Any = None,
    ) -> None:
        self.policy_map = policies
        self.policy_mapping_fn = mapping
        self.callbacks = callbacks or DefaultCallbacks()
        self.filters = filters or {}
        self.preprocessors = preprocessors or {}


@pytest.fixture
def counting_policy() -> type[CountingPolicy]:
    return CountingPolicy


@pytest.fixture
def small_worker() -> type[SmallWorker]:
    return SmallWorker
