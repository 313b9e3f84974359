"""Scalers: columns of numbers, shifted and stretched. Computed in float64; float32 columns stay float32.

Nulls and NaN are left out of fit and stay what they are. A column without any value at fit becomes NaN.
"""

from __future__ import annotations

from typing import Any

from aktis.data.preprocessors._columns import ColumnPreprocessor, drop_outputs, names, outputs
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._statistics import Extremes, Moments, Quantiles, Statistic


class _Scaler(ColumnPreprocessor):
    """``(x - shift) / scale``."""

    stats_: dict[str, Any]

    def __init__(self, columns: list[str], output_columns: list[str] | None = None) -> None:
        owner = type(self).__name__
        self.columns = names(owner, "columns", columns)
        self.output_columns = outputs(owner, self.columns, output_columns)

    def _shift_and_scale(self, column: str) -> tuple[float | None, float | None]:
        raise TypeError(f"{type(self).__name__} must define _shift_and_scale(column)")

    def _factors(self, column: str) -> tuple[float, float]:
        shift, scale = self._shift_and_scale(column)
        if shift is None or scale is None:
            return float("nan"), float("nan")
        return shift, 1.0 if scale == 0 else scale  # a constant column: only shifted

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            shift, scale = self._factors(column)
            frame.put_numbers(output, (frame.numbers(column) - shift) / scale, column)

    def _inverse_frame(self, frame: Frame) -> None:
        frame.require(self.output_columns)
        for column, output in zip(self.columns, self.output_columns):
            shift, scale = self._factors(column)
            frame.put_numbers(column, frame.numbers(output) * scale + shift, output)
        drop_outputs(frame, self.columns, self.output_columns)


class StandardScaler(_Scaler):
    """``(x - mean) / std``: mean 0 and variance 1. The standard deviation is that of the population (ddof=0); where it is 0,
    only the mean is subtracted.

    Args:
        columns: the columns to scale, each on its own.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: ``mean(column)``, ``std(column)``.
    """

    def _statistics(self) -> dict[str, Statistic]:
        return {column: Moments() for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for column, moments in found.items():
            stats[f"mean({column})"], stats[f"std({column})"] = moments.result()
        return stats

    def _shift_and_scale(self, column: str) -> tuple[float | None, float | None]:
        return self.stats_[f"mean({column})"], self.stats_[f"std({column})"]


class MinMaxScaler(_Scaler):
    """``(x - min) / (max - min)``: from 0 to 1. Where the range is 0, only the minimum is subtracted.

    Args:
        columns: the columns to scale, each on its own.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: ``min(column)``, ``max(column)``.
    """

    def _statistics(self) -> dict[str, Statistic]:
        return {column: Extremes() for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for column, extremes in found.items():
            stats[f"min({column})"], stats[f"max({column})"] = extremes.low, extremes.high
        return stats

    def _shift_and_scale(self, column: str) -> tuple[float | None, float | None]:
        low, high = self.stats_[f"min({column})"], self.stats_[f"max({column})"]
        return low, None if low is None else high - low


class MaxAbsScaler(_Scaler):
    """``x / max(abs(x))``: from -1 to 1, and zeros stay zeros. Where all values are 0, nothing changes.

    Args:
        columns: the columns to scale, each on its own.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: ``abs_max(column)``.
    """

    def _statistics(self) -> dict[str, Statistic]:
        return {column: Extremes() for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        return {
            f"abs_max({column})": None if extremes.low is None else max(abs(extremes.low), abs(extremes.high))
            for column, extremes in found.items()
        }

    def _shift_and_scale(self, column: str) -> tuple[float | None, float | None]:
        return 0.0, self.stats_[f"abs_max({column})"]


class RobustScaler(_Scaler):
    """``(x - median) / (high quantile - low quantile)``: outliers have little influence. Where the quantiles are equal, only
    the median is subtracted.

    Quantiles are exact, and values that occur: of n values in order the one at position ``floor(q * (n - 1))``. Fit makes
    one pass for columns of up to 4 million values. For longer ones it makes two to four, so that it never holds more than
    32 MiB per column.

    Args:
        columns: the columns to scale, each on its own.
        quantile_range: the low and the high quantile, between 0 and 1.
        output_columns: where to write the results. Default: to ``columns``.
        quantile_precision: taken for compatibility; quantiles are exact.

    ``stats_``: ``low_quantile(column)``, ``median(column)``, ``high_quantile(column)``.
    """

    def __init__(
        self,
        columns: list[str],
        quantile_range: tuple[float, float] = (0.25, 0.75),
        output_columns: list[str] | None = None,
        quantile_precision: int = 800,
    ) -> None:
        super().__init__(columns, output_columns)
        low, high = quantile_range
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"RobustScaler: quantile_range must be (low, high) with 0 <= low < high <= 1, not {quantile_range!r}."
            )
        self.quantile_range = (low, high)
        self.quantile_precision = quantile_precision

    def _statistics(self) -> dict[str, Statistic]:
        low, high = self.quantile_range
        return {column: Quantiles((low, 0.5, high)) for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for column, quantiles in found.items():
            for name, value in zip(("low_quantile", "median", "high_quantile"), quantiles.result()):
                stats[f"{name}({column})"] = value
        return stats

    def _shift_and_scale(self, column: str) -> tuple[float | None, float | None]:
        low, high = self.stats_[f"low_quantile({column})"], self.stats_[f"high_quantile({column})"]
        return self.stats_[f"median({column})"], None if low is None else high - low
