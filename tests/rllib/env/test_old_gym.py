"""Environments of the old Gym API work as they are."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, config_of, worker_of

from aktis.rllib.env.wrappers.old_gym import OldGymEnv, as_gymnasium_space, is_old_gym_env


class Box:
    """As ``gym.spaces.Box``, which is no space of Gymnasium."""

    def __init__(self) -> None:
        self.low, self.high = np.zeros(1, np.float32), np.full(1, 100, np.float32)
        self.shape, self.dtype = (1,), np.float32


class Discrete:
    n = 2


class Old:
    """Four values from ``step``, one from ``reset``, ``seed()``; ends by its time limit, or by itself with ``terminal``."""

    def __init__(self, config: Any = None) -> None:
        self.observation_space, self.action_space = Box(), Discrete()
        self.terminal = bool((config or {}).get("terminal"))
        self.seeds: list[int] = []
        self.closed = False
        self.t = 0

    def seed(self, seed: int) -> list[int]:
        self.seeds.append(seed)
        return [seed]

    def reset(self) -> Any:
        self.t = 0
        return np.zeros(1, np.float32)

    def step(self, action: Any) -> Any:
        self.t += 1
        done = self.t == 3
        info = {"TimeLimit.truncated": not self.terminal} if done else {}
        return np.full(1, self.t, np.float32), 1.0, done, info

    def close(self) -> None:
        self.closed = True


class OldOfGymnasium(gymnasium.Env):
    """Derived from Gymnasium's class, but of the old API."""

    def __init__(self, config: Any = None) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self) -> Any:
        return np.zeros(1, np.float32)

    def step(self, action: Any) -> Any:
        return np.ones(1, np.float32), 1.0, True, {}


@pytest.mark.parametrize("terminal", [False, True])
def test_they_are_wrapped_and_time_limits_are_truncations(terminal: bool) -> None:
    worker = worker_of(config_of(Old, {"terminal": terminal}, rollout_fragment_length=4).debugging(seed=9))
    batch = worker.sample()
    envs = worker.foreach_env(lambda env: env)
    worker.stop()
    assert all(isinstance(env, OldGymEnv) and env.env.closed for env in envs)
    assert [env.env.seeds for env in envs] == [[9], [10]]
    name = "terminateds" if terminal else "truncateds"
    assert batch[name][:4].tolist() == [False, False, True, False]
    assert batch["terminateds"].any() == terminal and batch["new_obs"][2, 0] == 3


def test_classes_of_gymnasium_that_speak_the_old_way_too() -> None:
    assert is_old_gym_env(OldOfGymnasium()) and is_old_gym_env(Old()) and not is_old_gym_env(Counter({}))
    assert not is_old_gym_env(gymnasium.make("CartPole-v1"))
    worker = worker_of(config_of(OldOfGymnasium))
    assert worker.sample()["terminateds"].all()
    worker.stop()


def test_unless_asked_not_to() -> None:
    with pytest.raises(ValueError, match="breaks a rule"):
        worker_of(config_of(Old).environment(auto_wrap_old_gym_envs=False))


def test_five_values_pass_through() -> None:
    class New(Old):
        def reset(self, seed: Any = None, options: Any = None) -> Any:  # type: ignore[override]
            self.seeds.append(seed)
            return super().reset(), {"options": options}

        def step(self, action: Any) -> Any:
            return np.zeros(1, np.float32), 0.0, False, True, {}

    env = OldGymEnv(New())
    assert env.reset(seed=4, options={"a": 1})[1] == {"options": {"a": 1}} and env.env.seeds == [4]
    assert env.step(0)[2:4] == (False, True)


def test_spaces_are_translated() -> None:
    Tuple = type("Tuple", (), {"spaces": [Box(), Discrete()]})
    Dict = type("Dict", (), {"spaces": {"x": Tuple(), "y": type("MultiDiscrete", (), {"nvec": [2, 3]})()}})
    spaces = gymnasium.spaces
    expected = spaces.Dict(
        {
            "x": spaces.Tuple([spaces.Box(0, 100, (1,), np.float32), spaces.Discrete(2)]),
            "y": spaces.MultiDiscrete([2, 3]),
        }
    )
    assert as_gymnasium_space(Dict()) == expected
    with pytest.raises(ValueError, match="cannot be made a space of Gymnasium"):
        as_gymnasium_space(object())
