"""The built-in aggregations whose state is a few numbers for each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._exchanges._aggregate_fn import Reduction, States
from aktis.data._exchanges._groups import Groups
from aktis.data._exchanges._keys import is_ordered, numbers
from aktis.data.exceptions import SchemaError

_LIMIT = float(2**63)


def _scalar_options(ignore_nulls: bool) -> pc.ScalarAggregateOptions:
    return pc.ScalarAggregateOptions(skip_nulls=ignore_nulls, min_count=1)


def _floats(values: pa.Array) -> Any:
    """As float64, null as NaN."""
    return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _from_floats(values: Any, valid: Any) -> pa.Array:
    return pa.array(values, pa.float64(), mask=~np.asarray(valid, dtype=bool), from_pandas=False)


def _may_overflow(values: pa.Array) -> bool:
    """Whether a sum of these integers may not fit in 64 bits."""
    if not pa.types.is_integer(values.type) or values.type.bit_width < 64 or len(values) == values.null_count:
        return False
    extent = pc.min_max(values).as_py()
    return bool(max(abs(extent["min"]), abs(extent["max"])) * len(values) >= _LIMIT)


def _add(values: pa.Array, groups: Groups, ignore_nulls: bool) -> pa.Array:
    """The exact sum of each group. Raises OverflowError where integers need more than 64 bits."""
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        values = values.cast(pa.int64())
    [total] = groups.reduce([(values, "sum", _scalar_options(ignore_nulls))])
    if _may_overflow(values):
        [rough] = groups.reduce([(values.cast(pa.float64(), safe=False), "sum", _scalar_options(True))])
        limit = _LIMIT if pa.types.is_signed_integer(values.type) else 2 * _LIMIT
        if rough.null_count < len(rough) and np.nanmax(np.abs(_floats(rough))) >= limit:
            raise OverflowError(
                "a sum of integers does not fit in 64 bits: cast the column to float64 or decimal128 first."
            )
    return total


class Count(Reduction):
    """Number of rows; of a column's values, if ``on`` is given (with ``ignore_nulls``, of those that are not null)."""

    kind = "count"
    empty = 0
    only_validity = True

    def __init__(
        self, on: str | Callable[[Any], Any] | None = None, ignore_nulls: bool = False, alias_name: str | None = None
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self.needs_values = on is not None

    def partial(self, values: pa.Array, groups: Groups) -> States:
        mode = "only_valid" if self.ignore_nulls and self.needs_values else "all"
        return {"n": groups.reduce([(values, "count", pc.CountOptions(mode=mode))])[0]}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        return {"n": groups.reduce([(states["n"], "sum", _scalar_options(True))])[0]}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return states["n"]


class Sum(Reduction):
    """Sum. Of integers it is exact."""

    kind = "sum"

    def partial(self, values: pa.Array, groups: Groups) -> States:
        return {"sum": _add(values, groups, self.ignore_nulls)}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        return {"sum": _add(states["sum"], groups, self.ignore_nulls)}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return states["sum"]


class _Extreme(Reduction):
    def partial(self, values: pa.Array, groups: Groups) -> States:
        kind = values.type
        if pa.types.is_duration(kind):  # has no such kernel
            [least] = groups.reduce([(values.cast(pa.int64()), self.kind, _scalar_options(self.ignore_nulls))])
            return {self.kind: least.cast(kind)}
        try:
            return {self.kind: groups.reduce([(values, self.kind, _scalar_options(self.ignore_nulls))])[0]}
        except SchemaError:
            if not is_ordered(kind):
                raise
        # A type without such a kernel (strings, in older versions of Arrow): the same of the values' ranks.
        encoded = values.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary)
        ranks = pc.sort_indices(order).take(encoded.indices).cast(pa.int64())
        [rank] = groups.reduce([(ranks, self.kind, _scalar_options(self.ignore_nulls))])
        return {self.kind: encoded.dictionary.take(order).take(rank)}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        return self.partial(states[self.kind], groups)

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return states[self.kind]


class Min(_Extreme):
    """Least value."""

    kind = "min"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
        zero_factory: Any = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)


class Max(_Extreme):
    """Greatest value."""

    kind = "max"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
        zero_factory: Any = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)


class AbsMax(Reduction):
    """Greatest absolute value."""

    kind = "abs_max"

    def partial(self, values: pa.Array, groups: Groups) -> States:
        options = _scalar_options(self.ignore_nulls)
        least, greatest = groups.reduce([(values, "min", options), (values, "max", options)])
        return {"min": least, "max": greatest}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        options = _scalar_options(self.ignore_nulls)
        least, greatest = groups.reduce([(states["min"], "min", options), (states["max"], "max", options)])
        return {"min": least, "max": greatest}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return pc.max_element_wise(pc.abs_checked(states["min"]), pc.abs_checked(states["max"]))


class Mean(Reduction):
    """Arithmetic mean: a float."""

    kind = "mean"

    def partial(self, values: pa.Array, groups: Groups) -> States:
        if _may_overflow(values):
            values = values.cast(pa.float64(), safe=False)
        total = _add(values, groups, self.ignore_nulls)
        [count] = groups.reduce([(values, "count", pc.CountOptions(mode="only_valid"))])
        return {"sum": total.cast(pa.float64(), safe=False), "n": count}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        total, count = groups.reduce(
            [(states["sum"], "sum", _scalar_options(self.ignore_nulls)), (states["n"], "sum", _scalar_options(True))]
        )
        return {"sum": total, "n": count}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        return pc.divide(states["sum"], states["n"].cast(pa.float64()))


class Std(Reduction):
    """Standard deviation. Fewer than two values: 0.0.

    Blocks are merged by count, mean and sum of squared distances (Chan, Golub and LeVeque), which does not lose digits
    where values are far from 0.

    Args:
        ddof: Taken from the count in the divisor: 1 estimates that of a population from a sample.
    """

    kind = "std"

    def __init__(
        self,
        on: str | Callable[[Any], Any] | None = None,
        ddof: int = 1,
        ignore_nulls: bool = True,
        alias_name: str | None = None,
    ) -> None:
        super().__init__(on, ignore_nulls, alias_name)
        self.ddof = ddof

    def partial(self, values: pa.Array, groups: Groups) -> States:
        if not pa.types.is_floating(values.type):
            values = values.cast(pa.int8() if pa.types.is_boolean(values.type) else values.type).cast(
                pa.float64(), safe=False
            )
        options = pc.VarianceOptions(ddof=0, skip_nulls=self.ignore_nulls, min_count=1)
        count, mean, variance = groups.reduce(
            [
                (values, "count", pc.CountOptions(mode="only_valid")),
                (values, "mean", _scalar_options(self.ignore_nulls)),
                (values, "variance", options),
            ]
        )
        return {"n": count, "mean": mean, "m2": pc.multiply(variance, count.cast(pa.float64()))}

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        counts, means, m2 = (_floats(states[name]) for name in ("n", "mean", "m2"))
        codes, size = groups.codes, groups.count
        # A block without values has no mean. Without ignore_nulls, one that has values but no mean makes the whole group null.
        lost = np.asarray(states["mean"].is_null().to_numpy(zero_copy_only=False), dtype=bool)
        spoilt = np.bincount(codes, lost, size) > 0 if not self.ignore_nulls else np.zeros(size, dtype=bool)
        weights = np.where(lost, 0.0, counts)
        total = np.bincount(codes, weights, size)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.bincount(codes, weights * np.where(lost, 0.0, means), size) / total
            shift = np.where(lost, 0.0, means) - mean[codes]
            squares = np.bincount(codes, np.where(lost, 0.0, m2) + weights * np.where(lost, 0.0, shift) ** 2, size)
        valid = (total > 0) & ~spoilt
        return {
            "n": pa.array(np.bincount(codes, counts, size).astype(np.int64)),
            "mean": _from_floats(mean, valid),
            "m2": _from_floats(squares, valid),
        }

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        counts, m2 = _floats(states["n"]), _floats(states["m2"])
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.where(counts < 2, 0.0, np.sqrt(m2 / np.maximum(counts - self.ddof, 0)))
        return _from_floats(result, np.asarray(states["m2"].is_valid().to_numpy(zero_copy_only=False)))


class _Share(Reduction):
    """100 times the number of some rows, by the number of others."""

    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        options = _scalar_options(True)
        part, whole = groups.reduce([(states["part"], "sum", options), (states["whole"], "sum", options)])
        return {"part": part, "whole": whole}

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        whole = states["whole"].cast(pa.float64())
        share = pc.divide(pc.multiply(states["part"].cast(pa.float64()), 100.0), whole)
        return pc.if_else(pc.equal(whole, 0.0), pa.scalar(None, pa.float64()), share)


class MissingValuePercentage(_Share):
    """How many percent of the values are null or NaN."""

    kind = "missing_pct"
    only_validity = True

    def __init__(self, on: str | Callable[[Any], Any] | None = None, alias_name: str | None = None) -> None:
        super().__init__(on, True, alias_name)

    def partial(self, values: pa.Array, groups: Groups) -> States:
        part, whole = groups.reduce(
            [(values, "count", pc.CountOptions(mode="only_null")), (values, "count", pc.CountOptions(mode="all"))]
        )
        return {"part": part, "whole": whole}


class ZeroPercentage(_Share):
    """How many percent of the values are zero. With ``ignore_nulls`` nulls do not count at all, else as values that are not."""

    kind = "zero_pct"

    def partial(self, values: pa.Array, groups: Groups) -> States:
        plain = numbers(values)
        if plain is None or pa.types.is_temporal(values.type):
            plain = _floats(values)
        zero = pa.array(plain == 0, mask=np.asarray(values.is_null().to_numpy(zero_copy_only=False)))
        mode = "only_valid" if self.ignore_nulls else "all"
        part, whole = groups.reduce(
            [
                (zero.cast(pa.int64()), "sum", pc.ScalarAggregateOptions(min_count=0)),
                (values, "count", pc.CountOptions(mode=mode)),
            ]
        )
        return {"part": part, "whole": whole}
