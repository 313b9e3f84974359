"""Discretizers: numbers become the bins that they fall into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from aktis.data.preprocessors._columns import ColumnPreprocessor, names, outputs
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._statistics import Extremes, Statistic

__all__ = ["CustomKBinsDiscretizer", "UniformKBinsDiscretizer"]


class _Discretizer(ColumnPreprocessor):
    def _set(
        self,
        columns: list[str],
        bins: Any,
        right: bool,
        include_lowest: bool,
        duplicates: str,
        dtypes: dict[str, Any] | None,
        output_columns: list[str] | None,
    ) -> None:
        owner = type(self).__name__
        self.columns = names(owner, "columns", columns)
        self.output_columns = outputs(owner, self.columns, output_columns)
        if isinstance(bins, dict):
            missing = [column for column in self.columns if column not in bins]
            if missing:
                raise ValueError(f"{owner}: bins has nothing for the column {missing[0]!r}.")
        if duplicates not in ("raise", "drop"):
            raise ValueError(f'{owner}: duplicates must be "raise" or "drop", not {duplicates!r}.')
        for column in dtypes or {}:
            if column not in self.columns:
                raise ValueError(f"{owner}: dtypes has the column {column!r}, which is not one of {self.columns}.")
        self.bins = bins
        self.right = right
        self.include_lowest = include_lowest
        self.duplicates = duplicates
        self.dtypes = dtypes

    def _edges(self, column: str) -> Any:
        raise TypeError(f"{type(self).__name__} must define _edges(column)")

    def _transform_frame(self, frame: Frame) -> None:
        import pandas as pd

        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            dtype: Any = (self.dtypes or {}).get(column)
            categorical = isinstance(dtype, pd.CategoricalDtype)
            options = {"labels": dtype.categories, "ordered": bool(dtype.ordered)} if categorical else {"labels": False}
            edges = self._edges(column)
            if isinstance(edges, pd.IntervalIndex):
                positions = edges.get_indexer(frame.numbers(column))
                found = (
                    dtype.categories[positions].where(positions >= 0)
                    if categorical
                    else np.where(positions < 0, np.nan, positions)
                )
                found = pd.Categorical(found, dtype=dtype) if categorical else found
            else:
                found = pd.cut(
                    frame.numbers(column),
                    np.asarray(edges, dtype=np.float64),
                    right=self.right,
                    include_lowest=self.include_lowest,
                    duplicates=self.duplicates,
                    **options,
                )
            frame[output] = self._coded(found, dtype, categorical, column)

    def _coded(self, found: Any, dtype: Any, categorical: bool, column: str) -> Any:
        import pyarrow as pa

        if categorical:
            return pa.array(found)
        outside = np.isnan(found)
        if dtype is None:
            return (
                pa.array(np.where(outside, 0, found).astype(np.int64), mask=outside)
                if outside.any()
                else found.astype(np.int64)
            )
        dtype = np.dtype(dtype)
        if outside.any() and dtype.kind in "iu":
            return pa.array(np.where(outside, 0, found).astype(dtype), mask=outside)
        return found.astype(dtype)


class CustomKBinsDiscretizer(_Discretizer):
    """Each number becomes the index of the bin that it is in; null if it is in none. Needs no fit.

    Args:
        columns: the columns to convert, each on its own.
        bins: edges of the bins in rising order, or a ``pandas.IntervalIndex``; or a dict from column to such.
        right: bins include their right edge (and not the left one); False: the left one.
        include_lowest: the first bin includes its left edge, too.
        duplicates: "raise", or "drop" edges that occur twice.
        dtypes: for columns in this dict: a numpy integer type for the result, or a ``pandas.CategoricalDtype`` with a label
            for each bin.
        output_columns: where to write the results. Default: to ``columns``.
    """

    _is_fittable = False

    def __init__(
        self,
        columns: list[str],
        bins: Any,
        *,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: dict[str, Any] | None = None,
        output_columns: list[str] | None = None,
    ) -> None:
        self._set(columns, bins, right, include_lowest, duplicates, dtypes, output_columns)
        for column in self.columns:
            edges = self._edges(column)
            if not isinstance(edges, Iterable) or isinstance(edges, str):
                raise ValueError(
                    f"CustomKBinsDiscretizer: bins of {column!r} must be a list of edges, not {edges!r}."
                    " UniformKBinsDiscretizer takes a number of bins."
                )

    def _edges(self, column: str) -> Any:
        return self.bins[column] if isinstance(self.bins, dict) else self.bins


class UniformKBinsDiscretizer(_Discretizer):
    """Each number becomes the index of one of k bins of equal width, from the least to the greatest number of the column.

    The outermost bin is widened by 0.1 % of the range, so that the extremes are inside. Numbers that are outside become null.

    Args:
        columns: the columns to convert, each on its own.
        bins: how many, or a dict from column to how many.
        right: bins include their right edge (and not the left one); False: the left one.
        include_lowest: the first bin includes its left edge, too.
        duplicates: "raise", or "drop" edges that occur twice.
        dtypes: for columns in this dict: a numpy integer type for the result, or a ``pandas.CategoricalDtype`` with a label
            for each bin.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: the edges of the bins of each column.
    """

    stats_: dict[str, Any]

    def __init__(
        self,
        columns: list[str],
        bins: int | dict[str, int],
        *,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: dict[str, Any] | None = None,
        output_columns: list[str] | None = None,
    ) -> None:
        self._set(columns, bins, right, include_lowest, duplicates, dtypes, output_columns)
        for column in self.columns:
            number = self._number(column)
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
                raise ValueError(
                    f"UniformKBinsDiscretizer: bins of {column!r} must be a whole number of at least 1, not {number!r}."
                    " CustomKBinsDiscretizer takes edges."
                )

    def _number(self, column: str) -> Any:
        return self.bins[column] if isinstance(self.bins, dict) else self.bins

    def _statistics(self) -> dict[str, Statistic]:
        return {column: Extremes() for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for column, extremes in found.items():
            if extremes.low is None or not np.isfinite([extremes.low, extremes.high]).all():
                what = "no value" if extremes.low is None else "an infinite value"
                raise ValueError(
                    f"UniformKBinsDiscretizer cannot cut the column {column!r}, which has {what}, into bins."
                )
            stats[column] = uniform_edges(extremes.low, extremes.high, int(self._number(column)), self.right)
        return stats

    def _edges(self, column: str) -> Any:
        return self.stats_[column]


def uniform_edges(low: float, high: float, bins: int, right: bool) -> list[float]:
    """Edges as ``pandas.cut`` makes them: the outermost one moves so that the extremes are inside."""
    if low == high:
        low -= 0.001 * abs(low) if low else 0.001
        high += 0.001 * abs(high) if high else 0.001
        return [float(edge) for edge in np.linspace(low, high, bins + 1)]
    edges = np.linspace(low, high, bins + 1)
    if right:
        edges[0] -= 0.001 * (high - low)
    else:
        edges[-1] += 0.001 * (high - low)
    return [float(edge) for edge in edges]
