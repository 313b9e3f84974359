"""A space of lists."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces


class Repeated(spaces.Space):  # type: ignore[misc, type-arg, unused-ignore]
    """Lists of zero to ``max_len`` elements of ``child_space``."""

    def __init__(self, child_space: spaces.Space[Any], max_len: int, seed: int | None = None) -> None:
        """
        Raises:
            ValueError: ``max_len`` is below 1.
        """
        if max_len < 1:
            raise ValueError(f"A Repeated space has at least one element: max_len={max_len}")
        self.child_space = child_space
        self.max_len = max_len
        super().__init__(seed=seed)

    def seed(self, seed: Any = None) -> Any:
        """Seed the lengths, and the child space."""
        seeded = super().seed(seed)
        self.child_space.seed(seed)
        return seeded

    def sample(self, mask: Any = None, probability: Any = None) -> list[Any]:
        """A list of random length."""
        return [self.child_space.sample() for _ in range(int(self.np_random.integers(1, self.max_len + 1)))]

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a list of elements of the child space that is short enough."""
        return (
            isinstance(x, list | tuple)
            and len(x) <= self.max_len
            and all(self.child_space.contains(element) for element in x)
        )

    @property
    def is_np_flattenable(self) -> bool:
        """Lists have no fixed length."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Repeated) and (other.child_space, other.max_len) == (self.child_space, self.max_len)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Repeated({self.child_space}, {self.max_len})"
