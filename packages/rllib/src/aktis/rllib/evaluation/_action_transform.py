"""From the actions of a policy, a batch at a time, to what each environment's ``step`` gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium
import numpy as np

__all__ = ["ActionTransform", "flatten_actions"]

Array: TypeAlias = Any  # np.ndarray
Leaf = Callable[[Array], Array]


class ActionTransform:
    """Unsquashes (from [-1, 1] to the bounds of boxes) or clips actions, and hands each environment its own.

    Args:
        space: The environment's action space.
        normalize: Policies act in [-1, 1] in boxes with finite bounds.
        clip: Actions are clipped to the bounds of boxes (without effect with ``normalize``, which clips too).
    """

    def __init__(self, space: gymnasium.Space[Any], *, normalize: bool, clip: bool) -> None:
        self.space = space
        self.structured = isinstance(space, (gymnasium.spaces.Dict, gymnasium.spaces.Tuple))
        self._plain_integers = isinstance(space, gymnasium.spaces.Discrete) and not space.start
        self._leaf = None if self.structured else _leaf_transform(space, normalize, clip)
        self._leaves: list[tuple[Any, Leaf | None]] = []
        if self.structured:
            self._leaves = [(path, _leaf_transform(leaf, normalize, clip)) for path, leaf in _leaves_of(space)]

    def batch(self, actions: Any) -> Any:
        """The actions of all environments, as a batch of the structure of the space."""
        if not self.structured:
            return actions if self._leaf is None else self._leaf(actions)
        return _build(
            self.space,
            (),
            {path: leaf(_get(actions, path)) if leaf else _get(actions, path) for path, leaf in self._leaves},
        )

    def each(self, actions: Any) -> list[Any]:
        """One action for each environment. Discrete ones are NumPy's integers, with which ``Discrete.contains`` is quicker."""
        if self._plain_integers:
            return list(actions)
        batch = self.batch(actions)
        if not self.structured:
            return list(batch)
        count = len(_get(batch, self._leaves[0][0]))
        return [_row(self.space, batch, index) for index in range(count)]


def flatten_actions(space: gymnasium.Space[Any], actions: Any) -> Array:
    """A batch of actions as one array ``[B, ...]``: structured ones are concatenated leaf by leaf, ``[B, sum of sizes]``."""
    if not isinstance(space, (gymnasium.spaces.Dict, gymnasium.spaces.Tuple)):
        return np.asarray(actions)
    leaves = [np.asarray(_get(actions, path)) for path, _ in _leaves_of(space)]
    flat = [leaf.reshape(len(leaf), -1) for leaf in leaves]
    kind = np.int64 if all(leaf.dtype.kind in "iub" for leaf in flat) else np.float32
    return np.concatenate(flat, axis=1).astype(kind, copy=False)


def _leaf_transform(space: gymnasium.Space[Any], normalize: bool, clip: bool) -> Leaf | None:
    start = getattr(space, "start", None)  # of discrete ones: policies count from 0
    if start is not None and np.any(start):
        return lambda actions: actions + start
    if not isinstance(space, gymnasium.spaces.Box):
        return None
    low, high, dtype = space.low, space.high, space.dtype
    finite = bool(np.isfinite(low).all() and np.isfinite(high).all())
    if normalize and finite and np.dtype(dtype).kind == "f":
        half, middle_low = (high.astype(np.float64) - low) / 2.0, low.astype(np.float64)

        def unsquash(actions: Array) -> Array:
            clipped = np.minimum(np.maximum(actions, -1.0), 1.0)
            return np.minimum(np.maximum(middle_low + (clipped + 1.0) * half, low), high).astype(dtype)

        return unsquash
    if normalize and finite:  # of integers: counted from the lowest
        return lambda actions: (np.asarray(actions) + low).astype(dtype)
    if clip:
        return lambda actions: np.minimum(np.maximum(actions, low), high).astype(dtype)
    return None


def _leaves_of(
    space: gymnasium.Space[Any], path: tuple[Any, ...] = ()
) -> list[tuple[tuple[Any, ...], gymnasium.Space[Any]]]:
    if isinstance(space, gymnasium.spaces.Dict):
        return [leaf for key, sub in sorted(space.spaces.items()) for leaf in _leaves_of(sub, (*path, key))]
    if isinstance(space, gymnasium.spaces.Tuple):
        return [leaf for key, sub in enumerate(space.spaces) for leaf in _leaves_of(sub, (*path, key))]
    return [(path, space)]


def _get(structure: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        structure = structure[key]
    return structure


def _build(space: gymnasium.Space[Any], path: tuple[Any, ...], leaves: dict[tuple[Any, ...], Any]) -> Any:
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _build(sub, (*path, key), leaves) for key, sub in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(_build(sub, (*path, key), leaves) for key, sub in enumerate(space.spaces))
    return leaves[path]


def _row(space: gymnasium.Space[Any], batch: Any, index: int) -> Any:
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _row(sub, batch[key], index) for key, sub in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(_row(sub, part, index) for sub, part in zip(space.spaces, batch, strict=True))
    return int(batch[index]) if isinstance(space, gymnasium.spaces.Discrete) else batch[index]
