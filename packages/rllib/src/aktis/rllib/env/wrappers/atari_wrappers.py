"""The preprocessing of Atari games with which DeepMind's DQN learned (Mnih et al.

2015, Methods; Machado et al. 2018, section 5).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

import gymnasium
import numpy as np

__all__ = [
    "ClipRewardEnv",
    "EpisodicLifeEnv",
    "FireResetEnv",
    "FrameStack",
    "FrameStackTrajectoryView",
    "MaxAndSkipEnv",
    "MonitorEnv",
    "NoopResetEnv",
    "ScaledFloatFrame",
    "WarpFrame",
    "get_wrapper_by_cls",
    "is_atari",
    "wrap_deepmind",
]

Array: TypeAlias = Any  # np.ndarray
Env: TypeAlias = Any  # gymnasium.Env


def is_atari(env: Any) -> bool:
    """Whether an environment (or the Gymnasium id of one) is an Atari game that shows pictures."""
    if isinstance(env, str):
        spec = gymnasium.registry.get(env)
        entry = str(spec.entry_point) if spec is not None else ""
        return env.startswith("ALE/") or "shimmy.atari" in entry or "ale_py" in entry
    shape = getattr(getattr(env, "observation_space", None), "shape", None)
    if shape is None or len(shape) <= 2:
        return False
    return hasattr(getattr(env, "unwrapped", None), "ale")


def get_wrapper_by_cls(env: Any, cls: type) -> Any:
    """The wrapper of that class around an environment, or None."""
    while True:
        if isinstance(env, cls):
            return env
        if not isinstance(env, gymnasium.Wrapper):
            return None
        env = env.env


class MonitorEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """Keeps account of whole games, whatever wrappers outside of it call an episode."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._rewards: list[float] | None = None
        self._episodes: list[tuple[float, int]] = []
        self._told = 0
        self._total_steps = 0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """A new game."""
        found: tuple[Any, dict[str, Any]] = self.env.reset(**kwargs)
        # A game that a time limit outside of here ended counts; one that was only begun before the seed was set does not.
        if self._rewards and kwargs.get("seed") is None:
            self._episodes.append((sum(self._rewards), len(self._rewards)))
        self._rewards = []
        return found

    def step(self, action: Any) -> Any:
        """One step of the game."""
        found = self.env.step(action)
        assert self._rewards is not None, "reset() comes before step()"
        self._rewards.append(float(found[1]))
        self._total_steps += 1
        if found[2] or found[3]:
            self._episodes.append((sum(self._rewards), len(self._rewards)))
            self._rewards = []
        return found

    def get_episode_rewards(self) -> list[float]:
        """Return of each game."""
        return [reward for reward, _ in self._episodes]

    def get_episode_lengths(self) -> list[int]:
        """Steps of each game."""
        return [length for _, length in self._episodes]

    def get_total_steps(self) -> int:
        """Steps of all games."""
        return self._total_steps

    def next_episode_results(self) -> Iterator[tuple[float, int]]:
        """Return and length of the games that ended since the last call."""
        for index in range(self._told, len(self._episodes)):
            yield self._episodes[index]
        self._told = len(self._episodes)


class NoopResetEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """Begins each game with a random number (1 to ``noop_max``) of steps in which nothing is done."""

    def __init__(self, env: Env, noop_max: int = 30) -> None:
        super().__init__(env)
        self.noop_max = noop_max
        self.override_num_noops: int | None = None
        self.noop_action = 0
        meanings = env.unwrapped.get_action_meanings()
        if meanings[0] != "NOOP":
            raise ValueError(f"NoopResetEnv needs a game whose action 0 is 'NOOP', not {meanings[0]!r}")

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """A new game, some steps old."""
        obs, info = self.env.reset(**kwargs)
        count = self.override_num_noops or int(self.unwrapped.np_random.integers(1, self.noop_max + 1))
        for _ in range(count):
            obs, _, terminated, truncated, info = self.env.step(self.noop_action)
            if terminated or truncated:
                obs, info = self.env.reset()
        return obs, info


class ClipRewardEnv(gymnasium.RewardWrapper):  # type: ignore[misc]
    """Rewards are their sign."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)

    def reward(self, reward: Any) -> float:
        """-1, 0 or 1."""
        return float(np.sign(reward))


class FireResetEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """Presses "fire" after a reset, for games that stand still until then."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        meanings = env.unwrapped.get_action_meanings()
        if len(meanings) < 3 or meanings[1] != "FIRE":
            raise ValueError(f"FireResetEnv needs a game whose action 1 is 'FIRE'; this one has {meanings}")

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """A new game that has begun."""
        self.env.reset(**kwargs)
        found: Any = None
        for action in (1, 2):
            found = self.env.step(action)
            if found[2] or found[3]:
                self.env.reset()
        return found[0], found[4]


class EpisodicLifeEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """An episode ends with each life; the game itself only goes on from there."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.lives = 0
        self.was_real_done = True

    def step(self, action: Any) -> Any:
        """One step; a lost life is a terminal state."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.was_real_done = bool(terminated or truncated)
        lives = self.unwrapped.ale.lives()
        # Some games have no lives left for a few frames before they end: that is no loss.
        if 0 < lives < self.lives:
            terminated = True
        self.lives = lives
        return obs, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """A new game if the last one is over, else one step that does nothing."""
        if self.was_real_done or kwargs.get("seed") is not None:
            obs, info = self.env.reset(**kwargs)
        else:
            obs, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                obs, info = self.env.reset(**kwargs)
        self.lives = self.unwrapped.ale.lives()
        self.was_real_done = False
        return obs, info


class MaxAndSkipEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """Does each action ``skip`` times, and shows the brighter of the last two pictures of each pixel (sprites flicker)."""

    def __init__(self, env: Env, skip: int = 4) -> None:
        super().__init__(env)
        self._skip = skip

    def step(self, action: Any) -> Any:
        """``skip`` steps in one; rewards are added up."""
        total = 0.0
        last: list[Any] = []
        terminated = truncated = False
        info: dict[str, Any] = {}
        for _ in range(self._skip):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            last = [*last[-1:], obs]
            if terminated or truncated:
                break
        return np.maximum.reduce(last), total, terminated, truncated, info


class WarpFrame(gymnasium.ObservationWrapper):  # type: ignore[misc]
    """Pictures in grey, of ``dim`` by ``dim`` pixels: ``[dim, dim, 1]`` of bytes."""

    def __init__(self, env: Env, dim: int = 84) -> None:
        super().__init__(env)
        self.width = self.height = dim
        shape = env.observation_space.shape
        assert shape is not None
        self._colours = len(shape) > 2 and shape[2] == 3
        self.observation_space = gymnasium.spaces.Box(0, 255, (dim, dim, 1), np.uint8)

    def observation(self, observation: Any) -> Array:
        """The picture, smaller and without colours."""
        picture = np.asarray(observation, np.float32)
        if self._colours:  # luma of ITU-R BT.601
            picture = 0.299 * picture[:, :, 0] + 0.587 * picture[:, :, 1] + 0.114 * picture[:, :, 2]
        else:
            picture = picture.reshape(picture.shape[:2])
        small = shrunk(shrunk(picture, self.height).T, self.width).T
        return np.rint(small).astype(np.uint8)[:, :, None]


def shrunk(picture: Array, target: int) -> Array:
    """A picture ``[H, W]`` as ``[target, W]``: each new row is the mean of what it covers of the old ones.

    By differences of running sums, and not as a product of matrices, for which BLAS would start threads in every worker.
    """
    source = len(picture)
    edges = np.linspace(0.0, source, target + 1)
    whole = np.minimum(edges.astype(np.int64), source - 1)
    sums = np.zeros((source + 1, picture.shape[1]), np.float64)
    np.cumsum(picture, axis=0, out=sums[1:])
    up_to_edge = sums[whole] + (edges - whole)[:, None] * picture[whole]
    means: Array = np.diff(up_to_edge, axis=0) * (target / source)
    return means


class FrameStack(gymnasium.Wrapper):  # type: ignore[misc]
    """The last ``k`` pictures, along the last axis; at the start of an episode, the first one ``k`` times."""

    def __init__(self, env: Env, k: int) -> None:
        super().__init__(env)
        self.k = k
        self.frames: deque[Array] = deque(maxlen=k)
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box)
        low, high = (np.concatenate([bound] * k, axis=-1) for bound in (space.low, space.high))
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self.frames.extend([obs] * self.k)
        return self._stacked(), info

    def step(self, action: Any) -> Any:
        """One step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.frames.append(obs)
        return self._stacked(), reward, terminated, truncated, info

    def _stacked(self) -> Array:
        return np.concatenate(list(self.frames), axis=-1)


class FrameStackTrajectoryView(gymnasium.ObservationWrapper):  # type: ignore[misc]
    """Pictures without the axis of colours, for models that stack them by their view requirements."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, gymnasium.spaces.Box) and space.shape[2] == 1
        self.observation_space = gymnasium.spaces.Box(0, 255, space.shape[:2], space.dtype)

    def observation(self, observation: Any) -> Array:
        """``[dim, dim]``."""
        return np.squeeze(observation, axis=-1)


class ScaledFloatFrame(gymnasium.ObservationWrapper):  # type: ignore[misc]
    """Bytes as numbers from 0 to 1. (It takes four times the memory: models do it for themselves.)"""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, env.observation_space.shape, np.float32)

    def observation(self, observation: Any) -> Array:
        """The picture in floats."""
        return np.asarray(observation, np.float32) / 255.0


def wrap_deepmind(env: Env, dim: int = 84, framestack: bool = True, noframeskip: bool = False) -> Env:
    """All of it, in the order of the paper.

    Rewards are not clipped here: samplers do that (``clip_rewards``), so that metrics show the game's.

    Args:
        env: An Atari game.
        dim: Pictures are ``dim`` by ``dim``.
        framestack: Whether the last four pictures are observed together.
        noframeskip: Whether the game shows every frame, although its name does not say so (``NoFrameskip``).
    """
    env = MonitorEnv(env)
    env = NoopResetEnv(env, noop_max=30)
    if noframeskip or _shows_every_frame(env):
        env = MaxAndSkipEnv(env, skip=4)
    env = EpisodicLifeEnv(env)
    if "FIRE" in env.unwrapped.get_action_meanings():
        env = FireResetEnv(env)
    env = WarpFrame(env, dim)
    if framestack:
        env = FrameStack(env, 4)
    return env


def _shows_every_frame(env: Env) -> bool:
    spec = env.spec
    if spec is None:
        return False
    return "NoFrameskip" in spec.id or (spec.kwargs or {}).get("frameskip") == 1
