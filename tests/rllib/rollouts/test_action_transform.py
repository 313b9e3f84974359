"""Actions of policies reach environments in the form of their space."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.evaluation._action_transform import ActionTransform

SPACES = [
    (gym.spaces.Discrete(3), np.array([0, 2])),
    (gym.spaces.Discrete(3, start=5), np.array([0, 2])),
    (gym.spaces.MultiDiscrete([2, 3], start=[4, -1]), np.array([[0, 2], [1, 0]])),
    (gym.spaces.Box(-2.0, 4.0, (1,)), np.array([[-1.5], [0.0]], np.float32)),
    (
        gym.spaces.Dict({"a": gym.spaces.Discrete(2, start=-3), "b": gym.spaces.Box(0.0, 1.0, (1,))}),
        {"a": np.array([0, 1]), "b": np.array([[-1.0], [1.0]], np.float32)},
    ),
]


@pytest.mark.parametrize(("space", "actions"), SPACES, ids=[str(space) for space, _ in SPACES])
def test_every_action_is_in_the_space(space: gym.Space[Any], actions: Any) -> None:
    made = ActionTransform(space, normalize=True, clip=False).each(actions)
    assert len(made) == 2
    assert all(space.contains(action) for action in made), made
    assert len({str(action) for action in made}) == 2
