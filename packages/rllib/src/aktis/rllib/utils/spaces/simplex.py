"""A space of shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces


class Simplex(spaces.Space):  # type: ignore[misc, type-arg, unused-ignore]
    """Arrays of non-negative numbers that sum to one along the last axis (shares of a portfolio, probabilities)."""

    def __init__(self, shape: Any, concentration: Any = None, dtype: Any = np.float32, seed: int | None = None) -> None:
        """
        Args:
            shape: Shape of the array; the last axis sums to one.
            concentration: Parameters of the Dirichlet distribution that `sample` draws from, [shape[-1]]; ones if None.
            dtype: Type of the numbers.
            seed: Where `sample` begins.

        Raises:
            ValueError: ``concentration`` does not fit the shape.
        """
        shape = (shape,) if isinstance(shape, int | np.integer) else shape
        shape = tuple(int(size) for size in shape)
        if not shape:
            raise ValueError("A Simplex has at least one axis: shape=()")
        self.concentration = np.ones(shape[-1]) if concentration is None else np.asarray(concentration, np.float64)
        if self.concentration.shape != (shape[-1],):
            raise ValueError(f"concentration has the shape {self.concentration.shape}, and {(shape[-1],)} is needed.")
        super().__init__(shape, dtype, seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Its values are arrays of one shape."""
        return True

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Shares of a Dirichlet distribution."""
        shape = self.shape or ()
        return self.np_random.dirichlet(self.concentration, size=shape[:-1]).astype(self.dtype)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` has the shape, no negative number, and sums to one (to 1e-5)."""
        x = np.asarray(x)
        return bool(
            x.shape == self.shape
            and x.dtype.kind == "f"
            and np.all(x >= 0)
            and np.allclose(x.sum(axis=-1), 1.0, atol=1e-5)
        )

    def to_jsonable(self, sample_n: Any) -> list[Any]:
        """As lists."""
        return [np.asarray(sample).tolist() for sample in sample_n]

    def from_jsonable(self, sample_n: Any) -> list[Any]:
        """From lists."""
        return [np.asarray(sample, self.dtype) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Simplex)
            and self.shape == other.shape
            and np.array_equal(self.concentration, other.concentration)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Simplex({self.shape}; concentration={self.concentration.tolist()})"
