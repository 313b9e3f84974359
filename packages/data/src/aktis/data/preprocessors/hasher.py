"""FeatureHasher: many columns of counts become a few."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.data.preprocessors._columns import ColumnPreprocessor, names
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._text import bucket


class FeatureHasher(ColumnPreprocessor):
    """Adds up columns whose names a hash function puts into the same bucket. Needs no fit.

    The columns hold how often their token (their name) occurs; nulls count as 0. The hash is SHA-1 of the name, modulo
    ``num_features``: the same everywhere and always.

    Args:
        columns: the columns of counts. They are dropped.
        num_features: how many buckets.
        output_column: write one column of vectors. Default: a column ``hash_{i}`` for each bucket.
    """

    _is_fittable = False

    def __init__(self, columns: list[str], num_features: int, output_column: str | None = None) -> None:
        self.columns = names("FeatureHasher", "columns", columns)
        if isinstance(num_features, bool) or not isinstance(num_features, int) or num_features < 1:
            raise ValueError(f"FeatureHasher: num_features must be a whole number of at least 1, not {num_features!r}.")
        self.num_features = num_features
        self.output_column = output_column
        self.output_columns = [f"hash_{i}" for i in range(num_features)] if output_column is None else [output_column]

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        plain = [frame.plain(column) for column in self.columns]
        whole = all(values.dtype.kind in "biu" for values in plain)
        sums: Any = np.zeros((self.num_features, frame.num_rows), dtype=np.int64 if whole else np.float64)
        for column, values in zip(self.columns, plain):
            sums[bucket(column, self.num_features)] += (
                np.nan_to_num(values, nan=0.0) if values.dtype.kind == "f" else values
            )
        frame.drop(self.columns)
        if self.output_column is not None:
            frame[self.output_column] = np.ascontiguousarray(sums.T)
            return
        for name, values in zip(self.output_columns, sums):
            frame.add(name, values)
