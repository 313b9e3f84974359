"""What several kinds of exploration need: schedules from their arguments, bounds of actions, and the kind of a
space. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASKED = (
    -1e30
)  # an action with a value below this is masked out: models with action masks add log(0), or the least float32


def linear_schedule(initial: float, final: float, steps: int, warmup: int = 0) -> Callable[[int], float]:
    """`initial` for `warmup` timesteps, then in `steps` timesteps in a straight line to `final`."""
    steps = max(1, int(steps))

    def value(timestep: int) -> float:
        return initial + (final - initial) * min(1.0, max(0.0, (timestep - warmup) / steps))

    return value


def schedule_of(given: Any, default: Callable[[int], float]) -> Callable[[int], float]:
    """A schedule from what stands in an exploration_config: None, a Schedule, a function, a number, a list of
    points, or a dict with a type."""
    if given is None:
        return default
    if isinstance(given, Mapping):
        from aktis.rllib.utils import schedules

        arguments = dict(given)
        kind = arguments.pop("type")
        cls = getattr(schedules, kind) if isinstance(kind, str) else kind
        arguments.setdefault("framework", None)
        return _at(cls(**arguments))
    if isinstance(given, (list, tuple)):
        times = [float(point[0]) for point in given]
        values = [float(point[1]) for point in given]
        return lambda timestep: float(np.interp(timestep, times, values))
    if isinstance(given, (int, float)):
        return lambda timestep: float(given)
    return _at(given)


def _at(schedule: Any) -> Callable[[int], float]:
    value = schedule.value if hasattr(schedule, "value") else schedule
    return lambda timestep: float(value(timestep))


def action_bounds(space: Any, policy_config: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What actions of the policy lie between: [-1, 1] where they are normalised and the space has bounds, else
    those of the space."""
    low, high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
    if policy_config is not None and policy_config.get("normalize_actions", False):
        bounded = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(bounded, np.float32(-1.0), low), np.where(bounded, np.float32(1.0), high)
    return low, high


def uniform_actions(
    low: NDArray[np.float32], high: NDArray[np.float32], rows: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random actions between bounds (normal where there are none). [rows, ...]"""
    bounded = np.isfinite(low) & np.isfinite(high)
    normal = rng.standard_normal((rows, *low.shape), np.float32)
    uniform = np.where(bounded, low, 0.0) + rng.random((rows, *low.shape), np.float32) * np.where(
        bounded, high - low, 0.0
    )
    return np.where(bounded, uniform, np.clip(normal, low, high)).astype(np.float32)


def random_valid(values: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """A random action of each row, among those that are not masked out. [B, A] -> [B]"""
    rows, choices = values.shape
    if values.min() > _MASKED:
        return rng.integers(choices, size=rows)
    return np.argmax(np.where(values > _MASKED, rng.random(values.shape), -1.0), axis=1)


def is_discrete(space: Any) -> bool:
    """Whether a space is one choice among n."""
    import gymnasium as gym

    return isinstance(space, gym.spaces.Discrete)


def is_box(space: Any) -> bool:
    """Whether a space is an array of real numbers."""
    import gymnasium as gym

    return isinstance(space, gym.spaces.Box)


def require(space: Any, right: bool, name: str, kinds: str) -> None:
    """Raises ValueError where an exploration cannot handle a space."""
    if not right:
        raise ValueError(f"{name} explores {kinds} actions, not {space}: choose another type in exploration_config.")
