"""Filters of observations: running mean and deviation, kept by each worker and brought together exactly.

A filter has a *buffer*: what it has seen since the buffer was last taken. Workers hand their buffers to the algorithm's
filter, which adds
them to its own statistics (:meth:`MeanStdFilter.apply_changes`) and gives back the sum (:meth:`MeanStdFilter.sync`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["ConcurrentMeanStdFilter", "Filter", "MeanStdFilter", "NoFilter", "RunningStat", "get_filter"]

Array: TypeAlias = Any  # np.ndarray


class RunningStat:
    """Count, mean and variance of what is pushed, in one pass (Welford 1962; merging: Chan, Golub and LeVeque 1979, eq. 2.1).

    Args:
        shape: Of what is pushed.
    """

    def __init__(self, shape: Any = ()) -> None:
        self.num_pushes = 0
        self.mean_array = np.zeros(shape, np.float64)
        self.sum_of_squares = np.zeros(shape, np.float64)  # of the differences from the mean

    def push(self, x: Any) -> None:
        """One value more.

        Raises:
            ValueError: it is of another shape.
        """
        x = np.asarray(x, np.float64)
        if x.shape != self.mean_array.shape:
            raise ValueError(f"a RunningStat of shape {self.mean_array.shape} cannot take a value of shape {x.shape}")
        self.num_pushes += 1
        delta = x - self.mean_array
        self.mean_array = self.mean_array + delta / self.num_pushes
        self.sum_of_squares = self.sum_of_squares + delta * (x - self.mean_array)

    def push_batch(self, rows: Array) -> None:
        """Many values more, ``[B, *shape]``; the same as pushing one after the other, up to rounding."""
        if len(rows) == 1:
            self.push(rows[0])
            return
        if len(rows):
            rows = rows.astype(np.float64)
            mean = rows.mean(axis=0)
            self._merge(len(rows), mean, np.square(rows - mean).sum(axis=0))

    def update(self, other: RunningStat) -> None:
        """Everything that was pushed to ``other``."""
        if other.num_pushes:
            self._merge(other.num_pushes, other.mean_array, other.sum_of_squares)

    def _merge(self, count: int, mean: Array, squares: Array) -> None:
        total = self.num_pushes + count
        delta = mean - self.mean_array
        self.mean_array = self.mean_array + delta * (count / total)
        self.sum_of_squares = self.sum_of_squares + squares + np.square(delta) * (self.num_pushes * (count / total))
        self.num_pushes = total

    def copy(self) -> RunningStat:
        """One that goes its own way from here."""
        other = RunningStat(self.mean_array.shape)
        other.num_pushes = self.num_pushes
        other.mean_array = self.mean_array.copy()
        other.sum_of_squares = self.sum_of_squares.copy()
        return other

    @property
    def n(self) -> int:
        """How many values there were."""
        return self.num_pushes

    @property
    def mean(self) -> Array:
        """Their mean."""
        return self.mean_array

    @property
    def var(self) -> Array:
        """Their variance (with n - 1); 1 before there are two."""
        if self.num_pushes < 2:
            return np.ones_like(self.mean_array)
        variance: Array = self.sum_of_squares / (self.num_pushes - 1)
        return variance

    @property
    def std(self) -> Array:
        """Their deviation."""
        deviation: Array = np.sqrt(self.var)
        return deviation

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each value."""
        return tuple(self.mean_array.shape)

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and arrays."""
        return {
            "num_pushes": self.num_pushes,
            "running_mean": self.mean_array,
            "running_sum_of_sq": self.sum_of_squares,
        }

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> RunningStat:
        """What :meth:`to_state` wrote."""
        mean = np.asarray(state["running_mean"], np.float64)
        stat = RunningStat(mean.shape)
        stat.num_pushes = int(state["num_pushes"])
        stat.mean_array = mean
        stat.sum_of_squares = np.asarray(state["running_sum_of_sq"], np.float64).reshape(mean.shape)
        return stat

    def __repr__(self) -> str:
        return f"RunningStat(n={self.n}, mean={self.mean}, std={self.std})"


class Filter:
    """Processes observations, and keeps statistics of them."""

    is_concurrent = True

    def __call__(self, x: Any, update: bool = True) -> Any:
        """One observation, filtered."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__()")

    def batch(self, rows: Any, update: bool = True) -> Any:
        """Observations ``[B, ...]``, filtered."""
        return np.stack([self(row, update=update) for row in rows])

    def apply_changes(self, other: Filter, *args: Any, **kwargs: Any) -> None:
        """Add what is in the buffer of ``other``."""

    def copy(self) -> Filter:
        """One that goes its own way from here."""
        return self

    def sync(self, other: Filter) -> None:
        """Be as ``other`` is."""

    def reset_buffer(self) -> None:
        """Forget what is in the buffer."""

    def as_serializable(self) -> Filter:
        """A copy that can be sent to another process."""
        return self.copy()

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and arrays, for checkpoints."""
        return {"type": type(self).__name__}

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Filter:
        """What :meth:`to_state` wrote."""
        kinds = {
            "NoFilter": NoFilter,
            "MeanStdFilter": MeanStdFilter,
            "ConcurrentMeanStdFilter": ConcurrentMeanStdFilter,
        }
        cls = kinds.get(str(state.get("type")))
        if cls is None:
            raise ValueError(f"there is no filter {state.get('type')!r}: there are {sorted(kinds)}")
        if cls is NoFilter:
            return NoFilter()
        stats = [RunningStat.from_state(part) for part in state["stats"]]
        made: MeanStdFilter = cls(stats[0].shape, **{name: state[name] for name in ("demean", "destd", "clip")})
        made.running_stats, made.buffer = stats[0], stats[1]
        return made


class NoFilter(Filter):
    """Leaves observations as they are."""

    def __call__(self, x: Any, update: bool = True) -> Any:
        """The same."""
        return x

    def batch(self, rows: Any, update: bool = True) -> Any:
        """The same."""
        return rows


class MeanStdFilter(Filter):
    """Brings observations to mean 0 and deviation 1, by what has been observed so far.

    Args:
        shape: Of one observation.
        demean: Whether the mean is taken away.
        destd: Whether it is divided by the deviation.
        clip: The result is kept in [-clip, clip]. None: it is not.
    """

    is_concurrent = False

    def __init__(self, shape: Any, demean: bool = True, destd: bool = True, clip: float | None = 10.0) -> None:
        self.shape = tuple(getattr(shape, "shape", shape) or ())
        self.demean = demean
        self.destd = destd
        self.clip = clip
        self.running_stats = RunningStat(self.shape)
        self.buffer = RunningStat(self.shape)

    def __call__(self, x: Any, update: bool = True) -> Any:
        """One observation, filtered; with ``update`` it counts."""
        row = np.asarray(x, np.float64)
        if update:
            self.running_stats.push(row)
            self.buffer.push(row)
        return self._normalized(row)

    def batch(self, rows: Any, update: bool = True) -> Any:
        """Observations ``[B, ...]``, filtered, after all of them have been counted."""
        if update:
            self.running_stats.push_batch(rows)
            self.buffer.push_batch(rows)
        return self._normalized(rows)

    def _normalized(self, x: Array) -> Array:
        stats = self.running_stats
        if self.demean:
            x = x - stats.mean_array
        if self.destd:
            x = x / (stats.std + 1e-8)
        if self.clip:
            x = np.minimum(np.maximum(x, -self.clip), self.clip)
        return x.astype(np.float32)

    def apply_changes(self, other: Any, with_buffer: bool = False, *args: Any, **kwargs: Any) -> None:
        """Add what is in the buffer of ``other``; ``with_buffer``: and make the buffer the same as that."""
        self.running_stats.update(other.buffer)
        if with_buffer:
            self.buffer = other.buffer.copy()

    def sync(self, other: Any) -> None:
        """Take over the statistics of ``other``, buffer and all."""
        if tuple(other.shape) != self.shape:
            raise ValueError(
                f"a filter for observations of shape {self.shape} cannot be synced with one for {other.shape}"
            )
        self.demean, self.destd, self.clip = other.demean, other.destd, other.clip
        self.running_stats = other.running_stats.copy()
        self.buffer = other.buffer.copy()

    def reset_buffer(self) -> None:
        """Forget what is in the buffer (the statistics stay)."""
        self.buffer = RunningStat(self.shape)

    def copy(self) -> MeanStdFilter:
        """One that goes its own way from here."""
        other = type(self)(self.shape, self.demean, self.destd, self.clip)
        other.running_stats = self.running_stats.copy()
        other.buffer = self.buffer.copy()
        return other

    def as_serializable(self) -> MeanStdFilter:
        """A plain copy, which can be sent to another process."""
        other = MeanStdFilter(self.shape, self.demean, self.destd, self.clip)
        other.running_stats = self.running_stats.copy()
        other.buffer = self.buffer.copy()
        return other

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and arrays, for checkpoints."""
        stats = [self.running_stats.to_state(), self.buffer.to_state()]
        return {
            "type": type(self).__name__,
            "demean": self.demean,
            "destd": self.destd,
            "clip": self.clip,
            "stats": stats,
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape}, {self.running_stats}, buffer={self.buffer})"


class ConcurrentMeanStdFilter(MeanStdFilter):
    """The same, for several threads at a time."""

    is_concurrent = True

    def __init__(self, shape: Any, demean: bool = True, destd: bool = True, clip: float | None = 10.0) -> None:
        super().__init__(shape, demean, destd, clip)
        self._lock = threading.RLock()

    def __call__(self, x: Any, update: bool = True) -> Any:
        """One observation, filtered."""
        with self._lock:
            return super().__call__(x, update)

    def batch(self, rows: Any, update: bool = True) -> Any:
        """Observations ``[B, ...]``, filtered."""
        with self._lock:
            return super().batch(rows, update)

    def apply_changes(self, other: Any, with_buffer: bool = False, *args: Any, **kwargs: Any) -> None:
        """Add what is in the buffer of ``other``."""
        with self._lock:
            super().apply_changes(other, with_buffer)

    def sync(self, other: Any) -> None:
        """Take over the statistics of ``other``."""
        with self._lock:
            super().sync(other)

    def reset_buffer(self) -> None:
        """Forget what is in the buffer."""
        with self._lock:
            super().reset_buffer()

    def copy(self) -> MeanStdFilter:
        """One that goes its own way from here."""
        with self._lock:
            return super().copy()

    def as_serializable(self) -> MeanStdFilter:
        """A plain copy without a lock."""
        with self._lock:
            return super().as_serializable()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()


def get_filter(filter_config: Any, shape: Any) -> Filter:
    """The filter of a setting of ``observation_filter``.

    Args:
        filter_config: ``"NoFilter"``, ``"MeanStdFilter"``, ``"ConcurrentMeanStdFilter"``, or a function of the shape
            that makes one.
        shape: Of observations as policies get them: a shape, or a space that has one.

    Raises:
        ValueError: an unknown name; or observations that are no arrays, which only NoFilter takes.
    """
    if filter_config in (None, "NoFilter"):
        return NoFilter()
    own = tuple(shape.shape) if getattr(shape, "shape", None) is not None else shape
    if not isinstance(own, (tuple, list)):
        raise ValueError(
            f"observation_filter={filter_config!r} needs observations that are arrays, not of {shape}: use 'NoFilter'"
        )
    if filter_config == "MeanStdFilter":
        return MeanStdFilter(own)
    if filter_config == "ConcurrentMeanStdFilter":
        return ConcurrentMeanStdFilter(own)
    if callable(filter_config):
        made: Filter = filter_config(own)
        return made
    raise ValueError(
        f"there is no observation_filter {filter_config!r}: there are 'NoFilter', 'MeanStdFilter', 'ConcurrentMeanStdFilter', or a "
        "function of the shape of observations that makes a filter"
    )
