"""The old interface: ``step`` gives four values, ``reset`` an observation, ``seed`` is a method, ``render`` takes a mode.

::

    Env, Wrapper ...          what programs derive from; no Gymnasium environments, so that whoever takes those sees the difference
    AsOld(gymnasium env)      speaks the old interface outwards: what gym.make() returns
    AsNew(old env)            speaks the new one outwards: what Gymnasium's own wrappers and registry need
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np

__all__ = [
    "ActionWrapper",
    "AsNew",
    "AsOld",
    "Env",
    "GoalEnv",
    "ObservationWrapper",
    "RewardWrapper",
    "Wrapper",
    "as_new",
    "old_class",
]

TRUNCATED = "TimeLimit.truncated"


class Env:
    """An environment as before Gym 0.26."""

    metadata: dict[str, Any] = {"render.modes": [], "render_modes": []}  # noqa: RUF012
    reward_range = (-float("inf"), float("inf"))
    spec: Any = None
    action_space: Any
    observation_space: Any

    def step(self, action: Any) -> Any:
        """``(observation, reward, done, info)``."""
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def reset(self, **kwargs: Any) -> Any:
        """The first observation of an episode."""
        raise NotImplementedError(f"{type(self).__name__} has no reset()")

    def render(self, mode: str = "human", **kwargs: Any) -> Any:
        """Show it."""
        raise NotImplementedError(f"{type(self).__name__} has no render()")

    def close(self) -> None:
        """Let go of what it holds."""

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed its random numbers; the list of seeds in use."""
        return [seed]

    @property
    def unwrapped(self) -> Any:
        """The innermost environment."""
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"<{type(self).__name__} instance>" if self.spec is None else f"<{type(self).__name__}<{self.spec.id}>>"


class GoalEnv(Env):
    """An environment whose observations are dictionaries with ``desired_goal`` and ``achieved_goal``."""

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: dict[str, Any]) -> float:
        """The reward of having reached one goal when another was wanted."""
        raise NotImplementedError(f"{type(self).__name__} has no compute_reward()")


class Wrapper(Env):
    """An environment around another one."""

    def __init__(self, env: Any, new_step_api: bool = False) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "env":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.env, name)

    @property
    def spec(self) -> Any:
        """The registered description of what is inside."""
        return getattr(self.env, "spec", None)

    @property
    def unwrapped(self) -> Any:
        """The innermost environment."""
        return self.env.unwrapped

    @classmethod
    def class_name(cls) -> str:
        return cls.__name__

    def step(self, action: Any) -> Any:
        return self.env.step(action)

    def reset(self, **kwargs: Any) -> Any:
        return self.env.reset(**kwargs)

    def render(self, mode: str = "human", **kwargs: Any) -> Any:
        return self.env.render(mode, **kwargs)

    def close(self) -> None:
        self.env.close()

    def seed(self, seed: int | None = None) -> Any:
        return self.env.seed(seed)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: dict[str, Any]) -> Any:
        return self.env.compute_reward(achieved_goal, desired_goal, info)

    def __str__(self) -> str:
        return f"<{type(self).__name__}{self.env}>"


# Attributes that a wrapper takes from the inside until it has its own. Not in the class body: an annotation is no value.
def _inherited(name: str) -> property:
    own = f"_own_{name}"

    def get(self: Any) -> Any:
        return vars(self)[own] if own in vars(self) else getattr(self.env, name)

    def put(self: Any, value: Any) -> None:
        vars(self)[own] = value

    return property(get, put)


for _name in ("action_space", "observation_space", "metadata", "reward_range"):
    setattr(Wrapper, _name, _inherited(_name))


class ObservationWrapper(Wrapper):
    """Changes observations: override :meth:`observation`."""

    def reset(self, **kwargs: Any) -> Any:
        result = self.env.reset(**kwargs)
        if kwargs.get("return_info"):
            return self.observation(result[0]), result[1]
        return self.observation(result)

    def step(self, action: Any) -> Any:
        observation, *rest = self.env.step(action)
        return (self.observation(observation), *rest)

    def observation(self, observation: Any) -> Any:
        """The observation that is seen outside."""
        raise NotImplementedError(f"{type(self).__name__} has no observation()")


class RewardWrapper(Wrapper):
    """Changes rewards: override :meth:`reward`."""

    def step(self, action: Any) -> Any:
        observation, reward, *rest = self.env.step(action)
        return (observation, self.reward(reward), *rest)

    def reward(self, reward: Any) -> Any:
        """The reward that is seen outside."""
        raise NotImplementedError(f"{type(self).__name__} has no reward()")


class ActionWrapper(Wrapper):
    """Changes actions: override :meth:`action`."""

    def step(self, action: Any) -> Any:
        return self.env.step(self.action(action))

    def action(self, action: Any) -> Any:
        """The action that the inside gets."""
        raise NotImplementedError(f"{type(self).__name__} has no action()")

    def reverse_action(self, action: Any) -> Any:
        """The action that the inside got, as it was outside."""
        raise NotImplementedError(f"{type(self).__name__} has no reverse_action()")


def four(result: Any) -> tuple[Any, Any, bool, dict[str, Any]]:
    """Five values of a step as four; four as they are."""
    if len(result) == 4:
        return (*result,)
    observation, reward, terminated, truncated, info = result
    if truncated and not terminated:
        info = {**info, TRUNCATED: True}
    return observation, reward, bool(terminated or truncated), info


class AsOld(Wrapper):
    """A Gymnasium environment with the old interface."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._seed: int | None = None

    @property
    def unwrapped(self) -> Any:
        inner = self.env.unwrapped
        return inner.old.unwrapped if isinstance(inner, AsNew) else inner

    def seed(self, seed: int | None = None) -> list[int | None]:
        """The next ``reset`` begins with this seed."""
        self._seed = seed
        return [seed]

    def reset(  # type: ignore[override]
        self, *, seed: int | None = None, return_info: bool = False, options: Any = None
    ) -> Any:
        seed, self._seed = (self._seed if seed is None else seed), None
        observation, info = self.env.reset(seed=seed, options=options)
        return (observation, info) if return_info else observation

    def step(self, action: Any) -> Any:
        return four(self.env.step(action))

    def render(self, mode: str = "human", **kwargs: Any) -> Any:
        inner = self.env.unwrapped
        if isinstance(inner, AsNew):
            return inner.old.render(mode, **kwargs)
        if (
            inner.render_mode != mode
        ):  # Gymnasium wants to know it when it makes the environment; they look when they draw
            inner.render_mode = mode
        return inner.render()


class AsNew(gymnasium.Env):  # type: ignore[misc]
    """An environment with the old interface as one of Gymnasium."""

    def __init__(self, old: Any) -> None:
        self.old = old
        self.observation_space = old.observation_space
        self.action_space = old.action_space
        self.metadata = {"render_modes": [], **(getattr(old, "metadata", None) or {})}
        self.render_mode = getattr(old, "render_mode", None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "old":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.old, name)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        given = {}
        takes = inspect.signature(self.old.reset).parameters
        if seed is not None:
            if "seed" in takes:
                given["seed"] = seed
            elif hasattr(self.old, "seed"):
                self.old.seed(seed)
        if options is not None and "options" in takes:
            given["options"] = options  # type: ignore[assignment]
        result = self.old.reset(**given)
        pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
        return result if pair else (result, {})

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.old.step(action)
        if len(result) == 5:
            return (*result,)
        observation, reward, done, info = result
        truncated = bool(done and info.get(TRUNCATED, False))
        return observation, reward, bool(done) and not truncated, truncated, info

    def render(self) -> Any:
        return self.old.render(mode=self.render_mode or "human")

    def close(self) -> None:
        if hasattr(self.old, "close"):
            self.old.close()


def as_new(env: Any) -> gymnasium.Env[Any, Any]:
    """An environment of either kind, as one of Gymnasium."""
    if isinstance(env, AsOld):
        return env.env
    return env if isinstance(env, gymnasium.Env) else AsNew(env)


def old_class(cls: type, module: str) -> type:
    """A class of Gymnasium's environments with the old interface, to make and to derive from."""

    def seed(self: Any, seed: int | None = None) -> list[int | None]:
        self._old_seed = seed
        self.action_space.seed(seed)
        self._np_random, _ = gymnasium.utils.seeding.np_random(seed)
        return [seed]

    def reset(self: Any, *, seed: int | None = None, return_info: bool = False, options: Any = None) -> Any:
        seed = getattr(self, "_old_seed", None) if seed is None else seed
        self._old_seed = None
        observation, info = cls.reset(self, seed=seed, options=options)  # type: ignore[attr-defined]
        return (observation, info) if return_info else observation

    def step(self: Any, action: Any) -> Any:
        return four(cls.step(self, action))  # type: ignore[attr-defined]

    def render(self: Any, mode: str = "human", **kwargs: Any) -> Any:
        self.render_mode = mode
        return cls.render(self)  # type: ignore[attr-defined]

    members = {
        "seed": seed,
        "reset": reset,
        "step": step,
        "render": render,
        "__module__": module,
        "__doc__": cls.__doc__,
    }
    return type(cls.__name__, (cls, Env), members)


class RandomNumberGenerator(np.random.Generator):
    """numpy's generator with the names that programs know from ``RandomState``."""

    def rand(self, *size: int) -> Any:
        return self.random(size or None)

    random_sample = rand

    def randn(self, *size: int) -> Any:
        return self.standard_normal(size or None)

    def randint(self, low: Any, high: Any = None, size: Any = None, dtype: Any = int) -> Any:
        return self.integers(low, high=high, size=size, dtype=dtype)


def np_random(seed: int | None = None) -> tuple[RandomNumberGenerator, int]:
    """``(generator, seed)``."""
    generator, used = gymnasium.utils.seeding.np_random(seed)
    return RandomNumberGenerator(generator.bit_generator), used
