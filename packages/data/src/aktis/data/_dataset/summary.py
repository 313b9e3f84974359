"""Figures about the columns of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks.types import ITEM
from aktis.data._exchanges._aggregate_fn import AggregateFn
from aktis.data._exchanges._keys import is_ordered, plain_type
from aktis.data._exchanges.list_reductions import ApproximateQuantile, ApproximateTopK
from aktis.data._exchanges.reductions import Count, Max, Mean, Min, Std
from aktis.data.exceptions import SchemaError

if TYPE_CHECKING:
    import pandas as pd

    from aktis.data.dataset import Dataset

_QUANTILES = {"25%": 0.25, "50%": 0.5, "75%": 0.75}
_FIGURES = ["type", "count", "missing", "mean", "std", "min", *_QUANTILES, "max", "distinct", "top", "top_count"]


class _Frequencies(ApproximateTopK):
    """The most frequent value, and how many distinct ones there are (at most the capacity)."""

    kind = "frequencies"

    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        distinct = pc.list_value_length(states["values"])
        return pa.StructArray.from_arrays([distinct, super().finish(states)], names=["distinct", "top"])


class DatasetSummary:
    """Figures about each column: ``summary["fare"]["mean"]``, :meth:`to_dict`, :meth:`to_pandas`. Printed, it is a table.

    ``count`` and ``missing`` are there for every column. Numbers have ``mean``, ``std``, ``min``, ``max`` and the quantiles
    ``25%``, ``50%`` and ``75%`` (exact for up to 800 values, else off by less than one percent of the rows); times
    have ``min`` and ``max``; other values ``distinct``, ``top`` and ``top_count``. ``distinct`` is counted up to 32,768.
    """

    def __init__(self, figures: dict[str, dict[str, Any]], num_rows: int) -> None:
        self._figures = figures
        self.num_rows = num_rows

    @property
    def columns(self) -> list[str]:
        """The columns that were looked at."""
        return list(self._figures)

    def __getitem__(self, column: str) -> dict[str, Any]:
        return dict(self._figures[column])

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Column to figure to value."""
        return {column: dict(figures) for column, figures in self._figures.items()}

    def to_pandas(self) -> pd.DataFrame:
        """A row for each column, a column for each figure."""
        import pandas as pd

        rows = [{"column": column, **figures} for column, figures in self._figures.items()]
        names = ["column", *(name for name in _FIGURES if any(name in row for row in rows))]
        return pd.DataFrame([[row.get(name) for name in names] for row in rows], columns=names)

    def __repr__(self) -> str:
        names = [name for name in _FIGURES if any(name in figures for figures in self._figures.values())]
        lines = [["column", *names]]
        lines += [[column, *(_text(figures.get(name)) for name in names)] for column, figures in self._figures.items()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(names) + 1)]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
        return "\n".join([f"{self.num_rows:,} rows", *text])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 24 else text[:21] + "..."


def summarize(dataset: Dataset, columns: Sequence[str] | None) -> DatasetSummary:
    """One pass over the columns (all of them, if None)."""
    schema = dataset._schema()
    if schema is None:
        return DatasetSummary({}, 0)
    simple = schema.names == [ITEM]
    names = list(schema.names) if columns is None else list(columns)
    for name in names:
        if name not in schema.names:
            raise SchemaError(f"summary(): there is no column {name!r}. Columns: {', '.join(map(repr, schema.names))}.")
    aggregates: list[AggregateFn] = [Count(alias_name="rows")]
    for name in names:
        aggregates += _wanted(name, schema.field(name).type)
    from aktis.data.grouped_dataset import aggregated

    [row] = [row for block in aggregated(dataset, (), aggregates)._blocks() for row in block.to_pylist()]
    figures = {}
    for name in names:
        label = "item" if simple else name
        found = {figure: row[f"{name} {figure}"] for figure, _ in _kinds(schema.field(name).type)}
        figures[label] = _figures(found, row["rows"], schema.field(name).type, name)
    return DatasetSummary(figures, row["rows"])


def _kinds(kind: pa.DataType) -> list[tuple[str, Callable[[str, str], AggregateFn]]]:
    """Figures of a column of this type, and the aggregations that give them."""
    plain = plain_type(kind)
    wanted: list[tuple[str, Callable[[str, str], AggregateFn]]] = [
        ("count", lambda on, alias: Count(on, ignore_nulls=True, alias_name=alias))
    ]
    if pa.types.is_integer(plain) or pa.types.is_floating(plain) or pa.types.is_decimal(plain):
        wanted += [
            ("mean", lambda on, alias: Mean(on, alias_name=alias)),
            ("std", lambda on, alias: Std(on, alias_name=alias)),
            ("quantiles", lambda on, alias: ApproximateQuantile(on, list(_QUANTILES.values()), alias_name=alias)),
        ]
    elif is_ordered(plain) and not pa.types.is_temporal(plain):
        wanted.append(("frequencies", lambda on, alias: _Frequencies(on, 1, alias_name=alias)))
    if is_ordered(plain) and not pa.types.is_null(plain) and not pa.types.is_fixed_size_binary(plain):
        wanted += [
            ("min", lambda on, alias: Min(on, alias_name=alias)),
            ("max", lambda on, alias: Max(on, alias_name=alias)),
        ]
    return wanted


def _wanted(name: str, kind: pa.DataType) -> list[AggregateFn]:
    return [make(name, f"{name} {figure}") for figure, make in _kinds(kind)]


def _figures(found: dict[str, Any], rows: int, kind: pa.DataType, name: str) -> dict[str, Any]:
    result: dict[str, Any] = {"type": str(kind), "count": found["count"], "missing": rows - found["count"]}
    for figure in ("mean", "std", "min", "max"):
        if figure in found:
            result[figure] = found[figure]
    if "quantiles" in found:
        result.update(zip(_QUANTILES, found["quantiles"] or [None] * len(_QUANTILES)))
    if "frequencies" in found:
        frequencies = found["frequencies"] or {"distinct": 0, "top": []}
        result["distinct"] = frequencies["distinct"]
        for entry in frequencies["top"][:1]:
            result["top"], result["top_count"] = entry[name], entry["count"]
    return result
