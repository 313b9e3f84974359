"""The Pareto front: what nothing else beats in all objectives at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[Sequence[float | None]], signs: Sequence[int]) -> list[int]:
    """Indexes of the points that no other point dominates, ordered by the first objective, best first.

    Args:
        points: For each point its value of each objective; points with a None are left out.
        signs: 1 where more is better, -1 where less is.
    """
    known = [
        (tuple(sign * value for sign, value in zip(signs, point, strict=True) if value is not None), index)
        for index, point in enumerate(points)
        if all(value is not None for value in point)
    ]
    known.sort(key=lambda item: (tuple(-value for value in item[0]), item[1]))
    front: list[tuple[tuple[float, ...], int]] = []
    # In this order nothing is dominated by what comes after it.
    for values, index in known:
        if not any(_dominates(other, values) for other, _ in front):
            front.append((values, index))
    return [index for _, index in front]


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x >= y for x, y in zip(a, b, strict=True))
