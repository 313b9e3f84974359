"""Columns of batches: those that the model gets, and those that go along with its predictions.

A batch is a DataFrame, a dict of arrays, or one array (of a data set whose rows are arrays), which has no columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def checked_names(argument: str, names: Any) -> tuple[str, ...] | None:
    """The names that an argument lists.

    Raises:
        TypeError: it is something else than a sequence of strings.
        ValueError: a name is there twice.
    """
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} is a list of names of columns, got {names!r}")
    listed = tuple(names)
    for name in listed:
        if not isinstance(name, str):
            raise TypeError(f"{argument} is a list of names of columns, but {name!r} in it is no str")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise ValueError(f"{argument} names {twice[0]!r} twice")
    return listed


def require(argument: str, names: Sequence[str], have: Iterable[Any]) -> None:
    """Raises KeyError, with what there is, if columns are missing."""
    there = list(have)
    missing = [name for name in names if name not in there]
    if missing:
        raise MissingColumnError(
            f"{argument} names {', '.join(map(repr, missing))}, but the columns are {', '.join(map(repr, there))}"
        )


class MissingColumnError(KeyError, ValueError):
    """A KeyError that reads like a sentence."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def names_of(batch: Any) -> list[Any] | None:
    """Names of a batch's columns; None: it has none."""
    if isinstance(batch, dict):
        return list(batch)
    return list(batch.columns) if hasattr(batch, "columns") else None


def selected(batch: Any, names: Sequence[str] | None) -> Any:
    """The columns that the model gets, in this order."""
    if names is None:
        return batch
    have = names_of(batch)
    if have is None:
        raise ValueError(_no_columns("feature_columns", names))
    require("feature_columns", names, have)
    if have == list(names):
        return batch
    return {name: batch[name] for name in names} if isinstance(batch, dict) else batch[list(names)]


def with_kept(predictions: Any, batch: Any, names: Sequence[str]) -> Any:
    """Predictions, and columns of their batch beside them."""
    have = names_of(batch)
    if have is None:
        raise ValueError(_no_columns("keep_columns", names))
    require("keep_columns", names, have)
    made = names_of(predictions)
    if made is None:
        raise ValueError(
            f"keep_columns goes with predictions that have columns, but the predictor returned {type(predictions).__name__}: "
            "have it return a DataFrame or a dict"
        )
    both = [name for name in names if name in made]
    if both:
        raise ValueError(
            f"keep_columns names {both[0]!r}, and the predictions have a column of that name, too: rename the column of the data"
        )
    rows, wanted = _length(predictions, made), _length(batch, have)
    if rows != wanted:
        raise ValueError(
            f"keep_columns needs a prediction for each row, but the predictor returned {rows} for a batch of {wanted}"
        )
    return {name: source[name] for source, of in ((predictions, made), (batch, names)) for name in of}


def _length(batch: Any, names: Sequence[Any]) -> int:
    return len(batch[names[0]]) if names else len(batch)


def _no_columns(argument: str, names: Sequence[str]) -> str:
    return f"{argument}={list(names)!r} needs data with columns, but the rows of this data set are arrays without names"
