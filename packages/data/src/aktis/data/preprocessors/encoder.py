"""Encoders: categories become numbers, and back.

Values are put in order before they are numbered. Nulls (and NaN) are no category: fit and transform raise ValueError for
them (Categorizer leaves them out); impute them before. A value that fit has not seen becomes null (NaN in pandas).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aktis.data.exceptions import PreprocessorNotFittedException, SchemaError
from aktis.data.preprocessors._columns import ColumnPreprocessor, drop_outputs, names, outputs
from aktis.data.preprocessors._frame import Frame, factorize, hashable
from aktis.data.preprocessors._statistics import Counts, Statistic, in_order, most_frequent

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Categorizer", "LabelEncoder", "MultiHotEncoder", "OneHotEncoder", "OrdinalEncoder"]


class _Encoder(ColumnPreprocessor):
    """Knows the categories of columns: ``stats_["unique_values(column)"]`` is a dict from value to index."""

    stats_: dict[str, Any]
    categories: dict[str, list[Any]] | None = None
    max_categories: dict[str, int] | None = None
    _elements = False  # categories are the elements of lists

    def _fix(self, categories: dict[str, list[Any]] | None) -> None:
        """Take categories that the user gave. If that is all of them, there is nothing to fit."""
        if categories is None:
            return
        owner = type(self).__name__
        self.categories = {column: list(values) for column, values in categories.items()}
        for column, values in self.categories.items():
            if column not in self.columns:
                raise ValueError(f"{owner}: categories has the column {column!r}, which is not one of {self.columns}.")
            if len({hashable(value) for value in values}) != len(values) or None in values:
                raise ValueError(
                    f"{owner}: the categories of {column!r} must be different from each other, and not None."
                )
        if set(self.categories) == set(self.columns):
            self._is_fittable = False
            self.stats_ = self._learn({})

    def _limit(self, max_categories: dict[str, int] | None) -> None:
        for column, number in (max_categories or {}).items():
            if column not in self.columns:
                raise ValueError(
                    f"{type(self).__name__}: max_categories has the column {column!r}, which is not one of {self.columns}."
                )
            if number < 1:
                raise ValueError(
                    f"{type(self).__name__}: max_categories of {column!r} must be at least 1, not {number!r}."
                )
        self.max_categories = max_categories

    def _statistics(self) -> dict[str, Statistic]:
        return {
            column: Counts(elements=self._elements) for column in self.columns if column not in (self.categories or {})
        }

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats = {}
        for column in self.columns:
            if column not in found:
                values = [hashable(value) for value in (self.categories or {})[column]]
            else:
                if found[column].nulls:
                    raise self._has_nulls("fit", column)
                values = found[column].counts
                limit = (self.max_categories or {}).get(column)
                values = in_order(values if limit is None else most_frequent(values, limit))
            stats[f"unique_values({column})"] = {value: index for index, value in enumerate(values)}
        return stats

    def _has_nulls(self, method: str, column: str) -> SchemaError:
        return SchemaError(
            f"{type(self).__name__} cannot {method} the column {column!r}, which has nulls. Fill them first, for example with"
            " SimpleImputer, or filter those rows out."
        )

    @property
    def categories_(self) -> dict[str, list[Any]]:
        """The categories of each column: position i is what index i stands for."""
        if "stats_" not in vars(self):
            raise PreprocessorNotFittedException(f"{type(self).__name__} is not fitted yet: call fit(dataset) first.")
        return {column: list(self._index(column)) for column in self.columns}

    def _index(self, column: str) -> dict[Any, int]:
        index: dict[Any, int] = self.stats_[f"unique_values({column})"]
        return index

    def _lookup(self, values: Any, column: str) -> Any:
        """The index of each value; -1 for those that are unknown."""
        distinct, codes = factorize(values)
        if (codes < 0).any():
            raise self._has_nulls("transform", column)
        index = self._index(column)
        table = np.array([index.get(value, -1) for value in distinct], dtype=np.int64)
        return table[codes] if len(table) else codes

    def _check_nulls(self, frame: Frame, column: str) -> None:
        if frame.nulls(column).any():
            raise self._has_nulls("transform", column)

    def _named(self, frame: Frame, column: str, codes: Any) -> Any:
        """The values that codes (floats, NaN for null) stand for."""
        values = list(self._index(column))
        null = np.isnan(codes)
        positions = np.where(null, 0, codes)
        wrong = (positions != np.floor(positions)) | (positions < 0) | (positions >= len(values)) & ~null
        if wrong.any():
            raise SchemaError(
                f"{frame.owner}: {codes[wrong][0]:g} is no index of a category of {column!r}: there are 0 to {len(values) - 1}."
            )
        return take_objects(values, positions.astype(np.int64), null)


def take_objects(values: list[Any], positions: Any, null: Any) -> Any:
    """The values at these positions, as an Arrow array where that is possible, else as a list."""
    if not any(isinstance(value, tuple) for value in values):
        try:
            return pa.array(values).take(pa.array(positions, mask=null))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            pass
    plain = [list(value) if isinstance(value, tuple) else value for value in values]
    return [None if missing else plain[position] for position, missing in zip(positions.tolist(), null.tolist())]


def integers(codes: Any) -> Any:
    """Codes as integers, null where they are negative."""
    unknown = codes < 0
    return pa.array(codes, mask=unknown) if unknown.any() else codes


class OrdinalEncoder(_Encoder):
    """Each value becomes its index among the sorted values of the column.

    Args:
        columns: the columns to encode, each on its own.
        encode_lists: in columns of lists, each element is a value, and the result a list of indices. False: a whole list is
            one value.
        output_columns: where to write the results. Default: to ``columns``.
        categories: the values of columns that need no fit, in the order of their indices.

    ``stats_``: ``unique_values(column)``, a dict from value to index. See also :attr:`categories_`.
    """

    def __init__(
        self,
        columns: list[str],
        *,
        encode_lists: bool = True,
        output_columns: list[str] | None = None,
        categories: dict[str, list[Any]] | None = None,
    ) -> None:
        self.columns = names("OrdinalEncoder", "columns", columns)
        self.output_columns = outputs("OrdinalEncoder", self.columns, output_columns)
        self.encode_lists = self._elements = encode_lists
        self._fix(categories)

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            self._check_nulls(frame, column)
            lists = frame.lists(column) if self.encode_lists else None
            if lists is None:
                frame[output] = integers(self._lookup(frame.arrow(column), column))
            else:
                codes = self._lookup(lists[0], column)
                frame[output] = list_array(pa.array(codes, mask=codes < 0), lists[1])

    def _inverse_frame(self, frame: Frame) -> None:
        frame.require(self.output_columns)
        for column, output in zip(self.columns, self.output_columns):
            lists = frame.lists(output) if self.encode_lists else None
            if lists is None:
                frame[column] = self._named(frame, column, frame.numbers(output))
            else:
                values = pa.array(lists[0]) if isinstance(lists[0], list) else lists[0]
                codes = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
                found = self._named(frame, column, codes)
                if isinstance(found, list):
                    ends = np.cumsum(lists[1])
                    frame[column] = [found[end - length : end] for end, length in zip(ends, lists[1])]
                else:
                    frame[column] = list_array(found, lists[1])
        drop_outputs(frame, self.columns, self.output_columns)


def list_array(values: Any, lengths: Any) -> Any:
    """Lists of these lengths, made of consecutive values."""
    ends = np.concatenate([[0], np.cumsum(lengths)])
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


class OneHotEncoder(_Encoder):
    """Each value becomes a vector with a 1 at its index and 0 elsewhere; unknown values become all 0.

    Args:
        columns: the columns to encode, each on its own. They are dropped.
        max_categories: for columns in this dict, only so many values are kept: the most frequent ones.
        output_columns: with ``output="vector"``, where to write the vectors. Default: to ``columns``.
        output: "columns": a new integer column ``{column}_{value}`` for each value. "vector": one column of vectors (uint8).
        categories: the values of columns that need no fit, in the order of their indices.

    ``stats_``: ``unique_values(column)``, a dict from value to index. See also :attr:`categories_`.
    """

    def __init__(
        self,
        columns: list[str],
        *,
        max_categories: dict[str, int] | None = None,
        output_columns: list[str] | None = None,
        output: str = "columns",
        categories: dict[str, list[Any]] | None = None,
    ) -> None:
        self.columns = names("OneHotEncoder", "columns", columns)
        if output not in ("columns", "vector"):
            raise ValueError(f'OneHotEncoder: output must be "columns" or "vector", not {output!r}.')
        if output_columns is not None and output == "columns":
            raise ValueError(
                'OneHotEncoder: output_columns needs output="vector": else each value has a column of its own.'
            )
        self.output = output
        self.output_columns = outputs("OneHotEncoder", self.columns, output_columns)
        self._limit(max_categories)
        self._fix(categories)

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        arguments = super()._arguments(changed=changed)
        if self.output == "columns":
            arguments.pop("output_columns", None)
        return arguments

    def _touches(self, columns: Iterable[str]) -> bool:
        made = tuple(f"{name}_" for name in self.columns) if self.output == "columns" else ()
        return super()._touches(columns) or any(column.startswith(made) for column in columns)

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        hot = {}
        for column in self.columns:
            self._check_nulls(frame, column)
            codes = self._lookup(frame.arrow(column), column)
            known = np.flatnonzero(codes >= 0)
            vectors = self.output == "vector"
            # by value for columns: each of them is then one piece of memory
            shape = (
                (frame.num_rows, len(self._index(column))) if vectors else (len(self._index(column)), frame.num_rows)
            )
            matrix: Any = np.zeros(shape, dtype=np.uint8 if vectors else np.int64)
            matrix[(known, codes[known]) if vectors else (codes[known], known)] = 1
            hot[column] = matrix
        if self.output == "vector":
            for column, output in zip(self.columns, self.output_columns):
                frame[output] = hot[column]
            return
        frame.drop(self.columns)
        for column in self.columns:
            for value, row in zip(self._index(column), hot[column]):
                frame.add(f"{column}_{value}", row)

    def _inverse_frame(self, frame: Frame) -> None:
        if self.output == "vector":
            frame.require(self.output_columns)
        for column, output in zip(self.columns, self.output_columns):
            if self.output == "vector":
                width = len(self._index(column))
                matrix = frame.vectors(output) if frame.num_rows else np.zeros((0, width))
                if matrix.ndim != 2 or matrix.shape[1] != width:
                    raise SchemaError(
                        f"OneHotEncoder: the vectors of {output!r} must have {width} elements to be undone."
                    )
            else:
                made = [f"{column}_{value}" for value in self._index(column)]
                frame.require(made)
                matrix = (
                    np.column_stack([frame.numbers(name) for name in made]) if made else np.zeros((frame.num_rows, 0))
                )
                frame.drop(made)
            if matrix.shape[1]:
                codes = matrix.argmax(axis=1)
                none = matrix.max(axis=1) <= 0
            else:
                codes, none = np.zeros(frame.num_rows), np.ones(frame.num_rows, dtype=bool)
            frame[column] = self._named(frame, column, np.where(none, np.nan, codes))
        if self.output == "vector":
            drop_outputs(frame, self.columns, self.output_columns)


class MultiHotEncoder(_Encoder):
    """Each list becomes a vector that says how often each value is in it. Unknown values are left out.

    Args:
        columns: the columns of lists to encode, each on its own. A value that is no list counts as a list of one.
        max_categories: for columns in this dict, only so many values are kept: the most frequent ones.
        output_columns: where to write the vectors. Default: to ``columns``.

    ``stats_``: ``unique_values(column)``, a dict from value to index. See also :attr:`categories_`.
    """

    _elements = True

    def __init__(
        self,
        columns: list[str],
        *,
        max_categories: dict[str, int] | None = None,
        output_columns: list[str] | None = None,
    ) -> None:
        self.columns = names("MultiHotEncoder", "columns", columns)
        self.output_columns = outputs("MultiHotEncoder", self.columns, output_columns)
        self._limit(max_categories)

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            self._check_nulls(frame, column)
            lists = frame.lists(column)
            values, lengths = lists or (frame.arrow(column), np.ones(frame.num_rows, dtype=np.int64))
            frame[output] = tally(self._lookup(values, column), lengths, len(self._index(column)))


def tally(codes: Any, lengths: Any, width: int) -> Any:
    """How often each code from 0 to ``width - 1`` occurs in each of consecutive lists. Negative codes do not count."""
    rows: Any = np.repeat(np.arange(len(lengths)), lengths)
    known = codes >= 0
    flat = np.bincount(rows[known] * width + codes[known], minlength=len(lengths) * width)
    return flat.astype(np.int64, copy=False).reshape(len(lengths), width)


class LabelEncoder(_Encoder):
    """Each label becomes its index among the sorted labels.

    Args:
        label_column: the column to encode.
        output_column: where to write the result. Default: to ``label_column``.

    ``stats_``: ``unique_values(column)``, a dict from label to index. See also :attr:`classes_`.
    """

    def __init__(self, label_column: str, *, output_column: str | None = None) -> None:
        if not isinstance(label_column, str):
            raise ValueError(f"LabelEncoder: label_column must be the name of one column, not {label_column!r}.")
        self.label_column = label_column
        self.output_column = label_column if output_column is None else output_column
        self.columns = [self.label_column]
        self.output_columns = [self.output_column]

    @property
    def classes_(self) -> list[Any]:
        """The labels: position i is what index i stands for."""
        return self.categories_[self.label_column]

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        self._check_nulls(frame, self.label_column)
        frame[self.output_column] = integers(self._lookup(frame.arrow(self.label_column), self.label_column))

    def _inverse_frame(self, frame: Frame) -> None:
        frame.require(self.output_columns)
        frame[self.label_column] = self._named(frame, self.label_column, frame.numbers(self.output_column))
        drop_outputs(frame, self.columns, self.output_columns)


class Categorizer(ColumnPreprocessor):
    """Columns become categorical: pandas ``category``, Arrow dictionaries. Nulls and unknown values are null.

    Args:
        columns: the columns to convert, each on its own.
        dtypes: for columns in this dict, the ``pandas.CategoricalDtype``; the others are fitted.
        output_columns: where to write the results. Default: to ``columns``.

    ``stats_``: a ``pandas.CategoricalDtype`` for each column. See also :attr:`categories_`.
    """

    stats_: dict[str, Any]

    def __init__(
        self,
        columns: list[str],
        dtypes: dict[str, pd.CategoricalDtype] | None = None,
        output_columns: list[str] | None = None,
    ) -> None:
        self.columns = names("Categorizer", "columns", columns)
        self.output_columns = outputs("Categorizer", self.columns, output_columns)
        self.dtypes = dict(dtypes or {})
        for column in self.dtypes:
            if column not in self.columns:
                raise ValueError(f"Categorizer: dtypes has the column {column!r}, which is not one of {self.columns}.")

    @property
    def categories_(self) -> dict[str, list[Any]]:
        """The categories of each column: position i is what code i stands for."""
        if "stats_" not in vars(self):
            raise PreprocessorNotFittedException("Categorizer is not fitted yet: call fit(dataset) first.")
        return {column: self.stats_[column].categories.tolist() for column in self.columns}

    def _statistics(self) -> dict[str, Statistic]:
        return {column: Counts() for column in self.columns if column not in self.dtypes}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        import pandas as pd

        return {
            column: pd.CategoricalDtype(in_order(found[column].counts)) if column in found else self.dtypes[column]
            for column in self.columns
        }

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            dtype = self.stats_[column]
            index = {value: position for position, value in enumerate(dtype.categories.tolist())}
            distinct, codes = factorize(frame.arrow(column))
            table = np.array([index.get(value, -1) for value in distinct], dtype=np.int64)
            codes = np.where(codes < 0, -1, table[codes]) if len(table) else codes
            dictionary = pa.array(list(index), from_pandas=True)
            kind = pa.int32() if len(index) > 32767 else pa.int16() if len(index) > 127 else pa.int8()
            indices = pa.array(codes, mask=codes < 0).cast(kind)
            frame[output] = pa.DictionaryArray.from_arrays(indices, dictionary, ordered=bool(dtype.ordered))

    def _inverse_frame(self, frame: Frame) -> None:
        frame.require(self.output_columns)
        for column, output in zip(self.columns, self.output_columns):
            frame[column] = frame.arrow(output)
        drop_outputs(frame, self.columns, self.output_columns)
