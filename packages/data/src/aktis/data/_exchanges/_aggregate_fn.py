"""What an aggregation is: the class for aggregations of your own, and the base of the built-in ones."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa

from aktis.data._exchanges._groups import Groups

States: TypeAlias = "dict[str, pa.Array]"
"""Named arrays with one value for each group: what has to be known about rows to go on with others."""


class AggregateFn:
    """An aggregation in Python.

    Rows are accumulated block by block, possibly in other processes, and what comes out is merged, in the order of the
    blocks. Exactly one of ``accumulate_row`` and ``accumulate_block`` must be given.

    Args:
        init: Makes the accumulator of a group from its key (None without groups).
        merge: Makes one accumulator of two.
        accumulate_row: Adds a row to an accumulator: ``(accumulator, row) -> accumulator``.
        accumulate_block: Adds all rows of a block: an Arrow table, or a list of items of simple data.
        finalize: Makes the result of an accumulator. None: the accumulator is the result.
        name: Name of the result's column.
    """

    name: str

    def __init__(
        self,
        init: Callable[[Any], Any],
        merge: Callable[[Any, Any], Any],
        accumulate_row: Callable[[Any, Any], Any] | None = None,
        accumulate_block: Callable[[Any, Any], Any] | None = None,
        finalize: Callable[[Any], Any] | None = None,
        name: str | None = None,
    ) -> None:
        if (accumulate_row is None) == (accumulate_block is None):
            raise ValueError("AggregateFn needs exactly one of accumulate_row and accumulate_block.")
        self.init = init
        self.merge = merge
        self.accumulate_row = accumulate_row
        self.accumulate_block = accumulate_block
        self.finalize = finalize if finalize is not None else _identity
        self.name = name or "custom"


def _identity(value: Any) -> Any:
    return value


class AggregateFnV2(AggregateFn, ABC):
    """An aggregation as a class: define :meth:`aggregate_block` and :meth:`combine`.

    Args:
        name: Name of the result's column.
        zero_factory: Makes the accumulator to begin with.
        on: The column that it is about, for :meth:`get_target_column`.
        ignore_nulls: For your own use.
    """

    def __init__(
        self, name: str, zero_factory: Callable[[], Any], *, on: str | None = None, ignore_nulls: bool = True
    ) -> None:
        self._zero_factory = zero_factory
        self._target_col_name = on
        self._ignore_nulls = ignore_nulls
        super().__init__(
            init=self._zero,
            merge=self.combine,
            accumulate_block=self._add_block,
            finalize=self.finalize,
            name=name,
        )

    def get_target_column(self) -> str | None:
        """The column that was given as ``on``."""
        return self._target_col_name

    @abstractmethod
    def aggregate_block(self, block: Any) -> Any:
        """The accumulator of the rows of a block: an Arrow table."""

    @abstractmethod
    def combine(self, current_accumulator: Any, new: Any) -> Any:
        """One accumulator of two."""

    def finalize(self, accumulator: Any) -> Any:
        """The result."""
        return accumulator

    def _zero(self, key: Any) -> Any:
        return self._zero_factory()

    def _add_block(self, accumulator: Any, block: Any) -> Any:
        return self.combine(accumulator, self.aggregate_block(block))


class Reduction(AggregateFn):
    """An aggregation of the values of one column, by kernels that work on all groups at once.

    Subclasses say what is kept about the rows of a group (:meth:`partial`: some arrays with one value for each group), how
    that of several blocks becomes one (:meth:`combine`), and what the result is (:meth:`finish`).

    NaN counts as null here. ``ignore_nulls=False`` makes the result None for groups with a null. A group without values has
    the result None.
    """

    kind: str  # "sum": the result is called "sum(column)"
    needs_values = True
    only_validity = False  # looks at nothing but which values are null
    empty: Any = None  # the result for no rows at all

    def __init__(
        self, on: str | Callable[[Any], Any] | None = None, ignore_nulls: bool = True, alias_name: str | None = None
    ) -> None:
        if not (on is None or isinstance(on, str) or callable(on)):
            raise ValueError(
                f"{type(self).__name__} takes on= a column name, a function of the item, or None, got {on!r}."
            )
        self.on = on
        self.ignore_nulls = ignore_nulls
        self._alias = alias_name

    @property
    def name(self) -> str:  # type: ignore[override]
        if self._alias is not None:
            return self._alias
        return f"{self.kind}({self.on if isinstance(self.on, str) else ''})"

    def with_column(self, column: str) -> Reduction:
        """The same of a named column."""
        other = copy.copy(self)
        other.on = column
        return other

    def get_target_column(self) -> str | None:
        """The column that it is about."""
        return self.on if isinstance(self.on, str) else None

    @abstractmethod
    def partial(self, values: pa.Array, groups: Groups) -> States:
        """What is kept about values of each group. Values are clean: there are no NaN."""

    @abstractmethod
    def combine(self, states: Mapping[str, pa.Array], groups: Groups) -> States:
        """States of several blocks (one row for each group of each block) as one for each group."""

    @abstractmethod
    def finish(self, states: Mapping[str, pa.Array]) -> pa.Array:
        """The results."""

    def __repr__(self) -> str:
        return self.name
