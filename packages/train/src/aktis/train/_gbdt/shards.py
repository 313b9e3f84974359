"""In a worker: the rows of this rank as what the libraries take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.train._gbdt.blocks import bounds
from aktis.train._gbdt.features import FeatureError, arrow_column
from aktis.train._gbdt.spec import DataSpec, RankError

if TYPE_CHECKING:
    import numpy
    import pyarrow

__all__ = ["Shard", "group_sizes", "load"]


@dataclass(frozen=True)
class Shard:
    """Rows of a data set.

    Attributes:
        features: The columns to learn from; numbers, and dictionaries with the same categories in all ranks.
        label: One number a row, or several.
        roles: Other columns, by what they are to the library.
        categories: The names of the columns of categories.
    """

    features: pyarrow.Table
    label: numpy.ndarray | None
    roles: Mapping[str, numpy.ndarray]
    categories: tuple[str, ...] = ()

    def matrix(self) -> Any:
        """The features side by side, in the smallest type that holds all."""
        from aktis.train._gbdt.features import matrix

        found = matrix(self.features, "arrow", self.features.column_names, None)
        assert found is not None  # types were checked
        return found


def load(spec: DataSpec, name: str, rank: int, ranks: int, *, group: str | None = None, whole: bool = False) -> Shard:
    """The rows of a rank.

    Args:
        spec: The data set.
        name: Its name, for messages.
        rank: Which rank.
        ranks: Of how many.
        group: The role of the column whose groups must stay together, if it has one.
        whole: Whether each rank gets all rows.

    Raises:
        RankError: there are none for some ranks.
    """
    column = spec.roles.get(group) if group is not None else None
    if whole or ranks == 1:
        edges = [0, spec.blocks.total]
        rank = 0
    elif isinstance(column, str):
        edges = spec.blocks.bounds_between_groups(ranks, column)
    else:
        edges = bounds(spec.blocks.total, ranks)
    if any(high <= low for low, high in zip(edges, edges[1:])):
        what = "rows" if column is None else f"groups (of column {column!r})"
        raise RankError(
            f"the data set {name!r} has too few {what} for {ranks} workers: {spec.blocks.total} rows, and none for some workers. "
            "Use fewer workers (ScalingConfig.num_workers)"
        )
    return _shard(spec, spec.blocks.read(edges[rank], edges[rank + 1]))


def _shard(spec: DataSpec, pieces: Sequence[pyarrow.Table]) -> Shard:
    label = None if spec.label is None else _numbers(pieces, spec.label)
    roles = {role: _numbers(pieces, columns) for role, columns in spec.roles.items()}
    return Shard(_features(spec, pieces), label, roles, tuple(spec.categories))


def _features(spec: DataSpec, pieces: Sequence[pyarrow.Table]) -> pyarrow.Table:
    import pyarrow

    tables = []
    for piece in pieces:
        table = piece.select(list(spec.features))
        for index, name in enumerate(spec.features):
            column = table.column(index)
            values = spec.categories.get(name)
            if values is not None:
                table = table.set_column(index, name, _recoded(column, values))
            elif pyarrow.types.is_decimal(column.type) or pyarrow.types.is_null(column.type):
                table = table.set_column(index, name, column.cast(pyarrow.float64()))
        tables.append(table.replace_schema_metadata(None))
    return pyarrow.concat_tables(tables, promote_options="permissive").combine_chunks()


def _recoded(column: Any, values: Sequence[Any]) -> Any:
    """A column of categories with the codes that all ranks have; what is not among them is missing."""
    import pyarrow
    import pyarrow.compute

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    plain = column.cast(kind)
    known = pyarrow.array(values, kind)
    chunks = [
        pyarrow.DictionaryArray.from_arrays(
            pyarrow.compute.index_in(chunk, value_set=known).cast(pyarrow.int32()), known
        )
        for chunk in plain.chunks
    ]
    return pyarrow.chunked_array(chunks, pyarrow.dictionary(pyarrow.int32(), kind))


def _numbers(pieces: Sequence[pyarrow.Table], columns: str | Sequence[str]) -> Any:
    import numpy

    if not isinstance(columns, str):
        return numpy.column_stack([_numbers(pieces, column) for column in columns])
    parts = []
    for piece in pieces:
        part = arrow_column(piece.column(columns))
        if part is None:
            raise FeatureError(
                f"the column {columns!r} must hold numbers, not {piece.column(columns).type}: encode it first"
            )
        parts.append(part)
    return parts[0] if len(parts) == 1 else numpy.concatenate(parts)


def group_sizes(ids: numpy.ndarray) -> Any:
    """How many rows each group has, for rows whose groups are one after the other."""
    import numpy

    starts = numpy.flatnonzero(numpy.concatenate([[True], ids[1:] != ids[:-1]]))
    return numpy.diff(numpy.concatenate([starts, [len(ids)]]))
