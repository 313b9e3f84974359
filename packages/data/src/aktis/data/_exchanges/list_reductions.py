"""The built-in aggregations whose state is a list of values for each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._exchanges._aggregate_fn import Reduction, States
from aktis.data._exchanges._groups import Groups, clean
from aktis.data.exceptions import SchemaError


class _Lists(Reduction):
    """State: a list of values for each group, and whether a null among them makes the result null."""

    def partial(self, values: pa.Array, groups: Groups) -> States:
        spoilt = (
            _any(values.is_null(), groups) if not self.ignore_nulls else pa.array(np.zeros(groups.count, dtype=bool))
        )
        valid = values.is_valid()
        codes = groups.codes[valid.to_numpy(zero_copy_only=False)]
        return {"values": groups.lists(values.filter(valid), codes), "spoilt": spoilt}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        values, codes = groups.flatten(states["values"])
        return {"values": groups.lists(values, codes), "spoilt": _any(states["spoilt"], groups)}


def _any(flags: pa.Array, groups: Groups) -> pa.Array:
    return pa.array(np.bincount(groups.codes, flags.to_numpy(zero_copy_only=False), groups.count) > 0)


def _lengths(lists: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_value_length(lists).to_numpy(zero_copy_only=False), dtype=np.int64)


class Quantile(_Lists):
    """An exact quantile, interpolated between the two values next to it. Keeps all values in memory.

    Args:
        q: Between 0 and 1: 0.5 is the median.
    """

    kind = "quantile"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        q: float = 0.5,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        if not 0 <= q <= 1:
            raise ValueError(f"Quantile needs q between 0 and 1, got {q}.")
        super().__init__(on, ignore_nulls, alias_name)
        self.q = float(q)

    def partial(self, values: pa.Array, groups: Groups) -> States:
        return super().partial(_as_floats(values, "quantile"), groups)

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        lengths = _lengths(states["values"])
        values = pc.list_flatten(states["values"]).to_numpy(zero_copy_only=False)
        if len(lengths) == 1:
            values = np.sort(values)
        else:
            values = values[np.lexsort((values, np.repeat(np.arange(len(lengths)), lengths)))]
        starts = np.cumsum(lengths) - lengths
        position = np.maximum(lengths - 1, 0) * self.q
        low = np.floor(position).astype(np.int64)
        high = np.ceil(position).astype(np.int64)
        valid = (lengths > 0) & ~states["spoilt"].to_numpy(zero_copy_only=False)
        if len(values) == 0:
            return pa.nulls(len(lengths), pa.float64())
        last = len(values) - 1
        below, above = values[np.minimum(starts + low, last)], values[np.minimum(starts + high, last)]
        share = position - low
        # Not below + share * (above - below): that is nan between infinities, and inf between the two ends of float64.
        result = np.where(share == 0, below, np.where(below == above, below, below * (1 - share) + above * share))
        return pa.array(result, mask=~valid, from_pandas=False)


def _as_floats(values: pa.Array, what: str) -> pa.Array:
    try:
        return (values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values).cast(pa.float64(), safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise SchemaError(f"cannot compute {what} of values of type {values.type}") from error


class AsList(Reduction):
    """All values, in order, as a list. ``ignore_nulls`` leaves out nulls."""

    kind = "list"

    def __init__(
        self, on: str | Callable[[Any], Any] | None = None, alias_name: str | None = None, ignore_nulls: bool = False
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)

    def partial(self, values: pa.Array, groups: Groups) -> States:
        codes = groups.codes
        if self.ignore_nulls and values.null_count:
            valid = values.is_valid()
            values, codes = values.filter(valid), codes[valid.to_numpy(zero_copy_only=False)]
        return {"values": groups.lists(values, codes)}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        values, codes = groups.flatten(states["values"])
        return {"values": groups.lists(values, codes)}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return states["values"]


class _Counted(Reduction):
    """State: for each group the distinct values, in the order in which they first appear, and how often each is there."""

    encode_lists = False
    capacity: int | None = None  # most values that are kept

    def partial(self, values: pa.Array, groups: Groups) -> States:
        codes = groups.codes
        if self.encode_lists and _is_list(values.type):
            codes = codes[pc.list_parent_indices(values).to_numpy(zero_copy_only=False)]
            values = clean(pc.list_flatten(values))
        if self.ignore_nulls and values.null_count:
            valid = values.is_valid()
            values, codes = values.filter(valid), codes[valid.to_numpy(zero_copy_only=False)]
        return self._count(values, codes, np.ones(len(values), dtype=np.int64), groups)

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        values, codes = groups.flatten(states["values"])
        return self._count(values, codes, pc.list_flatten(states["counts"]).to_numpy(zero_copy_only=False), groups)

    def _count(self, values: pa.Array, codes: Any, weights: Any, groups: Groups) -> States:
        try:
            encoded = values.dictionary_encode(null_encoding="encode")
        except (pa.ArrowNotImplementedError, AttributeError) as error:
            raise SchemaError(f"cannot compute {self.kind} of values of type {values.type}") from error
        indices = encoded.indices.to_numpy()
        if groups.count <= 1:
            distinct = encoded.dictionary
            owners: npt.NDArray[np.int64] = np.zeros(len(distinct), dtype=np.int64)
        else:
            pairs = pa.array(codes * max(1, len(encoded.dictionary)) + indices).dictionary_encode()
            indices = pairs.indices.to_numpy()
            first: npt.NDArray[np.int64] = np.empty(len(pairs.dictionary), dtype=np.int64)
            first[indices[::-1]] = np.arange(len(indices) - 1, -1, -1)
            distinct, owners = values.take(pa.array(first)), codes[first]
        totals = np.bincount(indices, weights, len(owners)).astype(np.int64)
        if self.capacity is not None and len(owners) > self.capacity:
            kept = _most_frequent(owners, totals, self.capacity)
            distinct, totals, owners = distinct.take(pa.array(kept)), totals[kept], owners[kept]
        return {"values": groups.lists(distinct, owners), "counts": groups.lists(pa.array(totals), owners)}


def _most_frequent(codes: Any, totals: Any, most: int) -> npt.NDArray[np.int64]:
    """Positions of up to ``most`` values of each group with the greatest totals, the greatest first."""
    if len(codes) == 0 or codes.max() == 0:  # a single group
        return np.asarray(np.argsort(-totals, kind="stable")[:most])
    order = np.lexsort((np.arange(len(codes)), -totals, codes))
    sorted_codes = codes[order]
    starts = np.searchsorted(sorted_codes, sorted_codes, side="left")
    return np.asarray(order[np.arange(len(order)) - starts < most])


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


class Unique(_Counted):
    """The distinct values, as a list in the order in which they first appear.

    Args:
        encode_lists: Look at the items of lists, not at the lists.
    """

    kind = "unique"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
        encode_lists: bool = True,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self.encode_lists = encode_lists

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return states["values"]


class CountDistinct(_Counted):
    """Number of distinct values."""

    kind = "count_distinct"
    empty = 0

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return pa.array(_lengths(states["values"]))


class ValueCounter(_Counted):
    """How often each value is there: ``{"values": [...], "counts": [...]}``."""

    kind = "value_counter"

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return pa.StructArray.from_arrays([states["values"], states["counts"]], names=["values", "counts"])


class ApproximateTopK(_Counted):
    """The most frequent values, as a list of ``{column: value, "count": n}``, the most frequent first.

    At most ``2 ** log_capacity`` values of each group are kept at a time, the most frequent ones, so that memory is bounded.
    Up to so many distinct values the result is exact.

    Args:
        k: How many.
        log_capacity: Logarithm to base 2 of the values that are kept.
        encode_lists: Look at the items of lists, not at the lists.
    """

    kind = "approx_topk"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        k: int = 10,
        log_capacity: int = 15,
        alias_name: str | None = None,
        encode_lists: bool = False,
    ) -> None:
        if k < 1:
            raise ValueError(f"ApproximateTopK needs k of at least 1, got {k}.")
        super().__init__(on, True, alias_name)
        self.k = k
        self.capacity = max(k, 2**log_capacity)
        self.encode_lists = encode_lists

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        lengths = _lengths(states["values"])
        codes: npt.NDArray[np.int64] = np.repeat(np.arange(len(lengths)), lengths)
        totals = pc.list_flatten(states["counts"]).to_numpy(zero_copy_only=False)
        best = _most_frequent(codes, totals, self.k)
        values = pc.list_flatten(states["values"]).take(pa.array(best))
        label = self.on if isinstance(self.on, str) else "value"
        pairs = pa.StructArray.from_arrays([values, pa.array(totals[best])], names=[label, "count"])
        return Groups(codes, len(lengths), len(codes)).lists(pairs, codes[best])


class ApproximateQuantile(Reduction):
    """Quantiles in bounded memory, as a list.

    Values are kept as at most ``quantile_precision`` weighted points for each group: neighbours are merged where there are
    more, so that each stands for about equally many values. Up to so many values the result is exact.

    Args:
        quantiles: Numbers between 0 and 1.
        quantile_precision: Points that are kept. The rank of a result is off by less than about 1 / this, for each merge.
    """

    kind = "approx_quantile"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        quantiles: Sequence[float] = (0.25, 0.5, 0.75),
        quantile_precision: int = 800,
        alias_name: str | None = None,
    ) -> None:
        for q in quantiles:
            if not 0 <= q <= 1:
                raise ValueError(f"ApproximateQuantile needs quantiles between 0 and 1, got {q}.")
        super().__init__(on, True, alias_name)
        self.quantiles = [float(q) for q in quantiles]
        self.precision = max(2, quantile_precision)

    def partial(self, values: pa.Array, groups: Groups) -> States:
        values = _as_floats(values, "quantiles")
        valid = values.is_valid()
        codes = groups.codes[valid.to_numpy(zero_copy_only=False)]
        points = values.filter(valid).to_numpy(zero_copy_only=False)
        return self._condense(points, np.ones(len(points)), codes, groups)

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        points, codes = groups.flatten(states["points"])
        weights = pc.list_flatten(states["weights"]).to_numpy(zero_copy_only=False)
        return self._condense(points.to_numpy(zero_copy_only=False), weights, codes, groups)

    def _condense(self, points: Any, weights: Any, codes: Any, groups: Groups) -> States:
        if groups.count == 1 and len(points) and weights.min() == weights.max():
            points = np.sort(points)
        else:
            order = np.lexsort((points, codes))
            points, weights, codes = points[order], weights[order], codes[order]
        counts = np.bincount(codes, minlength=groups.count)
        if len(points) and counts.max() > self.precision:
            totals = np.bincount(codes, weights, groups.count)
            before = np.cumsum(weights) - weights  # weight of all points before this one, of earlier groups too
            before -= (np.cumsum(totals) - totals)[codes]
            cell = (before * (self.precision - 2) / totals[codes]).astype(np.int64) + 1
            ends = np.concatenate([[True], codes[1:] != codes[:-1]])
            cell[ends] = 0  # the least and the greatest value of each group stay as they are
            cell[np.concatenate([ends[1:], [True]])] = self.precision
            cell = np.where(counts[codes] > self.precision, cell, np.arange(len(codes)))
            begins = np.flatnonzero(np.concatenate([[True], (cell[1:] != cell[:-1]) | (codes[1:] != codes[:-1])]))
            merged = np.add.reduceat(weights, begins)
            points = np.add.reduceat(points * weights, begins) / merged
            weights, codes = merged, codes[begins]
        return {"points": groups.lists(pa.array(points), codes), "weights": groups.lists(pa.array(weights), codes)}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        results: list[list[float] | None] = []
        for points, weights in zip(states["points"], states["weights"]):
            x, w = points.values.to_numpy(zero_copy_only=False), weights.values.to_numpy(zero_copy_only=False)
            if len(x) == 0:
                results.append(None)
                continue
            middle = np.cumsum(w) - (w + 1) / 2  # rank of the middle one of the values that a point stands for
            wanted = np.array(self.quantiles) * (w.sum() - 1)
            results.append(np.interp(wanted, middle, x).tolist())
        return pa.array(results, pa.list_(pa.float64()))
