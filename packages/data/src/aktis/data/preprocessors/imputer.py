"""SimpleImputer: nulls are filled."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.exceptions import SchemaError
from aktis.data.preprocessors._columns import ColumnPreprocessor, names, outputs
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._statistics import Counts, Moments, Statistic, most_frequent

STRATEGIES = ("mean", "most_frequent", "constant")


class SimpleImputer(ColumnPreprocessor):
    """Fills nulls (and NaN) with one value per column.

    Args:
        columns: the columns to fill, each on its own.
        strategy: "mean" (of numbers), "most_frequent" (of equally frequent values the least) or "constant".
        fill_value: for "constant", which needs no fit: the value, or a dict from column to value. A column that is not there
            is made.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: ``mean(column)`` or ``most_frequent(column)``.
    """

    stats_: dict[str, Any]

    def __init__(
        self,
        columns: list[str],
        strategy: str = "mean",
        fill_value: Any = None,
        *,
        output_columns: list[str] | None = None,
    ) -> None:
        self.columns = names("SimpleImputer", "columns", columns)
        self.output_columns = outputs("SimpleImputer", self.columns, output_columns)
        if strategy not in STRATEGIES:
            raise ValueError(f"SimpleImputer: strategy must be one of {list(STRATEGIES)}, not {strategy!r}.")
        if strategy == "constant":
            self._is_fittable = False
            if fill_value is None:
                raise ValueError('SimpleImputer: strategy "constant" needs a fill_value.')
            missing = [name for name in self.columns if isinstance(fill_value, dict) and name not in fill_value]
            if missing:
                raise ValueError(f"SimpleImputer: fill_value has no value for the column {missing[0]!r}.")
        self.strategy = strategy
        self.fill_value = fill_value

    def _statistics(self) -> dict[str, Statistic]:
        kind = Moments if self.strategy == "mean" else Counts
        return {column: kind() for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for column, statistic in found.items():
            if self.strategy == "mean":
                value = statistic.result()[0]
            else:
                value = next(iter(most_frequent(statistic.counts, 1)), None)
            stats[f"{self.strategy}({column})"] = value
        return stats

    def _value(self, column: str) -> Any:
        if self.strategy == "constant":
            return self.fill_value[column] if isinstance(self.fill_value, dict) else self.fill_value
        value = self.stats_[f"{self.strategy}({column})"]
        if value is None:
            raise SchemaError(f"SimpleImputer has nothing to fill {column!r} with: fit has seen no value of it.")
        return value

    def _transform_frame(self, frame: Frame) -> None:
        if self.strategy != "constant":
            frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            value = self._value(column)
            if column not in frame:
                frame[output] = pa.array([value] * frame.num_rows)
            elif frame.is_categorical(column):
                frame[output] = self._fill(frame, column, value).dictionary_encode()
            elif output != column or self.strategy == "mean" or frame.nulls(column).any():  # mean: floats in all blocks
                frame[output] = self._fill(frame, column, value)

    def _fill(self, frame: Frame, column: str, value: Any) -> Any:
        values = frame.arrow(column)
        if isinstance(values, list):
            return [value if one is None else one for one in values]
        if pa.types.is_null(values.type):
            return pa.array([value] * len(values))
        fraction = isinstance(value, float) and not value.is_integer() and pa.types.is_integer(values.type)
        if fraction or (self.strategy == "mean" and not pa.types.is_floating(values.type)):
            values = values.cast(pa.float64(), safe=False)
        try:
            return pc.fill_null(values, pa.scalar(value, values.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            raise SchemaError(
                f"SimpleImputer cannot fill the column {column!r}, which is of type {values.type}, with {value!r}."
            ) from None
