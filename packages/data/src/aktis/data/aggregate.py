"""Aggregations: the built-in ones, and the classes to write your own."""

from __future__ import annotations

from aktis.data._exchanges._aggregate_fn import AggregateFn, AggregateFnV2
from aktis.data._exchanges.list_reductions import (
    ApproximateQuantile,
    ApproximateTopK,
    AsList,
    CountDistinct,
    Quantile,
    Unique,
    ValueCounter,
)
from aktis.data._exchanges.reductions import (
    AbsMax,
    Count,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Std,
    Sum,
    ZeroPercentage,
)

__all__ = [
    "AbsMax",
    "AggregateFn",
    "AggregateFnV2",
    "ApproximateQuantile",
    "ApproximateTopK",
    "AsList",
    "Count",
    "CountDistinct",
    "Max",
    "Mean",
    "Min",
    "MissingValuePercentage",
    "Quantile",
    "Std",
    "Sum",
    "Unique",
    "ValueCounter",
    "ZeroPercentage",
]
