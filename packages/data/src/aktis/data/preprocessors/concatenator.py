"""Concatenator: several columns become one column of vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from aktis.data.exceptions import SchemaError
from aktis.data.preprocessors._columns import ColumnPreprocessor, names
from aktis.data.preprocessors._frame import Frame


class Concatenator(ColumnPreprocessor):
    """Joins columns of numbers (and of vectors) into one column of vectors, and drops them. Needs no fit.

    Nulls become NaN. The vectors have the narrowest type that holds all columns, or ``dtype``.

    Args:
        output_column_name: the new column.
        include: columns to join, in the order that they have in the data. Default: all.
        exclude: columns that are left alone.
        dtype: numpy type of the vectors.
        raise_if_missing: raise when a column of ``include``, ``exclude`` or ``columns`` is not there, rather than go on
            without it.
        columns: in place of ``include``: columns to join, in this order.
    """

    _is_fittable = False

    def __init__(
        self,
        output_column_name: str = "concat_out",
        include: list[str] | None = None,
        exclude: list[str] | None = None,
        dtype: Any = None,
        raise_if_missing: bool = False,
        *,
        columns: list[str] | None = None,
    ) -> None:
        if not isinstance(output_column_name, str):
            raise ValueError(
                f"Concatenator: output_column_name must be a string, not {output_column_name!r}. Columns are given by name:"
                " include=[...] or columns=[...]."
            )
        if columns is not None and (include is not None or exclude is not None):
            raise ValueError("Concatenator: give either columns, or include and exclude.")
        self.output_column_name = output_column_name
        self.include = None if include is None else names("Concatenator", "include", include)
        self.exclude = [] if exclude is None else names("Concatenator", "exclude", exclude)
        both = sorted({*(self.include or [])} & {*self.exclude})
        if both:
            raise ValueError(f"Concatenator: {both[0]!r} is both included and excluded.")
        self.dtype = dtype
        self.raise_if_missing = raise_if_missing
        self.columns = None if columns is None else names("Concatenator", "columns", columns)  # type: ignore[assignment]

    def _touches(self, columns: Iterable[str]) -> bool:
        wanted, unwanted = self.columns if self.columns is not None else self.include, set(self.exclude)
        taken = None if wanted is None else set(wanted)
        return any(
            column == self.output_column_name or ((taken is None or column in taken) and column not in unwanted)
            for column in columns
        )

    def _transform_frame(self, frame: Frame) -> None:
        if self.raise_if_missing:
            frame.require([*(self.columns or []), *(self.include or []), *self.exclude])
        there = frame.names
        if self.columns is not None:
            chosen = [name for name in self.columns if name in frame]
        else:
            wanted, unwanted = set(there if self.include is None else self.include), set(self.exclude)
            chosen = [name for name in there if name in wanted and name not in unwanted]
        if not chosen:
            raise SchemaError(f"Concatenator: none of the columns to join is in the data. There are: {there}.")
        parts = [frame.vectors(name) for name in chosen]
        parts = [part[:, np.newaxis] if part.ndim == 1 else part for part in parts]
        dtype = self.dtype if self.dtype is not None else np.result_type(*parts)
        vectors = np.empty((frame.num_rows, sum(part.shape[1] for part in parts)), dtype=dtype)
        start = 0
        for part in parts:
            vectors[:, start : start + part.shape[1]] = part
            start += part.shape[1]
        frame.drop(chosen)
        frame[self.output_column_name] = vectors
