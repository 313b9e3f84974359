"""Normalizer: rows of numbers, brought to length 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aktis.data.preprocessors._columns import ColumnPreprocessor, names, outputs
from aktis.data.preprocessors._frame import Frame

NORMS: dict[str, Callable[[Any], Any]] = {
    "l1": lambda rows: np.abs(rows).sum(axis=1),
    "l2": lambda rows: np.sqrt(np.square(rows).sum(axis=1)),
    "max": lambda rows: np.abs(rows).max(axis=1, initial=0.0),
}


class Normalizer(ColumnPreprocessor):
    """Divides the values of each row by their norm. Needs no fit. Rows of zeros stay zeros; a null makes its row NaN.

    Args:
        columns: the columns whose values are one vector per row.
        norm: "l1" (sum of absolute values), "l2" (Euclidean length) or "max" (greatest absolute value).
        output_columns: where to write the results. Default: to ``columns``.
    """

    _is_fittable = False

    def __init__(self, columns: list[str], norm: str = "l2", *, output_columns: list[str] | None = None) -> None:
        self.columns = names("Normalizer", "columns", columns)
        self.output_columns = outputs("Normalizer", self.columns, output_columns)
        if norm not in NORMS:
            raise ValueError(f"Normalizer: norm must be one of {sorted(NORMS)}, not {norm!r}.")
        self.norm = norm

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        if not self.columns:
            return
        rows = np.column_stack([frame.numbers(column) for column in self.columns])
        norms = NORMS[self.norm](rows)
        norms[norms == 0] = 1.0
        for i, (column, output) in enumerate(zip(self.columns, self.output_columns)):
            frame.put_numbers(output, rows[:, i] / norms, column)
