"""The base of the preprocessors in this package: they read some columns and write some, in frames of any form."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis.data.exceptions import BatchTypeError, SchemaError
from aktis.data.preprocessor import ITEM, Preprocessor, _choose, _no_columns
from aktis.data.preprocessors._frame import Frame, check_columns
from aktis.data.preprocessors._statistics import Statistic

if TYPE_CHECKING:
    import pyarrow as pa

    from aktis.data.dataset import Dataset


class ColumnPreprocessor(Preprocessor):
    """Reads ``columns``, writes ``output_columns`` (by default the same ones)."""

    columns: list[str]
    output_columns: list[str]

    # What the families define.

    def _statistics(self) -> dict[str, Statistic]:
        """What to compute in fit: for each column an empty statistic."""
        return {}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        """``stats_``, from the statistics of the whole data set."""
        raise TypeError(f"{type(self).__name__} must define _learn(found)")

    def _transform_frame(self, frame: Frame) -> None:
        raise TypeError(f"{type(self).__name__} must define _transform_frame(frame)")

    def _inverse_frame(self, frame: Frame) -> None:
        raise TypeError(f"{type(self).__name__} has no inverse.")

    def _touches(self, columns: Iterable[str]) -> bool:
        """Whether transform may change, make or drop one of these columns."""
        return not {*self.columns, *self.output_columns}.isdisjoint(columns)

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        found = super()._arguments(changed=changed)
        if changed and getattr(self, "output_columns", None) == self.columns:
            found.pop("output_columns", None)
            found.pop("output_column", None)
        return found

    # The same for all.

    def _transform_arrow(self, table: Any) -> Any:
        return self._run(table)

    def _transform_pandas(self, df: Any) -> Any:
        return self._run(df)

    def _transform_numpy(self, data: Any) -> Any:
        return self._run(data)

    def _inverse_transform_arrow(self, table: Any) -> Any:
        return self._run(table, inverse=True)

    def _inverse_transform_pandas(self, df: Any) -> Any:
        return self._run(df, inverse=True)

    def _inverse_transform_numpy(self, data: Any) -> Any:
        return self._run(data, inverse=True)

    def _run(self, data: Any, *, inverse: bool = False) -> Any:
        if not isinstance(data, dict) and hasattr(data, "ndim") and not hasattr(data, "columns"):
            raise BatchTypeError(f"{type(self).__name__} works on named columns: give a dict of arrays, not one array.")
        frame = Frame(data, type(self).__name__)
        if inverse:
            self._inverse_frame(frame)
        else:
            self._transform_frame(frame)
        return frame.result()

    def _require_inverse(self) -> None:
        own = type(self)._inverse_frame is not ColumnPreprocessor._inverse_frame
        if not own and type(self)._inverse_transform_pandas is ColumnPreprocessor._inverse_transform_pandas:
            raise TypeError(f"{type(self).__name__} has no inverse.")

    def _get_transform_config(self) -> dict[str, Any]:
        if _choose(type(self), "_transform_", "pyarrow") != "pyarrow":  # a subclass that has a method of its own
            return {}
        # Whole blocks, without cutting and joining them; each row becomes one row, so a limit may go before this.
        return {"batch_size": None, "zero_copy_batch": True, "udf_modifying_row_count": False}

    def _fit(self, ds: Dataset) -> ColumnPreprocessor:
        fit_together(ds, [self])
        return self

    def _fit_tables(self, tables: Iterable[pa.Table]) -> ColumnPreprocessor:
        """Fit on blocks that are here."""
        blocks = list(tables)
        _fit_by_passes([self], lambda collect: (collect(block)[0] for block in blocks))
        return self


@dataclass
class Found:
    """What one block says about the columns of several preprocessors."""

    statistics: list[dict[str, Statistic]] = field(default_factory=list)
    error: Exception | None = None  # carried home, so that it arrives as it is


class Collector:
    """Given to ``map_batches``: from a block to what it says. ``empty``: for each preprocessor what to compute."""

    def __init__(self, owners: Sequence[str], empty: list[dict[str, Statistic]]) -> None:
        self.owners = owners
        self.empty = empty
        self.__name__ = self.__qualname__ = f"fit({', '.join(owners)})"

    def __call__(self, table: Any) -> list[Found]:
        if table.column_names == [ITEM]:
            return [Found(error=_no_columns(f"{self.owners[0]} works on named columns"))]
        found = Found(copy.deepcopy(self.empty))
        try:
            for owner, statistics in zip(self.owners, found.statistics):
                frame = Frame(table, owner)
                frame.require(statistics)
                for column, statistic in statistics.items():
                    statistic.add(frame, column)
        except (SchemaError, BatchTypeError) as error:
            return [Found(error=error)]
        return [found]


def fit_together(ds: Any, preprocessors: Sequence[ColumnPreprocessor]) -> None:
    """Fit several preprocessors, none of which needs what another one makes, in one pass over the data (see Quantiles for
    when there are more)."""
    known = ds.columns(fetch_if_missing=False)

    def run(collect: Collector) -> Iterator[Found]:
        narrow = ds
        if known is not None and known != [ITEM]:
            for owner, statistics in zip(collect.owners, collect.empty):
                check_columns(owner, statistics, known)
            needed = dict.fromkeys(column for statistics in collect.empty for column in statistics)
            narrow = ds.select_columns(list(needed))  # a reader may be able to leave out the others
        rows: Iterator[Found] = narrow.map_batches(collect, batch_size=None, batch_format="pyarrow").iter_rows()
        return rows

    _fit_by_passes(preprocessors, run)


def _fit_by_passes(preprocessors: Sequence[ColumnPreprocessor], run: Callable[[Collector], Iterator[Found]]) -> None:
    owners = [type(preprocessor).__name__ for preprocessor in preprocessors]
    complete = [preprocessor._statistics() for preprocessor in preprocessors]
    pending = complete
    while any(pending):
        total = copy.deepcopy(pending)
        parts = run(Collector(owners, pending))
        try:
            for part in parts:
                if part.error is not None:
                    raise part.error
                for mine, theirs in zip(total, part.statistics):
                    for column, statistic in mine.items():
                        statistic.merge(theirs[column])
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        pending = [{} for _ in preprocessors]
        for i, statistics in enumerate(total):
            for column, statistic in statistics.items():
                following = statistic.again()
                if following is None:
                    complete[i][column] = statistic
                else:
                    pending[i][column] = following
    learnt = [preprocessor._learn(found) for preprocessor, found in zip(preprocessors, complete)]
    for preprocessor, stats in zip(preprocessors, learnt):  # all or none
        preprocessor.stats_ = stats  # type: ignore[attr-defined]


def names(owner: str, argument: str, columns: Any) -> list[str]:
    """A checked list of column names."""
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Iterable):
        raise ValueError(f"{owner}: {argument} must be a list of column names, not {columns!r}.")
    listed = list(columns)
    for name in listed:
        if not isinstance(name, str):
            raise ValueError(f"{owner}: {argument} must be a list of column names, and {name!r} is no string.")
    repeated = [name for name, count in Counter(listed).items() if count > 1]
    if repeated:
        raise ValueError(f"{owner}: {argument} names {repeated[0]!r} more than once.")
    return listed


def outputs(owner: str, columns: list[str], output_columns: Any) -> list[str]:
    """The names to write to: ``output_columns``, which must be as many as ``columns``, or ``columns``."""
    if output_columns is None:
        return list(columns)
    listed = names(owner, "output_columns", output_columns)
    if len(listed) != len(columns):
        raise ValueError(
            f"{owner}: output_columns must name one column for each of columns: there are {len(columns)} columns and"
            f" {len(listed)} output columns."
        )
    return listed


def drop_outputs(frame: Frame, columns: list[str], output_columns: list[str]) -> None:
    """After an inverse: what transform had added goes."""
    frame.drop(name for name in output_columns if name not in columns)
