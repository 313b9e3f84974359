"""``import gym`` over Gymnasium."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import aktis.compat

gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture
def gym() -> Iterator[Any]:
    aktis.compat.install_as_ray()
    import gym  # type: ignore[import-not-found,import-untyped,unused-ignore]

    known = set(gymnasium.registry)
    yield gym
    for name in set(gymnasium.registry) - known:
        del gymnasium.registry[name]
    aktis.compat.uninstall()


def five_steps(gym: Any) -> Any:
    class Five(gym.Env):  # type: ignore[misc,name-defined,unused-ignore]
        """Ends after five steps."""

        metadata = {"render.modes": ["rgb_array"]}

        def __init__(self, size: int = 2) -> None:
            self.observation_space = gym.spaces.Box(0, 9, (size,))
            self.action_space = gym.spaces.Discrete(2)
            self.seeds: list[Any] = []

        def seed(self, seed: int | None = None) -> list[int | None]:
            self.seeds.append(seed)
            return [seed]

        def reset(self) -> Any:
            self.count = 0
            return self.observation_space.low

        def step(self, action: int) -> Any:
            self.count += 1
            return self.observation_space.low, 1.0, self.count == 5, {}

        def render(self, mode: str = "human") -> str:
            return f"{mode} {self.count}"

    return Five


def test_registered_environments_speak_both_languages(gym: Any) -> None:
    Five = five_steps(gym)
    gym.register(id="Five-v0", entry_point=Five, max_episode_steps=3, kwargs={"size": 4})
    old = gym.make("Five-v0")
    assert isinstance(old, gym.Env)
    assert not isinstance(old, gymnasium.Env)  # so that RLlib knows what it has
    assert old.seed(7) == [7]
    assert old.reset().shape == (4,)
    assert old.unwrapped.seeds == [7]
    assert type(old.unwrapped) is Five
    assert [old.step(0)[2] for _ in range(3)] == [False, False, True]
    assert old.render(mode="rgb_array") == "rgb_array 3"
    new = gymnasium.make("Five-v0")
    observation, info = new.reset(seed=3)
    assert (observation.shape, info) == ((4,), {})
    assert len(new.step(0)) == 5
    assert "Five-v0" in gym.envs.registration.registry.env_specs
    assert gym.spec("Five-v0").max_episode_steps == 3


def test_seeds_and_infos(gym: Any) -> None:
    env = gym.make("CartPole-v1")
    first, info = env.reset(seed=5, return_info=True)
    env.seed(5)
    assert (env.reset() == first).all()
    assert info == {}
    assert (env.reset() != first).any()  # a seed is for one episode
    env.close()


def test_wrappers(gym: Any) -> None:
    Five = five_steps(gym)

    class Add(gym.RewardWrapper):  # type: ignore[misc,name-defined,unused-ignore]
        def reward(self, reward: float) -> float:
            return reward + 1

    class Swap(gym.ActionWrapper):  # type: ignore[misc,name-defined,unused-ignore]
        def action(self, action: int) -> int:
            return 1 - action

    env = Swap(Add(Five()))
    env.reset()
    assert env.step(0)[1] == 2.0
    assert (env.unwrapped.count, env.count) == (1, 1)
    env.observation_space = gym.spaces.Discrete(3)  # of the outermost only
    assert env.env.observation_space.shape == (2,)
    assert str(env).startswith("<Swap<Add<")
    limited = gym.wrappers.TimeLimit(env, max_episode_steps=2)
    limited.reset()
    limited.step(0)
    assert limited.step(0)[2:] == (True, {"TimeLimit.truncated": True})
    stacked = gym.wrappers.FrameStack(gym.make("CartPole-v1"), num_stack=2)
    assert stacked.reset().shape == (2, 4)
    with pytest.raises(AttributeError, match=r"gym.*has no attribute 'absent'.*Gymnasium"):
        gym.absent


def test_classes_of_environments(gym: Any) -> None:
    from gym.envs.classic_control import CartPoleEnv

    class Longer(CartPoleEnv):  # type: ignore[misc,valid-type,unused-ignore]
        def step(self, action: int) -> Any:
            observation, reward, done, info = super().step(action)
            return observation, reward * 2, done, info

    env = Longer()
    env.seed(1)
    env.reset()
    assert env.step(0)[1] == 2.0
    assert pickle.loads(pickle.dumps(CartPoleEnv)) is CartPoleEnv
    generator, _ = gym.utils.seeding.np_random(3)
    assert generator.randint(0, 2, size=4).shape == (4,)
    assert 0 <= generator.rand() < 1


def test_submodules_are_those_of_gymnasium(gym: Any) -> None:
    import gym.error
    import gym.spaces.box

    assert gym.spaces is gymnasium.spaces
    assert gym.error.Error is gymnasium.error.Error
    with pytest.raises(ModuleNotFoundError, match=r"gym\.nowhere"):
        import gym.nowhere


@pytest.mark.parametrize(
    ("option", "printed"),
    [("new", "True 2"), ("off", "ModuleNotFoundError")],
)
def test_other_ways(option: str, printed: str) -> None:
    code = (
        "try:\n    import gym, gymnasium\n    print(gym.Env is gymnasium.Env, len(gym.make('CartPole-v1').reset()))\n"
        "except ImportError as error:\n    print(type(error).__name__)\n"
    )
    command = [sys.executable, "-m", "aktis.compat", "--gym", option, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout.strip() == printed, done.stderr
