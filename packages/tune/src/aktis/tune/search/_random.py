"""One face for every source of random numbers: numpy's two, Python's, or a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol, Union

if TYPE_CHECKING:
    import numpy as np

    RandomState = Union[int, np.random.Generator, np.random.RandomState, random.Random, "Rng", None]

__all__ = ["Rng", "as_rng"]


class Rng(Protocol):
    """What samplers draw from: the three methods of a numpy Generator that they need."""

    def uniform(self, low: float, high: float, size: int | None = None) -> Any: ...
    def normal(self, mean: float, sd: float, size: int | None = None) -> Any: ...
    def integers(self, low: int, high: int, size: int | None = None) -> Any: ...


class _LegacyRng:
    """A RandomState, or numpy's global one (so that ``np.random.seed`` counts)."""

    __slots__ = ("integers", "normal", "uniform")

    def __init__(self, state: Any) -> None:
        self.uniform = state.uniform
        self.normal = state.normal
        self.integers = state.randint


class _PythonRng:
    """A ``random.Random``: what pure parts have."""

    __slots__ = ("_random",)

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        return self._random.uniform(low, high) if size is None else self._array(self.uniform, low, high, size)

    def normal(self, mean: float, sd: float, size: int | None = None) -> Any:
        return self._random.gauss(mean, sd) if size is None else self._array(self.normal, mean, sd, size)

    def integers(self, low: int, high: int, size: int | None = None) -> Any:
        return self._random.randrange(low, high) if size is None else self._array(self.integers, low, high, size)

    def _array(self, draw: Any, first: float, second: float, size: int) -> Any:
        import numpy as np

        return np.array([draw(first, second) for _ in range(size)])


def as_rng(random_state: RandomState) -> Rng:
    """What to draw from. The same seed always gives the same numbers; what is an Rng already stays as it is."""
    if hasattr(random_state, "integers"):  # a numpy Generator, or what this function returned
        return random_state  # type: ignore[return-value]
    if isinstance(random_state, random.Random):
        return _PythonRng(random_state)
    import numpy as np

    if random_state is None:
        return _LegacyRng(np.random)
    if isinstance(random_state, np.random.RandomState):
        return _LegacyRng(random_state)
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool) and random_state >= 0:
        return np.random.default_rng(random_state)
    raise TypeError(
        f"random_state must be a seed (a whole number from 0), a numpy Generator or RandomState, a random.Random or None, "
        f"got {random_state!r}"
    )
